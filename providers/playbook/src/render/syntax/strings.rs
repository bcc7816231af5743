//! What a backslash in quotes means in Python.

/// The text of a string literal's inside.
pub(super) fn unescape(inner: &str) -> String {
    if !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(next) = chars.next() else {
            out.push('\\');
            break;
        };
        let hex = |n: usize, chars: &std::iter::Peekable<std::str::Chars<'_>>| {
            let digits: String = chars.clone().take(n).collect();
            (digits.len() == n).then(|| u32::from_str_radix(&digits, 16).ok()).flatten().and_then(char::from_u32)
        };
        let simple = match next {
            '\n' => continue,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            '\\' | '\'' | '"' => next,
            '0'..='7' => {
                let mut code = next.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    match chars.peek().and_then(|c| c.to_digit(8)) {
                        Some(d) => {
                            code = code * 8 + d;
                            chars.next();
                        }
                        None => break,
                    }
                }
                char::from_u32(code).unwrap_or('\u{fffd}')
            }
            'x' | 'u' | 'U' => {
                let n = match next {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                match hex(n, &chars) {
                    Some(c) => {
                        chars.by_ref().take(n).for_each(drop);
                        c
                    }
                    None => {
                        out.push('\\');
                        next
                    }
                }
            }
            other => {
                out.push('\\');
                other
            }
        };
        out.push(simple);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn backslashes_are_pythons() {
        assert_eq!(unescape(r"a\n\t\\\'\q\x41\u00fc\101"), "a\n\t\\'\\qAüA");
        assert_eq!(unescape("\\"), "\\");
    }
}
