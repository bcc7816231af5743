//! A folder for one run of the tool: its plan, its variables, what it printed.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
}

/// What an apply prints.
pub(crate) const APPLY_LOG: &str = "apply.jsonl";

/// What a crashed process left is looked at by the run that continues, so it stays for a while.
const STALE: Duration = Duration::from_secs(24 * 3600);

impl RunFolder {
    pub(crate) fn new(data_dir: &Path, operation: &'static str) -> Result<Self> {
        let home = home(data_dir);
        let failed = |e| {
            Error::new(ErrorKind::Storage, TERRAFORM, operation, "a folder for the plan can't be made")
                .with("folder", home.display())
                .caused_by(e)
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).map_err(failed)?;
        remove_stale(&home);
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&home).map_err(failed)?;
        Ok(Self { dir })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file for this user only.
    pub(crate) fn write(&self, name: &str, content: &[u8], operation: &'static str) -> Result<PathBuf> {
        let path = self.path(name);
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content));
        written.map_err(|e| {
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

fn remove_stale(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if entry.file_name().to_string_lossy().starts_with("run-") && old.is_some_and(|age| age > STALE) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
