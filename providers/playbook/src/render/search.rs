//! Where files of a playbook are.

use std::path::{Path, PathBuf};

use super::error::Error;

/// Folders in which `template`, `copy` and the lookups search, most specific first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    pub(crate) dirs: Vec<PathBuf>,
}

impl Search {
    /// Finds a file below `kind` (`templates`, `files`) or directly in a folder.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Result<PathBuf, String> {
        let given = PathBuf::from(super::expand_user(name));
        if given.is_absolute() {
            return if given.exists() { Ok(given) } else { Err(name.to_owned()) };
        }
        let places: Vec<PathBuf> = self.dirs.iter().flat_map(|d| [d.join(kind).join(name), d.join(name)]).collect();
        places
            .iter()
            .find(|p| p.exists())
            .cloned()
            .ok_or_else(|| places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))
    }
}

/// The files that a shell pattern matches, by name. Hidden ones want a dot in the pattern.
pub(crate) fn glob(pattern: &str) -> Result<Vec<String>, Error> {
    let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        let wild = part.contains(['*', '?', '[']);
        let matcher = if wild {
            let glob = globset::GlobBuilder::new(part).literal_separator(true).backslash_escape(false).build();
            Some(glob.map_err(|e| Error::other(format!("the pattern `{pattern}`: {e}")))?.compile_matcher())
        } else {
            None
        };
        let mut next = Vec::new();
        for base in &found {
            let join = |name: &str| {
                if base.is_empty() || base.ends_with('/') { format!("{base}{name}") } else { format!("{base}/{name}") }
            };
            match &matcher {
                None => {
                    if Path::new(&join(part)).symlink_metadata().is_ok() {
                        next.push(join(part));
                    }
                }
                Some(m) => {
                    let dir = if base.is_empty() { "." } else { base };
                    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
                    let names = names.filter_map(|e| e.file_name().into_string().ok());
                    let mut names: Vec<String> =
                        names.filter(|n| m.is_match(n) && (!n.starts_with('.') || part.starts_with('.'))).collect();
                    names.sort();
                    next.extend(names.iter().map(|n| join(n)));
                }
            }
        }
        found = next;
    }
    found.retain(|p| Path::new(p).is_file());
    Ok(found)
}
