//! Files of variables: `env_file` and `.env`, as Compose reads them.
//!
//! Source: Docker documentation, "Set environment variables", "Syntax for environment files in Docker Compose".

use std::collections::BTreeMap;
use std::path::Path;

use towpath_core::{Error, ErrorKind, Result};

use super::interpolate::{Wrong, fill};
use crate::PROVIDER;

/// Who knows the value of a variable.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Spaces within a line.
const BLANK: [char; 2] = [' ', '\t'];

/// Reads a file of variables. Values may refer to what `outer` knows, and to variables that stand before them in the file.
pub(super) fn env_file(path: &Path, outer: Lookup<'_>) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, PROVIDER, "compose", "a file can't be read")
            .with("file", path.display())
            .caused_by(e)
    })?;
    parse(&text, outer).map_err(|(line, why)| {
        Error::new(ErrorKind::InvalidInput, PROVIDER, "compose", why).with("file", format!("{}:{line}", path.display()))
    })
}

/// What is wrong, and in which line. It never shows a value, which may be a secret.
type Place = (usize, String);

fn parse(text: &str, outer: Lookup<'_>) -> Result<BTreeMap<String, String>, Place> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let (mut all, mut rest, mut line) = (BTreeMap::new(), text.as_str(), 0);
    while !rest.is_empty() {
        line += 1;
        let here = rest.trim_start_matches(BLANK);
        let here = here.strip_prefix("export ").unwrap_or(here).trim_start_matches(BLANK);
        if here.is_empty() || here.starts_with(['\n', '#']) {
            rest = next_line(here).1;
            continue;
        }
        let first = line;
        let wrong = |why: &str| (first, why.to_owned());
        let end = here.find(|c: char| !c.is_ascii_alphanumeric() && !"_.-[]".contains(c)).unwrap_or(here.len());
        let (name, tail) = here.split_at(end);
        let tail = tail.trim_start_matches(BLANK);
        if name.is_empty() {
            return Err(wrong("a line is not like `NAME=value`"));
        }
        let Some(value) = tail.strip_prefix(['=', ':']) else {
            // A name alone has the value that is known, if there is one.
            rest = ended(tail).ok_or_else(|| wrong("a line is not like `NAME=value`"))?;
            all.extend(outer(name).map(|value| (name.to_owned(), value)));
            continue;
        };
        let filled = |value: &str| {
            fill(value, &|n| outer(n).or_else(|| all.get(n).cloned())).map_err(|why| match why {
                Wrong::Unset(why) => wrong(&why),
                Wrong::Syntax(_) => {
                    wrong("a `$` in the value is not understood: write `$$`, or put the value in single quotes")
                }
            })
        };
        let value = value.trim_start_matches(BLANK);
        let value = match value.chars().next() {
            Some('#') => {
                return Err(wrong("the value may be a comment or start with `#`: put it in quotes, or nothing"));
            }
            Some(quote @ ('"' | '\'')) => {
                let (raw, behind) = quoted(value, quote).ok_or_else(|| (first, "a quote does not close".to_owned()))?;
                line += value.len().checked_sub(behind.len()).and_then(|n| value.get(..n)).map_or(0, newlines);
                rest = ended(behind).ok_or_else(|| (line, "only a comment may follow a closing quote".to_owned()))?;
                if quote == '"' { filled(&escapes(&raw))? } else { raw }
            }
            _ => {
                let (value, after) = next_line(value);
                rest = after;
                filled(value.split_once(" #").map_or(value, |(v, _)| v).trim_end())?
            }
        };
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

fn next_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// What follows a line of which only a comment is left.
fn ended(text: &str) -> Option<&str> {
    let (line, after) = next_line(text);
    let line = line.trim_start();
    (line.is_empty() || line.starts_with('#')).then_some(after)
}

/// The text in quotes, and what is behind them. A quote with a backslash before it does not close.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut raw = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((raw, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                c if c == quote => raw.push(c),
                c => raw.extend(['\\', c]),
            },
            c => raw.push(c),
        }
    }
    None
}

/// The escapes of text in double quotes. One that is not known stays as it is.
fn escapes(raw: &str) -> String {
    let mut out = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('\\') => out.push('\\'),
                // A dollar sign, as the text is filled in after this.
                Some('$') => out.push_str("$$"),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn outer(name: &str) -> Option<String> {
        (name == "OUTER").then(|| "from outside".to_owned())
    }

    /// The examples of the documentation, and what follows from them.
    #[test]
    fn files_are_read_as_compose_reads_them() {
        for (text, want) in [
            ("V=VAL", "VAL"),
            ("V=\"VAL\"", "VAL"),
            ("V='VAL'", "VAL"),
            ("V: VAL", "VAL"),
            ("V = VAL  ", "VAL"),
            ("export V=VAL\r\n", "VAL"),
            ("\u{feff}V=VAL", "VAL"),
            ("V=", ""),
            ("V=VAL # comment", "VAL"),
            ("V=VAL# not a comment", "VAL# not a comment"),
            ("V=\"VAL # not a comment\"", "VAL # not a comment"),
            ("V=\"VAL\" # comment", "VAL"),
            ("V='VAL'   # comment", "VAL"),
            ("V='$OTHER'", "$OTHER"),
            ("V='${OTHER}'", "${OTHER}"),
            ("V='Let\\'s go!'", "Let's go!"),
            (r#"V="{\"hello\": \"json\"}""#, r#"{"hello": "json"}"#),
            (r#"V="some\tvalue""#, "some\tvalue"),
            (r"V='some\tvalue'", r"some\tvalue"),
            (r"V=some\tvalue", r"some\tvalue"),
            (r#"V="a\nb\\n""#, "a\nb\\n"),
            (r#"V="\$OUTER""#, "$OUTER"),
            ("V='SOME\nVALUE' # comment\n", "SOME\nVALUE"),
            ("V=$OUTER!", "from outside!"),
            ("V=\"${OUTER} ${NO:-x}\"", "from outside x"),
            ("A=1\n\n# note\nV=${A}2", "12"),
            ("V=a$$b", "a$b"),
        ] {
            let found = parse(text, &outer).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(found["V"], want, "{text}");
        }
        let alone = parse("OUTER\nUNKNOWN # neither here nor there\n", &outer).unwrap();
        assert_eq!(alone, BTreeMap::from([("OUTER".to_owned(), "from outside".to_owned())]));
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line_and_without_its_value() {
        for (text, line, word) in [
            ("A=1\nsome hidden\n", 2, "NAME=value"),
            ("=hidden", 1, "NAME=value"),
            ("A='x\ny'\nB=\"hidden", 3, "does not close"),
            ("A='x\ny' hidden", 2, "closing quote"),
            ("A=hidden$", 1, "`$`"),
            ("A=\n\nB=\"hidden${\"", 3, "`$`"),
            ("A=${NO:?say what}hidden", 1, "say what"),
            ("A= # hidden", 1, "quotes"),
        ] {
            let (at, why) = parse(text, &outer).expect_err(text);
            assert_eq!(at, line, "{text}: {why}");
            assert!(why.contains(word) && !why.contains("hidden"), "{text}: {why}");
        }
    }
}
