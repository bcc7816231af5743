//! The INI form.

use std::path::Path;

use towpath_core::{Error, Result, Vars};

use super::{Draft, expand, literal};
use crate::load::{split_words, yaml};

enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
}

pub(super) fn read(path: &Path, text: &str, out: &mut Draft) -> Result<()> {
    let mut section = Section::Hosts("ungrouped".into());
    for (number, line) in text.lines().enumerate() {
        let wrong = |message: String| -> Error {
            let pos = yaml::Pos { file: std::sync::Arc::new(path.to_owned()), line: number + 1, column: 1 };
            yaml::invalid(&pos, message)
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split_once(']').map(|(name, _)| name.trim());
            let name = name.filter(|n| !n.is_empty()).ok_or_else(|| wrong(format!("`{line}` is no section")))?;
            section = match name.rsplit_once(':') {
                None => Section::Hosts(name.to_owned()),
                Some((group, "children")) => Section::Children(group.to_owned()),
                Some((group, "vars")) => Section::Vars(group.to_owned()),
                Some((_, other)) => {
                    return Err(wrong(format!("a section is a group, `:children` or `:vars`, not `:{other}`")));
                }
            };
            let (Section::Hosts(group) | Section::Children(group) | Section::Vars(group)) = &section;
            out.group(group);
            continue;
        }
        match &section {
            Section::Hosts(group) => hosts(line, group, out).map_err(wrong)?,
            Section::Children(group) => out.child(group, without_comment(line)),
            Section::Vars(group) => {
                let (name, value) =
                    line.split_once('=').ok_or_else(|| wrong(format!("`{line}` is no `name=value`")))?;
                if let Some(vars) = out.vars(group) {
                    vars.insert(name.trim().to_owned(), literal(unquoted(without_comment(value.trim()))));
                }
            }
        }
    }
    Ok(())
}

/// A comment begins at a `#` after white space.
fn without_comment(text: &str) -> &str {
    let cut = text.match_indices('#').find(|(at, _)| text.get(..*at).is_some_and(|b| b.ends_with([' ', '\t'])));
    cut.and_then(|(at, _)| text.get(..at)).unwrap_or(text).trim_end()
}

fn unquoted(text: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

fn hosts(line: &str, group: &str, out: &mut Draft) -> std::result::Result<(), String> {
    let words = split_words(without_comment(line));
    let Some((pattern, rest)) = words.split_first() else { return Ok(()) };
    let mut vars = Vars::new();
    for word in rest {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is no `name=value`; a host's variables stand on its line"))?;
        vars.insert(name.to_owned(), literal(value));
    }
    // `web:2222` is a port, `web[1:3]` a range, `fe80::1` an address.
    let (pattern, port) = match pattern.rsplit_once(':') {
        Some((name, port)) if !name.rsplit(']').next().unwrap_or(name).contains(':') => match port.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => (pattern.as_str(), None),
        },
        _ => (pattern.as_str(), None),
    };
    for name in expand(pattern)? {
        let host = out.host(&name);
        host.vars.extend(vars.clone());
        if let Some(port) = port {
            host.vars.insert("ansible_port".into(), port.into());
        }
        out.member(group, &name);
    }
    Ok(())
}
