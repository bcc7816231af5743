use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use towpath_core::{Error, ErrorKind, Event, Listener, Result};

/// Writes every event as one line of JSON, at once. The file is for its owner only (0600), a folder it makes too (0700).
#[derive(Debug)]
pub struct JsonLines(Mutex<File>);

impl JsonLines {
    /// Appends to this file.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage): it can't be made or written.
    pub fn append_to(path: &Path) -> Result<Self> {
        let fail = |e: std::io::Error| {
            Error::new(ErrorKind::Storage, "towpath", "journal", "the journal file can't be written")
                .with("file", path.display())
                .caused_by(e)
        };
        let mut folders = std::fs::DirBuilder::new();
        let mut options = File::options();
        folders.recursive(true);
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
            folders.mode(0o700);
            options.mode(0o600);
        }
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            folders.create(folder).map_err(fail)?;
        }
        Ok(Self(Mutex::new(options.open(path).map_err(fail)?)))
    }
}

impl Listener for JsonLines {
    fn on_event(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        // A listener can't stop the run; the run's own journal is in the store and is not lost with this file.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}
