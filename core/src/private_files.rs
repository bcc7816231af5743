//! Files that hold state: 0600 in 0700 folders, replaced in one step, never through a symbolic link.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Makes a folder that only its owner can enter. An existing one must be a real folder of this user; others are shut out.
///
/// # Errors
///
/// It can't be made, is a symbolic link or no folder, or belongs to another user.
pub fn private_dir(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        // Parents are the user's own business, but a fresh one is private too.
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Err(io::Error::other(format!("{} is no folder (a symbolic link is refused)", path.display())));
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other(format!("{} belongs to another user", path.display())));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The file in a folder that its owner holds a lock on.
const LOCK: &str = "lock";

/// A folder that is this process's alone, as long as this lives. The kernel lets it go when the process ends, however that ends, so nobody has to guess
/// from process ids, boots or machines whether an owner is alive.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// Takes a folder. `None`: somebody has it, or it is gone.
///
/// A new folder is anybody's until this has given it, and whoever clears up may take it: then make another one.
///
/// # Errors
///
/// The folder's file `lock` can't be made or locked.
pub fn hold(dir: &Path) -> io::Result<Option<Held>> {
    let path = dir.join(LOCK);
    let file = match OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(e),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(e),
    }
    // Its last owner may have removed it after it was opened here.
    let (held, there) = (file.metadata()?, fs::metadata(&path));
    let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
    Ok(same.then_some(Held { _lock: file }))
}

/// Makes a folder with a name that starts with `prefix` and is used once, and takes it. It stays when the lock is let go.
///
/// # Errors
///
/// It can't be made or locked.
pub fn new_held(parent: &Path, prefix: &str) -> io::Result<(PathBuf, Held)> {
    for _ in 0..100 {
        let dir = parent.join(format!("{prefix}{}", uuid::Uuid::now_v7().simple()));
        private_dir(&dir)?;
        if let Some(held) = hold(&dir)? {
            return Ok((dir, held));
        }
    }
    Err(io::Error::other(format!("somebody takes every new folder in {}", parent.display())))
}

/// The folders with such a name whose owners are gone, each taken.
pub fn abandoned(parent: &Path, prefix: &str) -> Vec<(PathBuf, Held)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix)).map(|e| e.path());
    named.filter_map(|dir| hold(&dir).ok().flatten().map(|held| (dir, held))).collect()
}

/// Writes a file with mode 0600: a temporary beside it, synced, then renamed.
///
/// # Errors
///
/// It can't be written; what was there before is there still.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", uuid::Uuid::now_v7().simple()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Writes a value as JSON, as [`write_private`] does.
///
/// # Errors
///
/// As [`write_private`]; the value has no form in JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write_private(path, &bytes)
}

/// Reads a JSON file; `None` if there is none.
///
/// # Errors
///
/// It can't be read, or is not what is wanted.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes a file. `false`: there was none.
///
/// # Errors
///
/// It can't be removed.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Runs file work where it may block.
///
/// # Errors
///
/// It panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_owners_as_long_as_that_lives() {
        let home = tempfile::tempdir().unwrap();
        let (dir, held) = new_held(home.path(), "run-").unwrap();
        std::fs::create_dir(home.path().join("other")).unwrap();
        assert!(hold(&dir).unwrap().is_none() && abandoned(home.path(), "run-").is_empty(), "it is alive");
        drop(held);
        let found = abandoned(home.path(), "run-");
        assert_eq!(found.iter().map(|(found, _)| found).collect::<Vec<_>>(), [&dir]);
        assert!(abandoned(home.path(), "run-").is_empty(), "it has a new owner");
        std::fs::remove_dir_all(&dir).unwrap();
        drop(found);
        assert!(hold(&dir).unwrap().is_none() && !dir.exists(), "what is gone is nobody's");
    }
}
