//! Python's regular expressions over a file's text, whatever its bytes.

use fancy_regex::{Captures, Regex};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    /// Whether the pattern itself asks for lines: `(?m)`.
    pub(super) multiline: bool,
}

impl Pattern {
    /// Compiles `text`; with `multiline`, `^` and `$` are a line's.
    pub(super) fn new(text: &str, multiline: bool) -> Result<Self, String> {
        let own = inline_flags(text).contains('m');
        let source = translated(text, multiline || own);
        let source = if multiline { format!("(?m){source}") } else { source };
        let regex = Regex::new(&source).map_err(|e| format!("the pattern `{text}` can't be used: {e}"))?;
        Ok(Self { regex, multiline: own })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }

    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t, str>> {
        self.regex.captures(text).ok().flatten()
    }

    /// Where the first match is.
    pub(super) fn find(&self, text: &str) -> Option<std::ops::Range<usize>> {
        self.regex.find(text).ok().flatten().map(|m| m.range())
    }

    /// Replaces all, and says how many there were. `\1`, `\g<name>` and escapes in `by` are Python's.
    pub(super) fn replace_all(&self, text: &str, by: &str) -> Result<(String, usize), String> {
        let (mut out, mut from, mut count) = (String::new(), 0, 0);
        for c in self.regex.captures_iter(text) {
            let c = c.map_err(|e| e.to_string())?;
            let Some(whole) = c.get(0) else { continue };
            out.push_str(text.get(from..whole.start()).unwrap_or_default());
            out.push_str(&expand(&c, by)?);
            from = whole.end();
            count += 1;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        Ok((out, count))
    }
}

/// What Python says of a pattern that it can't compile, for the faults that are found in practice.
pub(super) fn fault(text: &str) -> String {
    let mut open = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut before = None;
    while let Some((at, c)) = chars.next() {
        let here = text.get(..at).map_or(at, |t| t.chars().count());
        match c {
            '\\' if chars.next().is_none() => return format!("bad escape (end of pattern) at position {here}"),
            '\\' => {}
            '[' => {
                let mut first = true;
                loop {
                    match chars.next() {
                        None => return format!("unterminated character set at position {here}"),
                        Some((_, ']')) if !first => break,
                        Some((_, '\\')) => drop(chars.next()),
                        Some((_, '^')) if first => continue,
                        Some(_) => {}
                    }
                    first = false;
                }
            }
            '(' => open.push(here),
            ')' if open.pop().is_none() => return format!("unbalanced parenthesis at position {here}"),
            '*' | '+' | '?' => match before {
                Some('*' | '+' | '?') if c == '*' => return format!("multiple repeat at position {here}"),
                None | Some('(' | '|') if !(before == Some('(') && c == '?') => {
                    return format!("nothing to repeat at position {here}");
                }
                _ => {}
            },
            _ => {}
        }
        before = Some(c);
    }
    match open.pop() {
        Some(at) => format!("missing ), unterminated subpattern at position {at}"),
        None => format!("the pattern `{text}` can't be used"),
    }
}

fn inline_flags(text: &str) -> &str {
    text.strip_prefix("(?")
        .and_then(|r| r.split_once(')'))
        .map_or("", |(flags, _)| if flags.bytes().all(|b| b.is_ascii_alphabetic()) { flags } else { "" })
}

/// What Python writes differently: `\Z`, `(?P=name)`, `$` before a last newline, and `[` inside a class.
fn translated(text: &str, multiline: bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !class => out.push_str("\\z"),
                Some(n) => out.extend(['\\', n]),
                None => out.push('\\'),
            },
            '[' if class => out.push_str("\\["),
            '[' => {
                class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => out.extend(['\\', c]),
            '$' if !class && !multiline => out.push_str("(?=\\n?\\z)"),
            '(' if !class && chars.peek() == Some(&'?') => {
                let rest: String = chars.clone().collect();
                match rest.strip_prefix("?P=").and_then(|r| r.split_once(')')) {
                    Some((name, _)) => {
                        out.push_str(&format!("\\k<{name}>"));
                        for _ in 0..name.chars().count() + 4 {
                            chars.next();
                        }
                    }
                    None => out.push('('),
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// A replacement with groups and escapes, as Python's `Match.expand`.
pub(super) fn expand(c: &Captures<'_, str>, by: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = by.chars().peekable();
    let group = |i: usize| match i < c.len() {
        true => Ok(c.get(i).map_or("", |m| m.as_str())),
        false => Err(format!("invalid group reference {i}")),
    };
    while let Some(ch) = chars.next() {
        if ch != '\\' {
            out.push(ch);
            continue;
        }
        match chars.next() {
            Some('0') => out.push('\0'),
            Some(d) if d.is_ascii_digit() => {
                let mut n = d.to_string();
                n.extend(chars.next_if(char::is_ascii_digit));
                out.push_str(group(n.parse().unwrap_or(0))?);
            }
            Some('g') if chars.next_if_eq(&'<').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                match name.parse() {
                    Ok(i) => out.push_str(group(i)?),
                    Err(_) => out.push_str(c.name(&name).map_or("", |m| m.as_str())),
                }
            }
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some('a') => out.push('\u{7}'),
            Some('\\') => out.push('\\'),
            Some(o) if o.is_ascii_alphabetic() => return Err(format!("bad escape \\{o}")),
            Some(o) => out.extend(['\\', o]),
            None => out.push('\\'),
        }
    }
    Ok(out)
}

/// Stands for the bytes that are no UTF-8, so that they survive: one private character each.
const FIRST: u32 = 0x10_FF00;

/// Text of any bytes; [`encode`] gives the same bytes.
pub(super) fn decode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().filter_map(|b| char::from_u32(FIRST + u32::from(*b))));
    }
    out
}

/// The bytes of a text that [`decode`] gave.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(FIRST) {
            Some(b) => out.push(b as u8),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn python_patterns() {
        assert!(Pattern::new("a$", false).unwrap().matches("a\n"));
        assert!(Pattern::new(r"[[]x\Z", false).unwrap().matches("[x"));
        assert!(Pattern::new(r"(?P<q>.)b(?P=q)", false).unwrap().matches("aba"));
        assert!(!Pattern::new("^(?!x)b", false).unwrap().matches("xb"));
        let (text, n) = Pattern::new(r"(\w)=(\d)", true).unwrap().replace_all("a=1\nb=2\n", r"\2=\g<1>").unwrap();
        assert_eq!((text.as_str(), n), ("1=a\n2=b\n", 2));
        assert!(Pattern::new("a", false).unwrap().replace_all("a", r"\1").is_err());
    }

    #[test]
    fn faults_are_told_in_pythons_words() {
        for (pattern, told) in [
            ("(", "missing ), unterminated subpattern at position 0"),
            ("((a)", "missing ), unterminated subpattern at position 0"),
            ("(?:x", "missing ), unterminated subpattern at position 0"),
            ("a)", "unbalanced parenthesis at position 1"),
            ("[a", "unterminated character set at position 0"),
            ("*a", "nothing to repeat at position 0"),
            ("a(*b)", "nothing to repeat at position 2"),
            ("a|*", "nothing to repeat at position 2"),
            ("a**", "multiple repeat at position 2"),
            ("a\\", "bad escape (end of pattern) at position 1"),
        ] {
            assert_eq!(fault(pattern), told, "{pattern}");
        }
    }

    #[test]
    fn bytes_survive() {
        let bytes = b"a\xff\xc3\xa9\x80\n";
        assert_eq!(encode(&decode(bytes)), bytes);
    }
}
