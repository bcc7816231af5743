//! The INI form.

use std::path::Path;

use towpath_core::{Error, Result, Vars};

use super::draft::Draft;
use super::range::{expand, port};
use super::{invalid_at, literal};

enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
}

pub(super) fn read(path: &Path, text: &str, out: &mut Draft) -> Result<()> {
    let mut section = Section::Hosts("ungrouped".into());
    // Groups that only a section of variables names so far: a later section may make them.
    let mut pending: Vec<(String, usize)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |message: String| -> Error { invalid_at(path, number + 1, message) };
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some((group, kind)) = header(line) {
            section = match kind {
                None => Section::Hosts(group.to_owned()),
                Some("children") => Section::Children(group.to_owned()),
                Some("vars") => Section::Vars(group.to_owned()),
                Some(other) => {
                    return Err(wrong(format!("a section is a group, `:children` or `:vars`, not `:{other}`")));
                }
            };
            match &section {
                Section::Vars(group) if !out.has_group(group) => pending.push((group.clone(), number + 1)),
                Section::Vars(_) => {}
                Section::Hosts(group) | Section::Children(group) => out.group(group),
            }
            continue;
        }
        if line.starts_with('[') && !line.contains(']') {
            return Err(wrong(format!("`{line}` is no section")));
        }
        match &section {
            Section::Hosts(group) => hosts(line, group, out).map_err(wrong)?,
            Section::Children(group) => {
                let child = words(line).map_err(wrong)?;
                let [child] = child.as_slice() else {
                    return Err(wrong(format!("Expected group name, got: {line}")));
                };
                if !out.has_group(child) {
                    pending.push((child.clone(), number + 1));
                }
                out.child(group, child).map_err(wrong)?;
            }
            Section::Vars(group) => {
                let (name, value) =
                    line.split_once('=').ok_or_else(|| wrong(format!("`{line}` is no `name=value`")))?;
                out.var(group, name.trim(), literal::value(value.trim()));
            }
        }
    }
    for (group, line) in pending {
        if !out.has_group(&group) {
            return Err(invalid_at(path, line, format!("the group `{group}` is not defined")));
        }
    }
    Ok(())
}

/// `[group]`, `[group:kind]`, with a comment behind it.
fn header(line: &str) -> Option<(&str, Option<&str>)> {
    let (inside, after) = line.strip_prefix('[')?.split_once(']')?;
    let after = after.trim_start();
    if inside.is_empty() || inside.contains(char::is_whitespace) || !(after.is_empty() || after.starts_with('#')) {
        return None;
    }
    match inside.split_once(':') {
        None => Some((inside, None)),
        Some((group, kind))
            if !group.is_empty()
                && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !kind.is_empty() =>
        {
            Some((group, Some(kind)))
        }
        Some(_) => None,
    }
}

fn hosts(line: &str, group: &str, out: &mut Draft) -> std::result::Result<(), String> {
    let words = words(line)?;
    let Some((pattern, rest)) = words.split_first() else { return Ok(()) };
    let mut vars = Vars::new();
    for word in rest {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is no `name=value`; a host's variables stand on its line"))?;
        vars.insert(name.to_owned(), literal::value(value));
    }
    let (pattern, port) = port(pattern)?;
    let is_address = pattern.parse::<std::net::Ipv6Addr>().is_ok();
    for name in if is_address { vec![pattern.to_owned()] } else { expand(pattern)? } {
        let host = out.host(&name);
        if let Some(port) = port {
            host.vars.insert("ansible_port".into(), port.into());
        }
        host.vars.extend(vars.clone());
        out.member(group, &name);
    }
    Ok(())
}

/// Words as a POSIX shell takes them apart, up to a comment.
fn words(line: &str) -> std::result::Result<Vec<String>, String> {
    let mut out: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => break,
            c if c.is_whitespace() => out.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(format!("`{line}` has no closing quotation")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(format!("`{line}` has no closing quotation")),
                        },
                        Some(c) => word.push(c),
                        None => return Err(format!("`{line}` has no closing quotation")),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(format!("`{line}` ends with a backslash")),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    Ok(out)
}
