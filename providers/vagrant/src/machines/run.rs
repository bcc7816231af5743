//! Runs vagrant: in its own process group, its output in files, interrupted and awaited on a cancel.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::Instant;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use super::VAGRANT;
use super::message::Line;
use super::survivor::{self, FOLDER_VAR};
use crate::files::private_dir;

/// How often the output is looked at.
const LOOK: Duration = Duration::from_millis(40);

/// Where and how vagrant runs.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) program: PathBuf,
    /// The folder of the Vagrantfile.
    pub(super) folder: PathBuf,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) interrupt: Duration,
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
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Interrupts a run whose future is dropped. Best effort: nobody waits for it.
struct OnDrop(Option<i32>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(process) = self.0 {
            interrupt(process);
        }
    }
}

/// Interrupts vagrant, and nothing that it runs: a `docker` that is ended in the middle leaves a container of which vagrant learns
/// nothing. It finishes the step at hand, then undoes what it did and unlocks its machines.
pub(super) fn interrupt(process: i32) {
    // Gone already is what is wanted.
    let _ = kill(Pid::from_raw(process), Signal::SIGINT);
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
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
        let mut folder = Folder { path: self.own().join(format!("run-{:016x}", rand::random::<u64>())), keep: false };
        private_dir(&self.own()).and_then(|()| private_dir(&folder.path)).map_err(own)?;
        // Files and not pipes: if towpath dies, vagrant can go on writing, and finishes what it does.
        let (log, errors) = (folder.path.join("stdout"), folder.path.join("stderr"));
        let (out, err) = (private(&log).map_err(own)?, private(&errors).map_err(own)?);
        let mut child = Command::new(&self.program)
            .args(args)
            .arg("--machine-readable")
            .current_dir(&self.folder)
            .env_remove("VAGRANT_CWD")
            .env_remove("VAGRANT_VAGRANTFILE")
            .env_remove("VAGRANT_DOTFILE_PATH")
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .env(FOLDER_VAR, &self.folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|e| not_started(operation, &self.program, e))?;
        let process = child.id().and_then(|pid| i32::try_from(pid).ok());
        let mut on_drop = OnDrop(process);
        let mut follow = Follow { file: File::open(&log).map_err(own)?, rest: Vec::new() };
        let (mut lines, mut printed) = (Vec::new(), Vec::new());
        let mut stop: Option<(ErrorKind, Instant)> = None;
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => break status.map_err(own)?,
                () = tokio::time::sleep(LOOK) => {}
            }
            follow.more(cx, tell, &mut lines, &mut printed).map_err(own)?;
            match stop {
                None => {
                    let kind = if cx.is_cancelled() {
                        ErrorKind::Cancelled
                    } else if cx.deadline().is_some_and(|at| std::time::Instant::now() >= at) {
                        ErrorKind::Timeout
                    } else {
                        continue;
                    };
                    process.into_iter().for_each(interrupt);
                    stop = Some((kind, Instant::now() + self.interrupt));
                }
                Some((kind, until)) if Instant::now() >= until => {
                    on_drop.0 = None;
                    folder.keep = true;
                    let running = format!("vagrant (process {})", process.unwrap_or_default());
                    let what = "vagrant was interrupted and did not stop in time; it is not killed, since then nobody would know its \
                                machines: wait for it, the next run does";
                    return Err(Error::new(kind, VAGRANT, operation, what).with("still_running", running));
                }
                Some(_) => {}
            }
        };
        on_drop.0 = None;
        follow.more(cx, tell, &mut lines, &mut printed).map_err(own)?;
        let stderr = String::from_utf8_lossy(&std::fs::read(&errors).unwrap_or_default()).into_owned();
        if let Some((kind, _)) = stop.filter(|_| !status.success()) {
            let why = if kind == ErrorKind::Timeout { "out of time" } else { "cancelled" };
            let what = format!("{why}; vagrant was interrupted and has ended; the next run goes on from what is there");
            let error = Error::new(kind, VAGRANT, operation, what).with("still_running", "nothing");
            return Err(if kind == ErrorKind::Timeout { error.retry_later() } else { error });
        }
        let failure = lines.iter().rev().find(|l: &&Line| l.kind == "error-exit");
        let failure = failure.map(|l| (l.field(0).to_owned(), l.field(1).to_owned()));
        Ok(Ran { status, lines, printed, stderr, failure })
    }

    /// Waits for a vagrant that outlived the process which had started it here.
    pub(super) async fn wait_for_survivor(&self, cx: &Context, operation: &'static str) -> Result<()> {
        let Some(process) = survivor::find(&self.folder) else { return Ok(()) };
        cx.warn(format!("vagrant still runs as process {process} since a crash: waiting for it"));
        let gone = async {
            while survivor::find(&self.folder).is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        match cx.guard(VAGRANT, operation, gone).await {
            Ok(()) => Ok(()),
            Err(why) => {
                interrupt(process);
                let until = Instant::now() + self.interrupt;
                while survivor::find(&self.folder).is_some() {
                    if Instant::now() >= until {
                        return Err(why.with("still_running", format!("vagrant (process {process})")));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(why)
            }
        }
    }

    /// What towpath keeps beside Vagrant's own state.
    pub(super) fn own(&self) -> PathBuf {
        self.folder.join(".vagrant").join("towpath")
    }
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

/// Follows a file that grows.
struct Follow {
    file: File,
    rest: Vec<u8>,
}

impl Follow {
    fn more(&mut self, cx: &Context, tell: bool, lines: &mut Vec<Line>, printed: &mut Vec<String>) -> io::Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line).into_owned();
            let Some(line) = Line::parse(&text) else {
                printed.push(text.trim_end().to_owned());
                continue;
            };
            if tell {
                say(cx, &line);
            }
            lines.push(line);
        }
        Ok(())
    }
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
