//! Runs vagrant, and reads what it says.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use towpath_core::local_tool::{Interrupt, Logs, Mark, NotStarted, Reach, Running, Waited, is_written, marked};
use towpath_core::{Context, Error, ErrorKind, EventKind, LocalProcess, Result};

use super::VAGRANT;
use super::message::Line;
use crate::files::{Held, abandoned, new_held, private_dir};

/// Environment variable of vagrant and all that it starts: the folder of the run.
const RUN_VAR: &str = "TOWPATH_VAGRANT_RUN";

/// Starts the name of a run's folder.
const RUN: &str = "run-";

/// Where and how vagrant runs.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) program: PathBuf,
    /// The folder of the Vagrantfile.
    pub(super) folder: PathBuf,
    pub(super) env: Vec<(OsString, OsString)>,
    /// How long it may take to end after an interrupt.
    pub(super) grace: Duration,
    /// Machines that have no SSH server, as their spec says: Vagrant need not be asked about them.
    pub(super) unreachable: Vec<String>,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) lines: Vec<Line>,
    /// What was printed beside that: by a command in a machine.
    pub(super) printed: Vec<String>,
    pub(super) stderr: String,
    /// Class and text of what it ended with.
    pub(super) failure: Option<(String, String)>,
}

impl Ran {
    /// Says whether it ended with an error of this class.
    pub(super) fn failed_with(&self, class: &str) -> bool {
        self.failure.as_ref().is_some_and(|(c, _)| c.rsplit("::").next() == Some(class))
    }
}

/// Files of one run; removed with it, unless vagrant still writes there.
struct Folder {
    path: PathBuf,
    _held: Held,
}

