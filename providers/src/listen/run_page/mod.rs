//! A run as one HTML file.

mod graph;
mod hosts;
mod html;
mod model;
mod render;
mod steps;
#[cfg(test)]
mod tests;
mod timeline;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use towpath_core::{Error, ErrorKind, Event, EventKind, Listener, Plan, Result};

use model::Model;

/// Shortest time between two writes while a run is under way.
const PAUSE: Duration = Duration::from_secs(1);
/// Most that is read of what earlier processes wrote about a run, in bytes.
const HISTORY: u64 = 256 << 20;
/// Most events that are kept before the run starts.
const EARLY: usize = 200;

/// Writes a page about a run: time line, graph, steps with their logs, hosts, plan, errors with all that is known of them.
///
/// The page is one file without scripts that loads nothing, so it opens from disk, from an archive, from a mail. It is for
/// its owner only (0600; a folder that is made for it 0700) and always whole: it is written beside its place and moved
/// there, at most once a second while the run is under way, and at its end. Its size is bounded whatever a run does; what
/// it leaves out, it says.
///
/// A page that can't be written does not stop a run: [`close`](Self::close) says why.
#[derive(Debug)]
pub struct RunPage {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a page is made and put in its place, so that an older one never replaces a newer one.
    /// Always taken before `state`.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    model: Model,
    place: Place,
    /// What happened before the run had a name.
    early: Vec<Event>,
    /// Something happened since the page was written.
    dirty: bool,
    closed: bool,
    failed: Option<Error>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    /// The file gets the run's name, once that is known.
    Folder(PathBuf),
}

impl RunPage {
    /// A page in this file, whose folder is made if need be.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::File(path.into()))
    }

    /// A page called `<run>.html` in this folder. If an earlier process of the run left its events beside it, as
    /// `<run>.jsonl`, the page tells of them too.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self::at(Place::Folder(folder.into()))
    }

    fn at(place: Place) -> Self {
        let state = State { model: Model::new(), place, early: Vec::new(), dirty: false, closed: false, failed: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), writing: Mutex::new(()) });
        Self { shared, writer: Mutex::new(None) }
    }

    /// Shows this plan, if there is one: the one that is carried out.
    #[must_use]
    pub fn plan<'p>(self, plan: impl Into<Option<&'p Plan>>) -> Self {
        self.shared.lock().model.plan = plan.into().cloned();
        self
    }

    /// Where the page is. `None`: in a folder, and no run has started yet.
    pub fn path(&self) -> Option<PathBuf> {
        self.shared.lock().path()
    }

    /// Writes the page for the last time, and says where it is. `error` is why the run stopped without coming to an end.
    /// `None`: no run has started.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage): it can't be written.
    pub fn close(&self, error: Option<&Error>) -> Result<Option<PathBuf>> {
        self.stop();
        let mut state = self.shared.lock();
        if state.model.run.is_none() {
            return Ok(None);
        }
        if let Some(error) = error {
            state.model.stopped = Some(error.record());
            state.dirty = true;
        }
        drop(state);
        self.shared.write();
        let mut state = self.shared.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(state.path()),
        }
    }

    /// Ends the writer's thread.
    fn stop(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It panics only where writing a page would, and the caller does that next.
            let _ = writer.join();
        }
    }

    fn start(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without a thread there is no page until the run's end, which is no reason to stop a run.
            *writer = std::thread::Builder::new().name("run page".into()).spawn(move || shared.write_on()).ok();
        }
    }
}

impl Drop for RunPage {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Listener for RunPage {
    fn on_event(&self, event: &Event) {
        let mut state = self.shared.lock();
        if state.model.run.is_none() {
            let EventKind::RunStarted { resumed, .. } = event.kind else {
                // Who holds the environment, and little else.
                if state.early.len() < EARLY {
                    state.early.push(event.clone());
                }
                return;
            };
            if resumed {
                state.recall(event);
            }
            state.model.learn(event);
            for early in std::mem::take(&mut state.early) {
                state.model.learn(&early);
            }
        } else {
            state.model.learn(event);
        }
        state.dirty = true;
        match event.kind {
            EventKind::RunStarted { .. } => {
                drop(state);
                self.start();
            }
            // Whoever awaits the run finds the page finished.
            EventKind::RunFinished { .. } => {
                drop(state);
                self.shared.write();
            }
            _ => self.shared.changed.notify_one(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is new, if anything is.
    fn write(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let Some(path) = state.path().filter(|_| state.dirty) else { return };
        state.dirty = false;
        let page = render::page(&state.model);
        drop(state);
        let failed = write(&path, &page).err();
        self.lock().failed = failed;
    }

    /// The writer's thread: a page now and then, as long as something happens.
    fn write_on(&self) {
        let mut state = self.lock();
        while !state.closed {
            if !state.dirty {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let from = Instant::now();
            self.write();
            // A page that takes long is written less often, so that it costs little however large the run is.
            let until = Instant::now() + PAUSE.max(from.elapsed() * 20);
            state = self.lock();
            while !state.closed {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl State {
    fn path(&self) -> Option<PathBuf> {
        match &self.place {
            Place::File(path) => Some(path.clone()),
            Place::Folder(folder) => Some(folder.join(format!("{}.html", self.model.run.as_ref()?))),
        }
    }

    /// Learns what earlier processes of the run saw. What can't be read is left out: the page is about this process then.
    fn recall(&mut self, event: &Event) {
        let (Place::Folder(folder), Some(run)) = (&self.place, &event.run) else { return };
        let Ok(file) = fs::File::open(folder.join(format!("{run}.jsonl"))) else { return };
        for line in BufReader::new(file.take(HISTORY)).split(b'\n').map_while(std::result::Result::ok) {
            // The last line may be torn, and the newest is this process's own.
            if let Ok(event) = serde_json::from_slice::<Event>(&line) {
                self.model.learn(&event);
            }
        }
    }
}

/// Puts the page in its place in one piece.
fn write(path: &Path, page: &str) -> Result<()> {
    let fail = |e: std::io::Error| {
        Error::new(
            ErrorKind::Storage,
            "towpath",
            "run page",
            "the run page can't be written: look at the folder and the disk, or name another place with --page",
        )
        .with("file", path.display())
        .caused_by(e)
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let mut folders = fs::DirBuilder::new();
    let mut options = fs::File::options();
    folders.recursive(true);
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        folders.mode(0o700);
        options.mode(0o600);
    }
    folders.create(folder).map_err(fail)?;
    // One of a process that died has this name only if that had our number.
    let _ = fs::remove_file(&beside);
    let moved =
        options.open(&beside).and_then(|mut f| f.write_all(page.as_bytes())).and_then(|()| fs::rename(&beside, path));
    if moved.is_err() {
        let _ = fs::remove_file(&beside);
    }
    moved.map_err(fail)
}
