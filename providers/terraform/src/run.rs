//! Runs the tool: in its own process group, its output in a file, interrupted and awaited on a cancel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::process::Command;
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::provider::TERRAFORM;
use crate::run_folder::RunFolder;
use crate::stream::Seen;
use crate::tool::Tool;

/// What every command of one provider gets.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) tool: Tool,
    pub(crate) module: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) secret_env: Vec<(OsString, OsString)>,
    /// What plans and events call this configuration.
    pub(crate) stack: String,
    pub(crate) interrupt: Duration,
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) seen: Seen,
    pub(crate) stderr: String,
}

const LOOK_AGAIN: Duration = Duration::from_millis(15);

impl Site {
    fn command(&self, argv: &[OsString]) -> Command {
        let mut command = Command::new(&self.tool.program);
        let env = self.env.iter().chain(&self.secret_env).map(|(k, v)| (k, v));
        command.args(argv).current_dir(&self.module).envs(env).stdin(Stdio::null());
        // A Ctrl-C at the terminal goes to the whole foreground group: the tool must see it once, from here.
        command.process_group(0);
        command
    }

    /// Runs a command that only reads, and gives its standard output if it succeeded.
    pub(crate) async fn read(&self, cx: &Context, operation: &'static str, argv: &[OsString]) -> Result<Vec<u8>> {
        let mut command = self.command(argv);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let out = cx
            .guard(TERRAFORM, operation, async { command.output().await.map_err(|e| self.not_started(operation, e)) })
            .await?;
        if out.status.success() {
            return Ok(out.stdout);
        }
        // A validation that finds errors answers on standard output too.
        if !out.stdout.is_empty() && argv.first().is_some_and(|verb| verb == "validate") {
            return Ok(out.stdout);
        }
        Err(Error::new(ErrorKind::ToolFailed, TERRAFORM, operation, "the command failed")
            .with("module", self.module.display())
            .with("command", shown(argv))
            .with("exit_status", out.status)
            .caused_by(plain(&cx.masker().mask(&String::from_utf8_lossy(&out.stderr)))))
    }

    /// Runs a command that prints events. Its output goes into a file of `folder`, not through a pipe: a pipe to a process that was
    /// killed would end the tool too, in the middle of its work.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](ErrorKind::Cancelled), [`Timeout`](ErrorKind::Timeout): it was interrupted, and has ended unless the message says otherwise.
    pub(crate) async fn follow(
        &self,
        cx: &Context,
        operation: &'static str,
        argv: &[OsString],
        log: &Path,
        quiet: bool,
    ) -> Result<Ran> {
        cx.check(TERRAFORM, operation)?;
        let said = log.with_extension("err");
        let not_kept = |e| {
            Error::new(ErrorKind::Storage, TERRAFORM, operation, "what the tool prints can't be kept")
                .with("file", log.display())
                .caused_by(e)
        };
        let out = private_file(log).map_err(not_kept)?;
        let err = private_file(&said).map_err(not_kept)?;
        // Before the tool starts: from then on nothing of this process may fail.
        let mut tail = Tail::open(log).await.map_err(not_kept)?;
        let mut child = self
            .command(argv)
            .stdout(Stdio::from(out))
            .stderr(Stdio::from(err))
            .spawn()
            .map_err(|e| self.not_started(operation, e))?;
        let pid = child.id();
        let mut seen = Seen::default();
        let ended = {
            let follow = async {
                loop {
                    let ended = tokio::time::timeout(LOOK_AGAIN, child.wait()).await;
                    tail.lines(|line| seen.take(cx, &self.stack, line, quiet)).await;
                    if let Ok(status) = ended {
                        return status;
                    }
                }
            };
            self.until_ended(cx, operation, pid, follow).await?
        };
        tail.lines(|line| seen.take(cx, &self.stack, line, quiet)).await;
        let stderr = std::fs::read(said).unwrap_or_default();
        let stderr = cx.masker().mask(&String::from_utf8_lossy(&stderr)).into_owned();
        let status = ended.0.map_err(|e| self.not_started(operation, e))?;
        match ended.1 {
            None => Ok(Ran { status, seen, stderr }),
            // It was done before the interrupt reached it.
            Some(_) if status.success() => Ok(Ran { status, seen, stderr }),
            Some(why) => Err(self.interrupted(operation, why, &seen)),
        }
    }

