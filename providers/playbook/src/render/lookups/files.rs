//! Lookups of files' contents and names.

use super::Query;
use crate::render::error::Error;
use crate::render::search;
use crate::render::value::Value;

/// The contents of a file below `files`.
pub(super) fn read(q: &Query, name: &str) -> Result<Option<Vec<u8>>, Error> {
    q.scope.note_impure();
    let Ok(path) = q.scope.search.find("files", name) else { return Ok(None) };
    crate::vault::read(&path).map(Some).map_err(|e| Error::other(format!("{}: {e}", path.display())))
}

pub(super) fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Refuses what only a vault's password opens.
fn opened(name: &str, bytes: Vec<u8>) -> Result<String, Error> {
    if bytes.starts_with(b"$ANSIBLE_VAULT;") {
        return Err(Error::other(format!(
            "the file {name} is encrypted; lookups of encrypted files are not supported yet"
        )));
    }
    Ok(text_of(bytes))
}

pub(super) fn file(q: &mut Query) -> Result<Vec<Value>, Error> {
    let right = q.flag("rstrip", true)?;
    let left = q.flag("lstrip", false)?;
    q.texts()?
        .iter()
        .map(|name| {
            let Some(bytes) = read(q, name)? else {
                return Err(Error::other(format!(
                    "The 'file' lookup had an issue accessing the file '{name}'. file not found, use -vvvvv to see paths searched"
                )));
            };
            let text = opened(name, bytes)?;
            let text = if left { text.trim_start() } else { &text };
            Ok(Value::outside(if right { text.trim_end() } else { text }))
        })
        .collect()
}

pub(super) fn unvault(q: &mut Query) -> Result<Vec<Value>, Error> {
    q.texts()?
        .iter()
        .map(|name| match read(q, name)? {
            Some(bytes) => opened(name, bytes).map(Value::outside),
            None => Err(Error::other(format!("Unable to find file matching \"{name}\" "))),
        })
        .collect()
}

pub(super) fn glob(q: &mut Query) -> Result<Vec<Value>, Error> {
    q.scope.note_impure();
    let mut out = Vec::new();
    for term in q.texts()? {
        let (dir, pattern) = term.rsplit_once('/').map_or(("", term.as_str()), |(d, p)| (d, p));
        let places: Vec<String> = if term.starts_with('/') {
            vec![dir.to_owned()]
        } else {
            let dirs = q.scope.search.dirs.iter();
            dirs.flat_map(|d| [d.join("files").join(dir), d.join(dir)]).map(|d| d.display().to_string()).collect()
        };
        for place in places {
            let found = search::glob(&format!("{}/{pattern}", place.trim_end_matches('/')))?;
            if !found.is_empty() {
                out.extend(found.into_iter().map(Value::outside));
                break;
            }
        }
    }
    Ok(out)
}
