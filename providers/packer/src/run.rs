//! Runs Packer to its end, and passes on what it says.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use crate::files::storage;
use crate::message::Lines;
use crate::output::{Report, Said};
use crate::process::{self, TOKEN_VAR};
use crate::provider::PACKER;
use crate::work::{Work, create_locked, create_private};
use crate::{OnError, PackerConfig};

/// How often the output is looked at.
const LOOK: Duration = Duration::from_millis(40);

/// What is run, and how.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) config: &'a PackerConfig,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) operation: &'static str,
    /// Whether what it says goes to the listeners.
    pub(crate) tell: bool,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) report: Report,
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    /// It was asked to stop; how.
    pub(crate) stopped: Option<Stopped>,
    /// What could not be ended.
    left: bool,
}

impl Finished {
    /// Lets the run's folder go when it is dropped, unless something runs on: that is looked after by the next build.
    pub(crate) fn settle(&self, work: &Work) {
        if !self.left {
            work.settle();
        }
    }
}

/// Why and how a run was stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    kind: ErrorKind,
    /// It did not end within its time, so it could not clean up.
    killed: bool,
    /// What runs on.
    left: Vec<String>,
}

impl Stopped {
    /// The error that says so.
    pub(crate) fn error(&self, config: &PackerConfig, operation: &'static str) -> Error {
        let why = if self.kind == ErrorKind::Timeout { "out of time" } else { "cancelled" };
        let how = aftermath(config, self.killed);
        let mut error = Error::new(self.kind, PACKER, operation, format!("{why}; packer {how}"));
        if self.left.is_empty() {
            error = error.with("still_running", "nothing");
        } else {
            error = error.with("still_running", self.left.join(", "));
        }
        if self.kind == ErrorKind::Timeout { error.retry_later() } else { error }
    }
}

/// What became of a run that was interrupted, and of what it had started.
pub(crate) fn aftermath(config: &PackerConfig, killed: bool) -> &'static str {
    match (killed, config.on_error) {
        (true, _) => {
            "did not end when it was interrupted and had to be killed: what its builders started (containers, instances) may be left"
        }
        (false, OnError::Cleanup) => {
            "was interrupted, cleaned up after its running builds and has ended; builds that had finished before keep their \
             result, which packer does not list then"
        }
        // Packer's own choice: it holds for interrupts as for errors.
        (false, OnError::Abort | OnError::RunCleanupProvisioner) => {
            "was interrupted and has ended; as `on_error` says, what its builders started (containers, instances) is left"
        }
    }
}

/// Interrupts a run whose future is dropped. Nobody waits for it here: its folder stays, for the next build to look after it.
struct OnDrop<'a>(Option<i32>, &'a Work);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.into_iter().for_each(|group| self.1.interrupt(group));
    }
}

/// Follows a file that grows.
struct Follow {
    file: File,
    lines: Lines,
}

impl Follow {
    fn more(&mut self) -> io::Result<Vec<String>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(self.lines.feed(&bytes))
    }
}

impl Run<'_> {
    /// Runs it. A cancel or the deadline interrupts it, and is awaited. Whoever called this settles `work` when nothing of the
    /// result can be lost any more.
    pub(crate) async fn finish(&self, cx: &Context, work: &Work) -> Result<Finished> {
        cx.check(PACKER, self.operation)?;
        let own = |e| storage(self.operation, &work.dir, e);
        // Files and not pipes: if towpath dies, Packer can go on writing, and so cleans up as if nothing had happened.
        let stdout = create_locked(&work.stdout()).map_err(own)?;
        let stderr = create_private(&work.stderr()).map_err(own)?;
        work.start();
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .current_dir(&self.config.working_dir)
            .envs(environment(self.config))
            .env(TOKEN_VAR, &work.token)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(|e| {
                work.settle();
                self.not_started(e)
            })?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        let mut on_drop = OnDrop(group, work);
        let mut follow = Follow { file: File::open(work.stdout()).map_err(own)?, lines: Lines::default() };
        let mut report = Report::default();
        let mut stop: Option<(ErrorKind, Instant)> = None;
        let mut killed = false;
        let grace = Duration::from_secs(u64::from(self.config.cancel_grace_s));
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => break status.map_err(own)?,
                () = tokio::time::sleep(LOOK) => {}
            }
            self.pass(cx, &mut report, follow.more().map_err(own)?);
            match stop {
                None => {
                    let kind = if cx.is_cancelled() {
                        ErrorKind::Cancelled
                    } else if cx.deadline().is_some_and(|at| std::time::Instant::now() >= at) {
                        ErrorKind::Timeout
                    } else {
                        continue;
                    };
                    if self.tell {
                        cx.warn("packer is interrupted, and cleans up");
                    }
                    group.into_iter().for_each(|group| work.interrupt(group));
                    stop = Some((kind, Instant::now() + grace));
                }
                Some((_, until)) if !killed && Instant::now() >= until => {
                    killed = true;
                    process::kill_all(&work.token).await;
                }
                Some(_) => {}
            }
        };
        on_drop.0 = None;
        let mut rest = follow.more().map_err(own)?;
        rest.extend(follow.lines.finish());
        self.pass(cx, &mut report, rest);
        // Where somebody else killed it, its children are nobody's.
        let left = match stop.is_some() || status.code().is_none() {
            true if !status.success() => process::kill_all(&work.token).await,
            _ => Vec::new(),
        };
        let runs_on = !left.is_empty();
        // It was done before it heard: a success is one.
        let stopped = stop.filter(|_| !status.success()).map(|(kind, _)| Stopped { kind, killed, left });
        let stderr = std::fs::read(work.stderr()).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(Finished { report, status, stderr, stopped, left: runs_on })
    }

    fn pass(&self, cx: &Context, report: &mut Report, lines: Vec<String>) {
        for said in lines.iter().flat_map(|line| report.take(line)) {
            if !self.tell {
                continue;
            }
            match said {
                Said::Step(message) => cx.emit(EventKind::Progress { message, done: None, total: None }),
                Said::Line { stream, line } => cx.emit(EventKind::Output { stream: stream.to_owned(), line }),
            }
        }
    }

    fn not_started(&self, e: io::Error) -> Error {
        let there = self.config.working_dir.is_dir();
        let (kind, what) = match (there, e.kind()) {
            (false, _) => (ErrorKind::InvalidInput, "`working_dir` is no folder"),
            (true, io::ErrorKind::NotFound) => (ErrorKind::ToolMissing, "packer can't be started"),
            _ => (ErrorKind::Denied, "packer can't be started"),
        };
        Error::new(kind, PACKER, self.operation, what)
            .with("program", self.program.display())
            .with("working_dir", self.config.working_dir.display())
            .caused_by(e)
    }
}

/// What Packer's environment has beside ours.
pub(crate) fn environment(config: &PackerConfig) -> impl Iterator<Item = (&str, &str)> {
    // It would ask its maker for a newer version, and tell them which one this is.
    let own = [("CHECKPOINT_DISABLE", "1"), ("PACKER_NO_COLOR", "1")];
    own.into_iter().chain(config.env.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}
