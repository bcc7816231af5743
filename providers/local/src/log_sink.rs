//! A log sink that writes lines of JSON.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg, OFlag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Capabilities, Context, Error, ErrorKind, LogRecord, LogSink, Preflight, Result};

/// Name of the log sink in the registry and in errors.
pub(crate) const JSONL: &str = "jsonl";

/// Settings of the log sink `jsonl`: a file with one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalLogSinkConfig {
    /// The file, made with mode 0600. A missing folder is made with mode 0700; one that exists stays as it is.
    pub path: PathBuf,

    /// The size in bytes from which on a new file is begun. One batch is never divided. `67108864` (64 MiB) by default.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1))]
    pub max_bytes: u64,

    /// How many former files are kept, as `<path>.1` (the newest), `<path>.2`, ... `5` by default.
    #[serde(default = "default_keep")]
    #[schemars(range(max = 10000))]
    pub keep: u32,
}

fn default_max_bytes() -> u64 {
    64 << 20
}
fn default_keep() -> u32 {
    5
}

impl LocalLogSinkConfig {
    /// This file, everything else by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: default_max_bytes(), keep: default_keep() }
    }
}

/// Writes records as lines of JSON, on disk when [`append`](LogSink::append) returns.
///
/// One writer at a time: a second one gets [`Conflict`](ErrorKind::Conflict) until the first is closed or dropped. Clones
/// share the file. A line that a crash left torn was never accepted, and is cut off when the file is opened again.
#[derive(Debug, Clone)]
pub struct LocalLogSink {
    config: LocalLogSinkConfig,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// Opened by the first batch.
    Idle,
    Open(Writer),
    Closed,
}

#[derive(Debug)]
struct Writer {
    file: File,
    len: u64,
    _lock: Flock<File>,
}

impl LocalLogSink {
    /// A sink with this config. The file is made by the first batch.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): no file name, or `max_bytes` of 0.
    pub fn new(config: LocalLogSinkConfig) -> Result<Self> {
        let invalid = |message: &str| {
            Err(Error::new(ErrorKind::InvalidInput, JSONL, "config", message).with("path", config.path.display()))
        };
        if config.path.file_name().is_none() {
            return invalid("`path` must name a file");
        }
        if config.max_bytes == 0 {
            return invalid("`max_bytes` must be at least 1");
        }
        if config.keep > 10_000 {
            return invalid("`keep` must be at most 10000");
        }
        Ok(Self { config, state: Arc::new(Mutex::new(State::Idle)) })
    }

    /// The config.
    pub fn config(&self) -> &LocalLogSinkConfig {
        &self.config
    }

    fn write(&self, operation: &'static str, records: &[LogRecord]) -> Result<()> {
        let mut batch = Vec::new();
        for record in records {
            serde_json::to_writer(&mut batch, record).map_err(|e| {
                Error::new(ErrorKind::InvalidInput, JSONL, operation, "a record can't be written as JSON").caused_by(e)
            })?;
            batch.push(b'\n');
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Closed) {
            return Err(Error::new(ErrorKind::InvalidInput, JSONL, operation, "the sink is closed; make a new one")
                .with("path", self.config.path.display()));
        }
        if batch.is_empty() {
            return Ok(());
        }
        if matches!(*state, State::Idle) {
            *state = State::Open(open(&self.config)?);
        }
        let State::Open(writer) = &mut *state else { return Ok(()) };
        let result = writer.append(&self.config, &batch);
        if result.is_err() && (writer.file.set_len(writer.len).is_err() || writer.file.sync_data().is_err()) {
            // What the file holds is not known any more: opening it again repairs it.
            *state = State::Idle;
        }
        result
            .map_err(|e| storage(operation, &self.config.path, "the batch can't be written; none of it is accepted", e))
    }

    async fn blocking(&self, work: impl FnOnce(Self) -> Result<()> + Send + 'static) -> Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(this))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, JSONL, "write", "writing broke off").caused_by(e))?
    }
}

