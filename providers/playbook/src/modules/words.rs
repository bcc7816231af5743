//! Words of a command line that no shell has seen: as Ansible's `run_command` splits and expands them.

use towpath_core::shell_quote;

use crate::load::split_words;

/// A word for the shell in which only `$NAME`, `${NAME}` and a leading `~` mean something; a variable that is not there stays
/// as it is written.
pub(super) fn expanding(word: &str) -> String {
    let mut out = String::new();
    let mut plain = String::new();
    let mut rest = word;
    if rest.starts_with('~') {
        let end = rest.find('/').unwrap_or(rest.len());
        let (home, after) = rest.split_at(end);
        if home.bytes().skip(1).all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            out.push_str(home);
            rest = after;
        }
    }
    let flush = |plain: &mut String, out: &mut String| {
        if !plain.is_empty() {
            out.push_str(&shell_quote(plain));
            plain.clear();
        }
    };
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        let (name, length) = match after.strip_prefix('{') {
            Some(inner) => match inner.find('}') {
                Some(end) => (inner.get(..end).unwrap_or_default(), end + 3),
                None => ("", 1),
            },
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (after.get(..end).unwrap_or_default(), end + 1)
            }
        };
        let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let (this, next) = from.split_at(if good { length } else { 1 });
        if good {
            flush(&mut plain, &mut out);
            out.push_str(&format!("\"${{{name}-\\{}}}\"", this.replace('}', "\\}")));
        } else {
            plain.push_str(this);
        }
        rest = next;
    }
    plain.push_str(rest);
    flush(&mut plain, &mut out);
    if out.is_empty() { "''".to_owned() } else { out }
}

/// Whether each quote of a command line has its end.
pub(super) fn closed(line: &str) -> bool {
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None | Some('"'), '\\') => {
                chars.next();
            }
            _ => {}
        }
    }
    quote.is_none()
}

/// A command line as words for the shell; `file` is the shell word for its `%s`.
pub(super) fn with_file(line: &str, file: &str) -> String {
    let word = |w: String| match w.split_once("%s") {
        Some((a, b)) => {
            let part = |p: &str| if p.is_empty() { String::new() } else { expanding(p) };
            format!("{}{file}{}", part(a), part(b))
        }
        None => expanding(&w),
    };
    split_words(&line.replace("%%", "%")).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_expand_variables_and_nothing_else() {
        assert_eq!(expanding("a b"), "'a b'");
        assert_eq!(expanding("~/x"), "~/x");
        assert_eq!(expanding("x$HOME`id`"), "x\"${HOME-\\$HOME}\"'`id`'");
        assert_eq!(expanding("${A}b"), "\"${A-\\${A\\}}\"b");
        assert_eq!(expanding("$1 $"), "'$1 $'");
        assert_eq!(with_file("cat -- %s '%s x'", "\"$p\""), "cat -- \"$p\" \"$p\"' x'");
    }
}
