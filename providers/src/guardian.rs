//! The guardian: a child process that makes safe again what its owner suspended, when the owner dies.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use towpath_core::pipeline::Engine;
use towpath_core::{Error, ErrorKind, Lease, Result, Timestamp};

/// What a guardian is told, in its environment.
const ROLE_VAR: &str = "TOWPATH_GUARDIAN";
/// How often it looks for leases that ran out though their owner lives: one that hangs, or was stopped.
const TICK: Duration = Duration::from_secs(2);
/// How often it tries again what could not be undone.
const AGAIN: Duration = Duration::from_secs(3);
/// After this time with nothing but failures it leaves the rest to `towpath sweep`.
const PATIENCE: Duration = Duration::from_secs(3600);

static PROGRAM: RwLock<Option<(PathBuf, Vec<OsString>)>> = RwLock::new(None);
static FIT: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Serialize, Deserialize)]
struct Role {
    store: String,
    log: Option<PathBuf>,
}

/// A child process that holds a pipe to this one. When this one dies, however it dies, the child undoes what dead processes left
/// in the store: drained backends serve again, silences end. It also does so for leases that ran out while their owner hangs.
///
/// Dropping it lets the child go: it looks once more, and ends.
#[derive(Debug)]
pub struct Guardian {
    /// Until it is dropped.
    child: Option<Child>,
    pid: u32,
}

impl Guardian {
    /// Starts a guardian over a store, this program once more.
    ///
    /// It knows the providers that are compiled in, not what this program has added to its registry. It inherits working
    /// directory and environment, where secrets may come from. What it undoes, and what it could not, it writes to `log`,
    /// readable for its owner only.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the program does not call [`init`](crate::init) at the start of `main`, or the
    /// store is one that ends with this process. [`ToolFailed`](ErrorKind::ToolFailed): it can't be started.
    pub fn start(store: &str, log: Option<&Path>) -> Result<Self> {
        let bad = |why: &str| Error::new(ErrorKind::InvalidInput, "towpath", "guardian", why);
        if !FIT.load(Ordering::Relaxed) {
            return Err(bad(
                "a guardian is this program started again, so it must call `towpath::init()` at the very start of main",
            ));
        }
        if store.starts_with("memory:") {
            return Err(
                bad("a store in memory ends with this process: there would be nothing to guard").with("store", store)
            );
        }
        let installed = PROGRAM.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (program, args) = match installed {
            Some(program) => program,
            None => (this_program().map_err(|e| failed("this program's file is not known", e))?, Vec::new()),
        };
        let role = Role { store: store.to_owned(), log: log.map(Path::to_owned) };
        let mut command = Command::new(program);
        command
            .args(args)
            .env(ROLE_VAR, serde_json::to_string(&role).unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // A Ctrl-C in the terminal is for the owner; the guardian is there for what comes after.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|e| failed("it can't be started", e))?;
        Ok(Self { pid: child.id(), child: Some(child) })
    }

    /// Guardians are this program with these arguments from now on: `python3 -m towpath`.
    pub fn program(program: impl Into<PathBuf>, args: impl IntoIterator<Item = OsString>) {
        *PROGRAM.write().unwrap_or_else(PoisonError::into_inner) = Some((program.into(), args.into_iter().collect()));
        FIT.store(true, Ordering::Relaxed);
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The pipe closes; a child that finds nothing to do ends at once. Not waited for here: it may have something to do.
        drop(child.stdin.take());
        std::thread::spawn(move || child.wait());
    }
}

fn failed(what: &str, e: io::Error) -> Error {
    Error::new(ErrorKind::ToolFailed, "towpath", "guardian", what).caused_by(e)
}

/// On Linux it is found even after its file was replaced by a new build.
fn this_program() -> io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Ok(own.to_owned()) } else { std::env::current_exe() }
}

/// Takes over where this process was started as a guardian, and does not come back then.
pub(crate) fn init() {
    FIT.store(true, Ordering::Relaxed);
    let Some(role) = std::env::var_os(ROLE_VAR) else { return };
    let role = role.to_str().and_then(|text| serde_json::from_str::<Role>(text).ok());
    let done = role.is_some_and(|role| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .is_ok_and(|runtime| runtime.block_on(guard(&role)))
    });
    std::process::exit(i32::from(!done));
}

/// Gives `false` if something is left that could not be undone.
async fn guard(role: &Role) -> bool {
    let orphaned = Arc::new(tokio::sync::Notify::new());
    let heard = Arc::clone(&orphaned);
    // A thread of its own: reading standard input can't be cancelled, and the process ends by `exit`.
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(io::stdin().read(&mut rest), Ok(n) if n > 0) {}
        heard.notify_one();
    });
    let (mut alone, mut since) = (false, Instant::now());
    loop {
        let wait = if alone { AGAIN } else { TICK };
        tokio::select! {
            () = orphaned.notified() => (alone, since) = (true, Instant::now()),
            () = tokio::time::sleep(wait) => {}
        }
        match sweep(role).await {
            Ok(0) if alone => return true,
            Ok(_) => {}
            Err(e) => note(role, &format!("the store can't be read: {}", e.report())),
        }
        if alone && since.elapsed() > PATIENCE {
            note(role, "gave up; `towpath sweep` tries again");
            return false;
        }
    }
}

/// Undoes what can be undone. Gives how many leases of dead owners are left.
async fn sweep(role: &Role) -> Result<usize> {
    let store = crate::open_store(&role.store).await?;
    let left = |lease: &Lease| {
        lease.undo.is_some()
            && (lease.expires_at <= Timestamp::now() || lease.owner.process.as_ref().is_some_and(|p| p.is_dead()))
    };
    if !store.leases().await?.iter().any(left) {
        return Ok(0);
    }
    let engine = Engine::new(crate::registry().into(), store);
    for swept in engine.sweep().await? {
        let key = &swept.lease.key;
        match &swept.outcome {
            Ok(()) if swept.lease.undo.is_some() => note(role, &format!("undone: {key}")),
            Ok(()) => {}
            Err(e) => note(role, &format!("{key} could not be undone, tried again: {e}")),
        }
    }
    Ok(engine.store().leases().await?.iter().filter(|l| left(l)).count())
}

/// Writes a line to the log. Nobody listens any more where that fails.
fn note(role: &Role, line: &str) {
    let Some(path) = &role.log else { return };
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let seconds = Timestamp::now().0 / 1000;
    let _ = options.open(path).and_then(|mut file| writeln!(file, "{seconds} {line}"));
}