fn storage(operation: &'static str, path: &Path, what: &str, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, JSONL, operation, what).with("path", path.display()).caused_by(e)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn private(path: &Path) -> io::Result<File> {
    // A symbolic link could lead the log, or its truncation, into a foreign file.
    let flags = OFlag::O_NOFOLLOW.bits();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn open(config: &LocalLogSinkConfig) -> Result<Writer> {
    let path = &config.path;
    let fail = |what: &'static str| move |e: io::Error| storage("open", path, what, e);
    DirBuilder::new().recursive(true).mode(0o700).create(folder(path)).map_err(fail("its folder can't be made"))?;
    let lock = private(&beside(path, ".lock")).map_err(fail("the lock file can't be opened"))?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| {
        Error::new(ErrorKind::Conflict, JSONL, "open", "another writer has this log open")
            .with("path", path.display())
            .caused_by(e)
            .retry_later()
    })?;
    let mut file = private(path).map_err(fail("the log can't be opened"))?;
    let len = cut_torn_line(&mut file).map_err(fail("a torn last line can't be cut off"))?;
    sync_folder(path).map_err(fail("its folder can't be synced"))?;
    Ok(Writer { file, len, _lock: lock })
}

/// Cuts off what follows the last newline. Gives the length that is left.
fn cut_torn_line(file: &mut File) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut end = len;
    let mut buffer = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let part = buffer.get_mut(..(end - start) as usize).unwrap_or_default();
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|b| *b == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end != len {
        file.set_len(end)?;
        file.sync_all()?;
    }
    Ok(end)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

impl Writer {
    fn append(&mut self, config: &LocalLogSinkConfig, batch: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len.saturating_add(batch.len() as u64) > config.max_bytes {
            self.rotate(config)?;
        }
        self.file.write_all(batch)?;
        self.file.sync_data()?;
        self.len += batch.len() as u64;
        Ok(())
    }

    /// Moves the former files on, the oldest first, so that a crash in between loses none.
    fn rotate(&mut self, config: &LocalLogSinkConfig) -> io::Result<()> {
        let numbered = |n: u32| if n == 0 { config.path.clone() } else { beside(&config.path, &format!(".{n}")) };
        let gone = |e: io::Error| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) };
        if config.keep == 0 {
            fs::remove_file(&config.path).or_else(gone)?;
        }
        for n in (0..config.keep).rev() {
            fs::rename(numbered(n), numbered(n + 1)).or_else(gone)?;
        }
        self.file = private(&config.path)?;
        self.len = 0;
        sync_folder(&config.path)
    }
}

#[async_trait]
impl LogSink for LocalLogSink {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["append", "flush", "close"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        cx.check(JSONL, "preflight")?;
        let path = &self.config.path;
        let there = folder(path).ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."));
        let meta = fs::metadata(there).map_err(|e| storage("preflight", there, "the folder can't be looked at", e))?;
        nix::unistd::access(there, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
            .map_err(|e| storage("preflight", there, "this user can't write into the log's folder", e.into()))?;
        let mut warnings = Vec::new();
        if there == folder(path) && meta.mode() & 0o022 != 0 {
            warnings.push(format!(
                "{} can be written by other users; a folder of mode 0700 keeps them out",
                there.display()
            ));
        }
        Ok(Preflight { ok: vec![format!("log file: {}", path.display())], warnings })
    }

    async fn append(&self, cx: &Context, records: &[LogRecord]) -> Result<()> {
        cx.check(JSONL, "append")?;
        let records = records.to_vec();
        self.blocking(move |this| this.write("append", &records)).await
    }

    async fn flush(&self, cx: &Context) -> Result<()> {
        // An accepted batch is on disk already.
        cx.check(JSONL, "flush")
    }

    async fn close(&self, _cx: &Context) -> Result<()> {
        self.blocking(|this| {
            *this.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Closed;
            Ok(())
        })
        .await
    }
}
