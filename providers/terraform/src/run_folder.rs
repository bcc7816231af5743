//! A folder for one run of the tool: its plan, its variables, what it printed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use towpath_core::private_files::{private_dir, write_private};
use towpath_core::{Error, ErrorKind, Result};

use crate::provider::TERRAFORM;
use crate::survivor;

/// Below the tool's own data folder, which repositories ignore. Plans hold every value in clear, so it is for its owner only.
pub(crate) fn home(data_dir: &Path) -> PathBuf {
    data_dir.join("towpath")
}

/// Removed when dropped, unless a tool still works on a plan in it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    dir: tempfile::TempDir,
    /// Held for the life of this: who gets it knows that the folder's process is gone.
    _lock: Flock<File>,
}

/// What an apply prints.
pub(crate) const APPLY_LOG: &str = "apply.jsonl";
/// What an apply reads. Variables and plans hold secrets.
pub(crate) const PLAN: &str = "plan";
pub(crate) const VARS: &str = "vars.tfvars.json";
const LOCK: &str = "lock";

/// How long the log of a process that died is kept for the run that continues.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

impl RunFolder {
    pub(crate) fn new(data_dir: &Path, operation: &'static str) -> Result<Self> {
        let home = home(data_dir);
        Self::make(&home).map_err(|e| {
            Error::new(ErrorKind::Storage, TERRAFORM, operation, "a folder for the plan can't be made")
                .with("folder", home.display())
                .caused_by(e)
        })
    }

    fn make(home: &Path) -> io::Result<Self> {
        private_dir(home)?;
        clear_abandoned(home);
        loop {
            let dir = tempfile::Builder::new().prefix("run-").tempdir_in(home)?;
            // Another process may have taken the fresh folder for an abandoned one, before it was locked.
            match locked(dir.path()) {
                Ok(Some(lock)) if dir.path().join(LOCK).exists() => return Ok(Self { dir, _lock: lock }),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file for this user only.
    pub(crate) fn write(&self, name: &str, content: &[u8], operation: &'static str) -> Result<PathBuf> {
        let path = self.path(name);
        write_private(&path, content).map_err(|e| {
            Error::new(ErrorKind::Storage, TERRAFORM, operation, "a file of the run can't be written")
                .with("file", path.display())
                .caused_by(e)
        })?;
        Ok(path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // After a time-out, or when a caller has dropped the call: whoever continues looks there.
        if survivor::writer_of(&self.path(APPLY_LOG)).is_some() {
            self.dir.disable_cleanup(true);
        }
    }
}

/// The lock of a run's folder. `None`: somebody holds it.
fn locked(folder: &Path) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, e)) => Err(e.into()),
    }
}

/// Takes the secrets out of folders whose process is gone, and the folders away that nobody can want any more.
fn clear_abandoned(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let folder = entry.path();
        if !entry.file_name().to_string_lossy().starts_with("run-") {
            continue;
        }
        let Ok(Some(_lock)) = locked(&folder) else { continue };
        let log = folder.join(APPLY_LOG);
        if survivor::writer_of(&log).is_some() {
            continue;
        }
        let old = |m: std::fs::Metadata| m.modified().ok().and_then(|t| t.elapsed().ok());
        // What an apply said tells the run that continues what was done.
        if log.metadata().ok().and_then(old).is_some_and(|age| age < STALE) {
            for secret in [PLAN, VARS] {
                let _ = std::fs::remove_file(folder.join(secret));
            }
        } else {
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_dead_process_left_keeps_its_log_and_no_secret() {
        let data = tempfile::tempdir().unwrap();
        let dead = home(data.path()).join("run-dead");
        let planned = home(data.path()).join("run-planned");
        for folder in [&dead, &planned] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(PLAN), "secret").unwrap();
            std::fs::write(folder.join(VARS), "secret").unwrap();
        }
        std::fs::write(dead.join(APPLY_LOG), "said").unwrap();
        let alive = RunFolder::new(data.path(), "test").unwrap();
        alive.write(PLAN, b"mine", "test").unwrap();
        let _next = RunFolder::new(data.path(), "test").unwrap();
        assert!(dead.join(APPLY_LOG).exists() && !dead.join(PLAN).exists() && !dead.join(VARS).exists());
        assert!(!planned.exists(), "nothing was applied from there");
        assert!(alive.path(PLAN).exists(), "somebody works there");
    }
}
