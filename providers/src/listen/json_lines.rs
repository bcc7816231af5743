use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use towpath_core::{Error, ErrorKind, Event, Listener, Result};

/// Writes every event as one line of JSON, at once. The file is for its owner only (0600), a folder it makes too (0700).
#[derive(Debug)]
pub struct JsonLines(Mutex<Target>);

#[derive(Debug)]
enum Target {
    File(PathBuf, File),
    /// The file gets the run's name. Until that is known, its events are kept.
    Folder(PathBuf, Vec<Event>),
    /// It could not be made.
    Failed(Option<Error>),
}

/// Most events that are kept before the run starts.
const EARLY: usize = 200;

impl JsonLines {
    /// Appends to this file.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage): it can't be made or written.
    pub fn append_to(path: &Path) -> Result<Self> {
        Ok(Self(Mutex::new(Target::File(path.to_owned(), open(path)?))))
    }

    /// Appends to `<run>.jsonl` in this folder. If that can't be made, the run goes on without; [`close`](Self::close) says so.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(Mutex::new(Target::Folder(folder.into(), Vec::new())))
    }

    /// Says where the file is. `None`: in a folder, and no run has started yet.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage): it could not be made.
    pub fn close(&self) -> Result<Option<PathBuf>> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Target::File(path, _) => Ok(Some(path.clone())),
            Target::Folder(..) => Ok(None),
            Target::Failed(error) => error.take().map_or(Ok(None), Err),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let fail = |e: std::io::Error| {
        Error::new(
            ErrorKind::Storage,
            "towpath",
            "journal",
            "the events can't be written as JSON lines: look at the folder and the disk, or name another file with --journal",
        )
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
    options.open(path).map_err(fail)
}

impl Listener for JsonLines {
    fn on_event(&self, event: &Event) {
        let mut target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Target::Folder(folder, early) = &mut *target {
            let Some(run) = &event.run else {
                if early.len() < EARLY {
                    early.push(event.clone());
                }
                return;
            };
            let path = folder.join(format!("{run}.jsonl"));
            let early = std::mem::take(early);
            *target = match open(&path) {
                Ok(file) => Target::File(path, file),
                Err(e) => Target::Failed(Some(e)),
            };
            early.iter().for_each(|event| target.write(event));
        }
        target.write(event);
    }
}

impl Target {
    fn write(&mut self, event: &Event) {
        let Self::File(_, file) = self else { return };
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        // A listener can't stop the run; the run's own journal is in the store and is not lost with this file.
        let _ = file.write_all(&line);
    }
}
