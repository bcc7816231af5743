//! Finding and reading `ansible.cfg`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};

use crate::PLAYBOOK;

/// A line of the file.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// The file that counts.
pub(super) fn find(
    named: Option<&str>,
    home: Option<&str>,
    cwd: &Path,
    system: &Path,
    warnings: &mut Vec<String>,
) -> Option<PathBuf> {
    if let Some(named) = named.filter(|n| !n.is_empty()) {
        let path = match (named.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => cwd.join(named),
        };
        let path = if path.is_dir() { path.join("ansible.cfg") } else { path };
        if path.is_file() {
            return Some(path);
        }
    }
    let here = cwd.join("ansible.cfg");
    if here.is_file() {
        // Whoever may write into the folder could make this user run their commands.
        let open = std::fs::metadata(cwd).is_ok_and(|m| m.permissions().mode() & 0o002 != 0);
        if !open {
            return Some(here);
        }
        warnings.push(format!(
            "Ansible is being run in a world writable directory ({}), ignoring it as an ansible.cfg source.",
            cwd.display()
        ));
    }
    let of_home = home.map(|h| Path::new(h).join(".ansible.cfg"));
    of_home.into_iter().chain([system.to_owned()]).find(|p| p.is_file())
}

/// Reads it.
pub(super) fn read(path: &Path) -> Result<Vec<Pair>> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, PLAYBOOK, "settings", "the configuration can't be read")
            .with("file", path.display())
            .caused_by(e)
    })?;
    let mut section = String::new();
    let mut pairs: Vec<Pair> = Vec::new();
    for (number, raw) in text.lines().enumerate() {
        let wrong = |message: &str| {
            Error::new(ErrorKind::InvalidInput, PLAYBOOK, "settings", message)
                .with("file", format!("{}:{}", path.display(), number + 1))
        };
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        // A line that is indented goes on with the value before it.
        if raw.starts_with([' ', '\t']) {
            if let Some(last) = pairs.last_mut().filter(|p| p.section == section) {
                last.value = format!("{}\n{}", last.value, without_comment(line)).trim().to_owned();
                continue;
            }
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (name, _) = rest.split_once(']').ok_or_else(|| wrong("a section has no `]`"))?;
            section = name.to_owned();
            continue;
        }
        if section.is_empty() {
            return Err(wrong("a key stands before the first section"));
        }
        let (key, value) = line.split_once(['=', ':']).ok_or_else(|| wrong("this is no `key = value`"))?;
        let (key, value) = (key.trim().to_lowercase(), without_comment(value.trim()));
        pairs.retain(|p| p.section != section || p.key != key);
        pairs.push(Pair { section: section.clone(), key, value: unquoted(value).to_owned(), line: number + 1 });
    }
    Ok(pairs)
}

/// A comment inside a line begins at a `;` after white space; a `#` is part of the value.
fn without_comment(text: &str) -> &str {
    let cut = text.match_indices(';').find(|(at, _)| text.get(..*at).is_some_and(|b| b.ends_with([' ', '\t'])));
    cut.and_then(|(at, _)| text.get(..at)).unwrap_or(text).trim_end()
}

fn unquoted(text: &str) -> &str {
    for mark in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(mark).and_then(|t| t.strip_suffix(mark)) {
            return inner;
        }
    }
    text
}
