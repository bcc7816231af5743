//! Runs Packer to its end, and passes on what it says.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use towpath_core::local_tool::{Logs, NotStarted, Running, Waited};
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use crate::files::storage;
use crate::output::{Report, Said};
use crate::provider::PACKER;
use crate::work::Work;
use crate::{OnError, PackerConfig};

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

impl Run<'_> {
    /// Runs it. A cancel or the deadline interrupts it, and is awaited. Whoever called this settles `work` when nothing of the
    /// result can be lost any more.
    pub(crate) async fn finish(&self, cx: &Context, work: &Work) -> Result<Finished> {
        cx.check(PACKER, self.operation)?;
        let own = |e| storage(self.operation, &work.dir, e);
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.config.working_dir).envs(environment(self.config));
        work.mark().put_on(&mut command);
        // Where nobody waits for it any more, its folder stays, for the next build to look after it.
        let mut interrupt = work.interrupt(Duration::from_secs(self.config.cancel_grace_s.into())).also_on_drop();
        if self.tell {
            interrupt = interrupt.with_notice("packer is interrupted, and cleans up");
        }
        work.start();
        let mut running = Running::start(command, &Logs::of(work.stdout()), interrupt).map_err(|e| {
            work.settle();
            match e {
                NotStarted::Logs(e) => own(e),
                NotStarted::Program(e) => self.not_started(e),
            }
        })?;
        let mut report = Report::default();
        let (status, why, killed) =
            match running.follow(cx, |line| self.pass(cx, &mut report, line)).await.map_err(own)? {
                Waited::Done(status) => (status, None, false),
                Waited::Stopped(status, why) => (status, Some(why), false),
                Waited::Left(why) => {
                    work.mark().kill_all().await;
                    (running.ended(|line| self.pass(cx, &mut report, line)).await.map_err(own)?, Some(why), true)
                }
            };
        // Where somebody else killed it, its children are nobody's.
        let left = match why.is_some() || status.code().is_none() {
            true if !status.success() => work.mark().kill_all().await,
            _ => Vec::new(),
        };
        let runs_on = !left.is_empty();
        // It was done before it heard: a success is one.
        let stopped = why.filter(|_| !status.success()).map(|kind| Stopped { kind, killed, left });
        Ok(Finished { report, status, stderr: running.errors(), stopped, left: runs_on })
    }

    fn pass(&self, cx: &Context, report: &mut Report, line: &str) {
        for said in report.take(line) {
            match said {
                _ if !self.tell => {}
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
