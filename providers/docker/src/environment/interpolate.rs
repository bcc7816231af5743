//! Variables in Compose files: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?why}`, `${NAME?why}`,
//! `${NAME:+other}`, `${NAME+other}`, and `$$` for a dollar sign.
//!
//! Source: Compose specification, "Interpolation".

/// Why variables can't be filled in, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A variable that must be set is not.
    Unset(String),
    /// It is no text with variables. The sentence shows the text.
    Syntax(String),
}

impl From<Wrong> for String {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Unset(why) | Wrong::Syntax(why) => why,
        }
    }
}

/// Fills in variables.
pub(super) fn fill(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(braced) = after.strip_prefix('{') {
            let end =
                closing(braced).ok_or_else(|| Wrong::Syntax(format!("`{text}` has a `${{` that does not close")))?;
            let (inside, tail) = braced.split_at(end);
            out.push_str(&expression(inside, value)?);
            rest = tail.strip_prefix('}').unwrap_or(tail);
        } else {
            let end = name_end(after);
            if end == 0 {
                let why = format!("`{text}` has a `$` without a name; a dollar sign is written `$$`");
                return Err(Wrong::Syntax(why));
            }
            let (name, tail) = after.split_at(end);
            out.push_str(&value(name).unwrap_or_default());
            rest = tail;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace that fits an opened one stands; defaults may hold variables of their own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_end(text: &str) -> usize {
    let plain = |(i, c): &(usize, char)| *c == '_' || c.is_ascii_alphabetic() || (*i > 0 && c.is_ascii_digit());
    text.char_indices().take_while(plain).count()
}

fn expression(inside: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let (name, operator) = inside.split_at(name_end(inside));
    if name.is_empty() {
        return Err(Wrong::Syntax(format!("`${{{inside}}}` names no variable")));
    }
    let found = value(name);
    let (operator, filled) = match operator.strip_prefix(':') {
        // With a colon an empty value is none.
        Some(operator) => (operator, found.clone().filter(|v| !v.is_empty())),
        None => (operator, found.clone()),
    };
    match (operator.chars().next(), operator.get(1..).unwrap_or_default()) {
        (None, _) => Ok(found.unwrap_or_default()),
        (Some('-'), default) => filled.map_or_else(|| fill(default, value), Ok),
        (Some('+'), other) => filled.map_or_else(|| Ok(String::new()), |_| fill(other, value)),
        (Some('?'), "") => filled.ok_or_else(|| Wrong::Unset(format!("the variable `{name}` is not set"))),
        (Some('?'), why) => filled.ok_or_else(|| Wrong::Unset(format!("the variable `{name}` is not set: {why}"))),
        _ => Err(Wrong::Syntax(format!("`${{{inside}}}` is not understood"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_compose_does() {
        let value = |n: &str| match n {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let ok = |t: &str| fill(t, &value).unwrap();
        for (text, want) in [
            ("x$A-y", "xa-y"),
            ("${A}b", "ab"),
            ("$$A", "$A"),
            ("${NO}", ""),
            ("${NO:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NO-${A}}", "a"),
            ("${A:+set}", "set"),
            ("${NO+set}", ""),
            ("${A:?why}", "a"),
        ] {
            assert_eq!(ok(text), want, "{text}");
        }
        let why = "the variable `NO` is not set: give it".to_owned();
        assert_eq!(fill("${NO:?give it}", &value).unwrap_err(), Wrong::Unset(why));
        for bad in ["${A", "$", "$1", "${}", "${A!x}"] {
            assert!(fill(bad, &value).is_err(), "{bad}");
        }
    }
}