    /// Waits for `work`; on a cancel or at the deadline interrupts the tool once and goes on waiting. Never kills it: then a half-made
    /// resource would be in no state.
    pub(crate) async fn until_ended<T>(
        &self,
        cx: &Context,
        operation: &'static str,
        pid: Option<u32>,
        work: impl Future<Output = T>,
    ) -> Result<(T, Option<Error>)> {
        let mut work = std::pin::pin!(work);
        let stop = cx.guard::<()>(TERRAFORM, operation, std::future::pending());
        let why = tokio::select! {
            biased;
            done = &mut work => return Ok((done, None)),
            stop = stop => stop.err(),
        };
        if let Some(pid) = pid.and_then(|p| i32::try_from(p).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        match tokio::time::timeout(self.interrupt, &mut work).await {
            Ok(done) => Ok((done, why)),
            Err(_) => {
                let kind = why.as_ref().map_or(ErrorKind::Cancelled, Error::kind);
                Err(Error::new(
                    kind,
                    TERRAFORM,
                    operation,
                    format!(
                        "{} was interrupted and still runs as process {} after {} s: wait for it, its state is not saved yet",
                        self.tool.product,
                        pid.unwrap_or_default(),
                        self.interrupt.as_secs()
                    ),
                )
                .with("module", self.module.display()))
            }
        }
    }

    pub(crate) fn interrupted(&self, operation: &'static str, why: Error, seen: &Seen) -> Error {
        let product = self.tool.product;
        // What it says of its state is the tool's business: that it could not save it is in the file it leaves.
        let message = match self.unsaved_state() {
            Some(_) => format!("{product} was interrupted and could not save its state"),
            None => format!("{product} was interrupted and has ended: the next run continues from its state"),
        };
        let mut error = Error::new(why.kind(), TERRAFORM, operation, message).with("module", self.module.display());
        if let Some(unsaved) = self.unsaved_state() {
            error = error.with("unsaved_state", unsaved);
        }
        if !seen.running.is_empty() {
            let resources: Vec<&str> = seen.running.keys().map(String::as_str).collect();
            error = error.with("unfinished", resources.join(" "));
        }
        if why.kind() == ErrorKind::Timeout { error.retry_later() } else { error }
    }

    /// The failure of a command that ran to its end.
    pub(crate) fn failed(&self, operation: &'static str, ran: Ran, untouched: bool) -> Error {
        if ran.seen.diagnostics.is_empty() {
            let said = format!("{}{}", ran.seen.other, ran.stderr);
            return Error::new(
                ErrorKind::ToolFailed,
                TERRAFORM,
                operation,
                "the command failed and gave no diagnostic",
            )
            .with("module", self.module.display())
            .with("exit_status", ran.status)
            .caused_by(plain(&said));
        }
        crate::Diagnostics(ran.seen.diagnostics).into_error(operation, &self.module, untouched)
    }

    /// The only copy of what exists, where the tool could not save it, and what to do with it.
    pub(crate) fn unsaved_state(&self) -> Option<String> {
        let file = self.module.join("errored.tfstate");
        file.exists().then(|| {
            format!(
                "{}: run `{} state push errored.tfstate` in the module, and remove the file, before anything else",
                file.display(),
                self.tool.product
            )
        })
    }

    fn not_started(&self, operation: &'static str, e: std::io::Error) -> Error {
        if !self.module.is_dir() {
            return Error::new(ErrorKind::NotFound, TERRAFORM, operation, "the module's folder does not exist")
                .with("module", self.module.display());
        }
        Error::new(ErrorKind::ToolFailed, TERRAFORM, operation, "the program can't be run")
            .with("program", self.tool.program.display())
            .caused_by(e)
    }

    pub(crate) fn folder(&self, operation: &'static str) -> Result<RunFolder> {
        if !self.module.is_dir() {
            return Err(self.not_started(operation, std::io::ErrorKind::NotFound.into()));
        }
        RunFolder::new(&self.data_dir, operation)
    }
}

fn shown(argv: &[OsString]) -> String {
    argv.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Without colours and frames: some commands know no JSON.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        rest = escape.find('m').and_then(|end| escape.get(end + 1..)).unwrap_or_default();
    }
    out.push_str(rest);
    let lines: Vec<&str> =
        out.lines().map(|l| l.trim_start_matches(['╷', '│', '╵']).trim()).filter(|l| !l.is_empty()).collect();
    lines.join("\n")
}

fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Reads the lines of a file that somebody writes.
pub(crate) struct Tail {
    file: tokio::fs::File,
    partial: Vec<u8>,
}

impl Tail {
    pub(crate) async fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = tokio::fs::File::open(path).await?;
        file.rewind().await?;
        Ok(Self { file, partial: Vec::new() })
    }

    /// Hands over every whole line that is there by now.
    pub(crate) async fn lines(&mut self, mut each: impl FnMut(&str)) {
        let mut new = Vec::new();
        if self.file.read_to_end(&mut new).await.is_err() || new.is_empty() {
            return;
        }
        let Some(end) = new.iter().rposition(|b| *b == b'\n') else {
            self.partial.append(&mut new);
            return;
        };
        let rest = new.split_off(end + 1);
        let mut whole = std::mem::replace(&mut self.partial, rest);
        whole.append(&mut new);
        String::from_utf8_lossy(&whole).lines().for_each(|line| each(line.trim_end()));
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn frames_and_colours_are_left_out() {
        let said = "\u{1b}[31m╷\u{1b}[0m\n\u{1b}[31m│\u{1b}[0m \u{1b}[1mError: \u{1b}[0mno state\n╵\n";
        assert_eq!(plain(said), "Error: no state");
    }
}
