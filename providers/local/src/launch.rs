use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use towpath_core::{Error, ErrorKind, Result};

use crate::process::{ProcessId, TOKEN_VAR};
use crate::{balancer, host, spawn_hooks};

/// Says which part of towpath a started process is.
const ROLE_VAR: &str = "TOWPATH_LOCAL_ROLE";
/// The part's folder.
const DIR_VAR: &str = "TOWPATH_LOCAL_DIR";
/// Marks the report line of a started part among what else a program may print.
const REPORT: &str = "towpath-local: ";

/// What the hosts and the balancer of `local` run as: this program again, or another one that calls [`init`] first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

static LAUNCHER: RwLock<Option<Launcher>> = RwLock::new(None);

impl Launcher {
    /// A program without arguments.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self { program: path.into(), args: Vec::new() }
    }

    /// A program with arguments, for example `python3 -m towpath`.
    pub fn with_args<S: Into<OsString>>(path: impl Into<PathBuf>, args: impl IntoIterator<Item = S>) -> Self {
        Self { program: path.into(), args: args.into_iter().map(Into::into).collect() }
    }

    /// This program. On Linux it is found even after its file was replaced by a new build.
    ///
    /// # Errors
    ///
    /// The operating system does not say which file this program is.
    pub fn this_program() -> io::Result<Self> {
        let own = Path::new("/proc/self/exe");
        if own.exists() { Ok(Self::program(own)) } else { std::env::current_exe().map(Self::program) }
    }

    /// Runs hosts and balancers through this launcher from now on, in the whole process.
    pub fn install(self) {
        *LAUNCHER.write().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }

    /// The installed one.
    pub(crate) fn installed(operation: &'static str) -> Result<Self> {
        if std::env::var_os(ROLE_VAR).is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "local",
                operation,
                "this program was started to be a host or a balancer, but ran its ordinary work instead: call \
                 `towpath::local::init()` at the very start of main",
            ));
        }
        LAUNCHER.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "local",
                operation,
                "local hosts and balancers are this program started again, so it must call `towpath::local::init()` at the \
                 very start of main, or name another program with `Launcher::install`",
            )
        })
    }
}

/// Makes this program fit to be started again as a local host or balancer. Call it first thing in `main`.
///
/// In a process that a pipeline runs in it only remembers that, and returns. In a process that was started as a host or a
/// balancer it does that work and never returns. It reads two environment variables and changes none. A [`Launcher`]
/// installed before stays.
pub fn init() {
    let Some(role) = std::env::var_os(ROLE_VAR) else {
        let mut launcher = LAUNCHER.write().unwrap_or_else(PoisonError::into_inner);
        if launcher.is_none() {
            *launcher = Launcher::this_program().ok();
        }
        return;
    };
    let dir = PathBuf::from(std::env::var_os(DIR_VAR).unwrap_or_default());
    let token = std::env::var(TOKEN_VAR).unwrap_or_default();
    let result = match role.to_str() {
        Some("host") => host::main(&dir, &token),
        Some("balancer") => balancer::main(&dir, &token),
        Some("host-in-namespace") => host::main_in_namespace(&dir, &token),
        _ => Err(io::Error::other("an unknown role")),
    };
    if let Err(e) = &result {
        report(&Report::Failed { reason: e.to_string() });
    }
    std::process::exit(i32::from(result.is_err()));
}

/// What a started part tells the process that started it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// It works.
    Ready(ProcessId),
    /// It gave up.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Tells the process that started this one, if it still listens.
pub(crate) fn report(report: &Report) {
    let Ok(json) = serde_json::to_string(report) else { return };
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "\n{REPORT}{json}");
    let _ = out.flush();
}

/// A part to start.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// `host`, `balancer`.
    pub(crate) role: &'a str,
    /// Its folder: its settings are in it, its log goes there.
    pub(crate) dir: &'a Path,
    /// Its token.
    pub(crate) token: &'a str,
    /// Whether it gets namespaces of its own.
    pub(crate) namespace: bool,
    /// Longest time until it is ready.
    pub(crate) limit: Duration,
}

/// Starts a part as a detached process and waits until it is ready.
pub(crate) async fn start(launcher: &Launcher, part: &Part<'_>) -> io::Result<ProcessId> {
    let mut command = command(launcher, part.role, part.dir, part.token);
    if part.namespace {
        spawn_hooks::in_own_namespace(&mut command);
    } else {
        spawn_hooks::in_own_session(&mut command);
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(part.dir.join("log"))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    let mut child = tokio::process::Command::from(command).spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let read = async {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(json) = line.strip_prefix(REPORT) {
                return serde_json::from_str::<Report>(json).map_err(io::Error::other);
            }
        }
        Err(io::Error::other(format!(
            "{} ended without becoming a {}: does its main call `towpath::local::init()` first? See {}",
            launcher.program.display(),
            part.role,
            part.dir.join("log").display()
        )))
    };
    let told = tokio::time::timeout(part.limit, read).await;
    // Not awaited: a part that stays is reaped by the runtime or by init.
    drop(child);
    match told {
        Ok(Ok(Report::Ready(id))) => Ok(id),
        Ok(Ok(Report::Failed { reason })) => Err(io::Error::other(reason)),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it was not ready in time")),
    }
}

/// The command of a part, without anything of this process's environment that could be a secret.
pub(crate) fn command(launcher: &Launcher, role: &str, dir: &Path, token: &str) -> Command {
    let mut command = Command::new(&launcher.program);
    command.args(&launcher.args).env_clear();
    for (key, value) in std::env::vars_os() {
        let keep = key.to_str().is_some_and(|k| {
            [
                "PATH",
                "HOME",
                "USER",
                "LOGNAME",
                "LANG",
                "TMPDIR",
                "TZ",
                "LD_LIBRARY_PATH",
                "VIRTUAL_ENV",
                "RUST_BACKTRACE",
            ]
            .contains(&k)
                || k.starts_with("PYTHON")
                || k.starts_with("LC_")
                || k.starts_with("DYLD_")
        });
        if keep {
            command.env(key, value);
        }
    }
    command.env(ROLE_VAR, role).env(DIR_VAR, dir).env(TOKEN_VAR, token);
    command
}