impl Folder {
    fn stdout(&self) -> PathBuf {
        self.path.join("stdout")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !is_written(&self.stdout()) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Site {
    /// Runs `vagrant <args> --machine-readable` to its end; what it says goes to the listeners if `tell`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](ErrorKind::Cancelled), [`Timeout`](ErrorKind::Timeout): it was interrupted, and has ended unless the message says
    /// otherwise. A command that fails is none: look at [`Ran::status`].
    pub(super) async fn run(&self, cx: &Context, operation: &'static str, args: &[&str], tell: bool) -> Result<Ran> {
        cx.check(VAGRANT, operation)?;
        let own = |e| storage(operation, &self.folder, e);
        private_dir(&self.own()).map_err(own)?;
        // What killed processes have left; each goes when it is dropped.
        for (path, held) in abandoned(&self.own(), RUN) {
            drop(Folder { path, _held: held });
        }
        let (path, held) = new_held(&self.own(), RUN).map_err(own)?;
        let folder = Folder { path, _held: held };
        let mut command = Command::new(&self.program);
        command.args(args).arg("--machine-readable").current_dir(&self.folder);
        for other in ["VAGRANT_CWD", "VAGRANT_VAGRANTFILE", "VAGRANT_DOTFILE_PATH"] {
            command.env_remove(other);
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        Mark::new(RUN_VAR, &folder.path).put_on(&mut command);
        let interrupt = self.interrupt(&folder.path).also_on_drop();
        let started = Running::start(command, &Logs::of(folder.stdout()), interrupt);
        let mut running = started.map_err(|e| match e {
            NotStarted::Logs(e) => own(e),
            NotStarted::Program(e) => not_started(operation, &self.program, e),
        })?;
        let (mut lines, mut printed) = (Vec::new(), Vec::new());
        let take = |text: &str| match Line::parse(text) {
            Some(line) => {
                if tell {
                    say(cx, &line);
                }
                lines.push(line);
            }
            None => printed.push(text.trim_end().to_owned()),
        };
        let status = match running.follow(cx, take).await.map_err(own)? {
            Waited::Left(why) => return Err(still_runs(operation, why, running.pid())),
            Waited::Stopped(status, why) if !status.success() => return Err(stopped(operation, why)),
            Waited::Done(status) | Waited::Stopped(status, _) => status,
        };
        let stderr = running.errors();
        let failure = lines.iter().rev().find(|l: &&Line| l.kind == "error-exit");
        let failure = failure.map(|l| (l.field(0).to_owned(), l.field(1).to_owned()));
        Ok(Ran { status, lines, printed, stderr, failure })
    }

    /// How the run in this folder is asked to stop: vagrant, and nothing that it runs, since a `docker` that is ended in the middle leaves a container of
    /// which vagrant learns nothing. It finishes the step at hand, then undoes what it did and unlocks its machines. It is never killed.
    fn interrupt(&self, run: &Path) -> Interrupt {
        Interrupt::new(Reach::Tool, self.grace, run.join("interrupted"))
    }

    /// A vagrant at work here that outlived the process which had started it, and the folder of its run.
    fn survivor(&self) -> Option<(LocalProcess, PathBuf)> {
        let mut all = marked(RUN_VAR).into_iter().map(|(process, run)| (process, PathBuf::from(run)));
        // Services that it started may outlive it on purpose; vagrant itself leads the group.
        all.find(|(process, run)| process.leads() && run.parent() == Some(&self.own()))
    }

    /// Waits for a vagrant that outlived the process which had started it here.
    pub(super) async fn wait_for_survivor(&self, cx: &Context, operation: &'static str) -> Result<()> {
        while let Some((tool, run)) = self.survivor() {
            let pid = tool.pid();
            cx.warn(format!("vagrant still runs as process {pid} since a crash: waiting for it"));
            match self.interrupt(&run).wait_for_survivor(cx, tool, || {}).await {
                Waited::Done(()) => {}
                Waited::Stopped((), why) => return Err(stopped(operation, why)),
                Waited::Left(why) => return Err(still_runs(operation, why, pid)),
            }
        }
        Ok(())
    }

    /// What towpath keeps beside Vagrant's own state.
    pub(super) fn own(&self) -> PathBuf {
        self.folder.join(".vagrant").join("towpath")
    }
}

/// It was interrupted, and has ended.
fn stopped(operation: &'static str, why: ErrorKind) -> Error {
    let word = if why == ErrorKind::Timeout { "out of time" } else { "cancelled" };
    let what = format!("{word}; vagrant was interrupted and has ended; the next run goes on from what is there");
    let error = Error::new(why, VAGRANT, operation, what).with("still_running", "nothing");
    if why == ErrorKind::Timeout { error.retry_later() } else { error }
}

/// It was interrupted, and did not end.
fn still_runs(operation: &'static str, why: ErrorKind, pid: u32) -> Error {
    let what = "vagrant was interrupted and did not stop in time; it is not killed, since then nobody would know its machines: wait for it, \
                the next run does";
    Error::new(why, VAGRANT, operation, what).with("still_running", format!("vagrant (process {pid})"))
}

pub(super) fn not_started(operation: &'static str, program: &Path, e: io::Error) -> Error {
    let kind = if e.kind() == io::ErrorKind::NotFound { ErrorKind::ToolMissing } else { ErrorKind::Denied };
    Error::new(kind, VAGRANT, operation, "vagrant can't be started").with("program", program.display()).caused_by(e)
}

/// This provider's own files can't be written or read.
pub(super) fn storage(operation: &'static str, path: &Path, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, VAGRANT, operation, "the provider's own files can't be written or read")
        .with("path", path.display())
        .caused_by(e)
}

/// Passes on what it says.
fn say(cx: &Context, line: &Line) {
    let cx = if line.target.is_empty() { cx.clone() } else { cx.for_host(&line.target) };
    match line.kind.as_str() {
        "action" => {
            let message = format!("{} {}: {}", line.target, line.field(0), line.field(1));
            cx.emit(EventKind::Progress { message, done: None, total: None });
        }
        "ui" if line.field(0) == "warn" => cx.warn(line.field(1)),
        "ui" => {
            let stream = if line.field(0) == "error" { "stderr" } else { "stdout" };
            for text in line.field(1).lines().filter(|l| !l.trim().is_empty()) {
                cx.emit(EventKind::Output { stream: stream.to_owned(), line: text.to_owned() });
            }
        }
        _ => {}
    }
}
