//! A folder for one run of the tool: its plan, its variables, what it printed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use towpath_core::local_tool::writer_of;
use towpath_core::private_files::{Held, abandoned, new_held, private_dir, write_private};
use towpath_core::{Error, ErrorKind, Result};

use crate::provider::TERRAFORM;

/// Below the tool's own data folder, which repositories ignore. Plans hold every value in clear, so it is for its owner only.
pub(crate) fn home(data_dir: &Path) -> PathBuf {
    data_dir.join("towpath")
}

/// Removed when dropped, unless a tool still works on a plan in it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    dir: PathBuf,
    _held: Held,
}

/// What an apply prints.
pub(crate) const APPLY_LOG: &str = "apply.jsonl";
/// What an apply reads. Variables and plans hold secrets.
pub(crate) const PLAN: &str = "plan";
pub(crate) const VARS: &str = "vars.tfvars.json";
/// Starts the name of a run's folder.
const RUN: &str = "run-";

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
        let (dir, held) = new_held(home, RUN)?;
        Ok(Self { dir, _held: held })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
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
        if writer_of(&self.path(APPLY_LOG)).is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Takes the secrets out of folders whose process is gone, and the folders away that nobody can want any more.
fn clear_abandoned(home: &Path) {
    for (folder, _held) in abandoned(home, RUN) {
        let log = folder.join(APPLY_LOG);
        if writer_of(&log).is_some() {
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
