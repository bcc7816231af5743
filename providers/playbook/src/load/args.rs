//! `key=value` arguments.

use serde_json::Map;
use towpath_core::Json;

/// Splits at blanks, as Ansible's `split_args`: quotes and `{{ }}` keep a word together; quotes stay.
fn split_raw(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut depth = 0usize;
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        let pair = (c, chars.get(i + 1).copied());
        if quote.is_none() && matches!(pair, ('{', Some('{' | '%' | '#'))) {
            depth += 1;
            word.push(c);
            word.extend(pair.1);
            i += 2;
            continue;
        }
        if quote.is_none() && depth > 0 && matches!(pair, ('}' | '%' | '#', Some('}'))) {
            depth -= 1;
            word.push(c);
            word.extend(pair.1);
            i += 2;
            continue;
        }
        match c {
            '\\' if depth == 0 => {
                word.push(c);
                if let Some(next) = pair.1 {
                    word.push(next);
                    i += 1;
                }
            }
            '"' | '\'' if depth == 0 => {
                quote = match quote {
                    Some(q) if q == c => None,
                    None => Some(c),
                    other => other,
                };
                word.push(c);
            }
            c if c.is_whitespace() && quote.is_none() && depth == 0 => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
        i += 1;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn unquote(word: &str) -> String {
    for q in ['"', '\''] {
        if word.len() >= 2 && word.starts_with(q) && word.ends_with(q) {
            return word.get(1..word.len() - 1).unwrap_or_default().to_owned();
        }
    }
    word.to_owned()
}

/// Splits a command into its arguments, as Python's `shlex.split`.
pub(crate) fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('"'), '\\') => match chars.next() {
                Some(n @ ('"' | '\\')) => word.get_or_insert_default().push(n),
                Some(n) => word.get_or_insert_default().extend(['\\', n]),
                None => {}
            },
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Reads free-form arguments. For `command`-like modules everything that is no known option stays in `_raw_params`.
pub(crate) fn parse(text: &str, raw: bool) -> Map<String, Json> {
    const OPTIONS: [&str; 7] = ["creates", "removes", "chdir", "executable", "warn", "stdin", "stdin_add_newline"];
    let mut out = Map::new();
    let mut rest: Vec<String> = Vec::new();
    let mut cut = false;
    for word in split_raw(text) {
        match word.split_once('=') {
            Some((k, v)) if !k.is_empty() && (if raw { OPTIONS.contains(&k) } else { is_name(k) }) => {
                cut = true;
                out.insert(k.to_owned(), Json::String(unquote(v)));
            }
            _ => rest.push(word),
        }
    }
    if raw && !cut {
        out.insert("_raw_params".into(), Json::String(text.trim_start().to_owned()));
    } else if !rest.is_empty() {
        let text = rest.join(" ");
        out.insert("_raw_params".into(), Json::String(if raw { text } else { unquote(&text) }));
    }
    out
}

fn is_name(k: &str) -> bool {
    k.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_options() {
        let a = parse("src=a.j2 dest={{ x | default('/b c') }} mode='0644'", false);
        assert_eq!(a.get("dest"), Some(&Json::from("{{ x | default('/b c') }}")));
        assert_eq!(a.get("mode"), Some(&Json::from("0644")));
        let c = parse("echo a=b creates=/x 'two words'", true);
        assert_eq!(c.get("_raw_params"), Some(&Json::from("echo a=b 'two words'")));
        assert_eq!(c.get("creates"), Some(&Json::from("/x")));
        assert_eq!(split_words(r#"a "b c" 'd e'f \g"#), ["a", "b c", "d ef", "g"]);
    }
}
