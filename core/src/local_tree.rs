//! Files and folders of this machine that go to hosts. All of it blocks.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::pipeline::nearest;
use crate::{Error, ErrorKind, Result};

/// A file or folder below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below that folder.
    pub below: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a folder; else it is a file.
    pub folder: bool,
    /// Whether its owner may run it.
    pub executable: bool,
}

/// Lists everything below a folder by name, an outer folder before what is in it. Links are followed: what they lead to is meant.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): something can't be read, is neither a file nor a folder, or leads to a folder around
/// it; a name is no UTF-8, or has a character that is `refused`.
pub fn walk(provider: &'static str, root: &Path, refused: impl Fn(char) -> bool) -> Result<Vec<Entry>> {
    let wrong = |message: &str, path: &Path| {
        Error::new(ErrorKind::InvalidInput, provider, "load", message).with("file", path.display())
    };
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|e| wrong("it can't be read", e.path().unwrap_or(root)).caused_by(e))?;
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let Some(below) = below.to_str().filter(|b| !b.chars().any(&refused)) else {
            let message = "its name is no UTF-8, or has a character that can't be sent";
            return Err(wrong(message, entry.path()));
        };
        let there = entry.metadata().map_err(|e| wrong("it can't be read", entry.path()).caused_by(e))?;
        if !there.is_dir() && !there.is_file() {
            return Err(wrong("it is neither a file nor a folder", entry.path()));
        }
        let below = below.to_owned();
        let (folder, executable) = (there.is_dir(), is_executable(&there));
        all.push(Entry { below, path: entry.into_path(), folder, executable });
    }
    Ok(all)
}

/// Whether the owner of a file may run it. Other bits differ from one checkout to the next.
pub fn is_executable(there: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&there.permissions()) & 0o100 != 0;
    #[cfg(not(unix))]
    return there.is_dir();
}

/// The SHA-256 of a file in hex, and its size.
///
/// # Errors
///
/// As [`unreadable`].
pub fn digest(provider: &'static str, path: &Path) -> Result<(String, u64)> {
    let failed = |e| unreadable(provider, "file", path, e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0u8; 1 << 16]);
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            return Ok((hex::encode(hash.finalize()), size));
        }
        hash.update(buffer.get(..n).unwrap_or_default());
        size += n as u64;
    }
}

/// Why a path can't be read: [`Denied`](ErrorKind::Denied), or [`NotFound`](ErrorKind::NotFound) with the name beside it that may have
/// been meant. `what` it was to be: a `file`, a `folder`.
pub fn unreadable(provider: &'static str, what: &str, path: &Path, e: std::io::Error) -> Error {
    let error = |kind, message: String| Error::new(kind, provider, "load", message).with("file", path.display());
    if e.kind() != std::io::ErrorKind::NotFound {
        return error(ErrorKind::Denied, format!("a {what} can't be read")).caused_by(e);
    }
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let entries = path.parent().and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let there: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let hint = nearest(name, there.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    error(ErrorKind::NotFound, format!("there is no such {what}{hint}"))
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_tree_is_listed_in_order_with_links_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("tree/b/empty")).unwrap();
        std::fs::write(at("tree/a"), "a").unwrap();
        std::fs::write(at("elsewhere"), "x").unwrap();
        std::fs::set_permissions(at("elsewhere"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink(at("elsewhere"), at("tree/b/link")).unwrap();
        let all = walk("test", &at("tree"), |c| c == '\n').unwrap();
        let short: Vec<(&str, bool, bool)> = all.iter().map(|e| (e.below.as_str(), e.folder, e.executable)).collect();
        assert_eq!(short, [("a", false, false), ("b", true, true), ("b/empty", true, true), ("b/link", false, true)]);
        let (digest, size) = digest("test", &at("tree/a")).unwrap();
        assert_eq!((digest.get(..8), size), (Some("ca978112"), 1));

        symlink(at("tree"), at("tree/b/around")).unwrap();
        assert_eq!(walk("test", &at("tree"), |_| false).unwrap_err().kind(), ErrorKind::InvalidInput);
        std::fs::remove_file(at("tree/b/around")).unwrap();
        std::fs::write(at("tree/two\nlines"), "").unwrap();
        assert!(walk("test", &at("tree"), |c| c == '\n').unwrap_err().message().contains("can't be sent"));
    }

    #[test]
    fn what_is_missing_names_what_may_be_meant() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("deploy.sh"), "").unwrap();
        let error = digest("test", &dir.path().join("deploy.hs")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("no such file; did you mean `deploy.sh`?"), "{error}");
    }
}
