//! Runs the tool, and reads what it says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use towpath_core::local_tool::{self, Interrupt, Logs, NotStarted, Reach, Running, Waited};
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
    /// How long it may take to end after an interrupt.
    pub(crate) grace: Duration,
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) seen: Seen,
    pub(crate) stderr: String,
}

impl Site {
    fn command(&self, argv: &[OsString]) -> Command {
        let mut command = Command::new(&self.tool.program);
        let env = self.env.iter().chain(&self.secret_env).map(|(k, v)| (k, v));
        command.args(argv).current_dir(&self.module).envs(env);
        command
    }

    /// Runs a command that only reads, and gives its standard output if it succeeded.
    pub(crate) async fn read(&self, cx: &Context, operation: &'static str, argv: &[OsString]) -> Result<Vec<u8>> {
        let out = local_tool::ask(cx, TERRAFORM, operation, &mut self.command(argv)).await?;
        let out = out.map_err(|e| self.not_started(operation, e))?;
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

    /// How the command that writes this log is asked to stop. It is never killed: then a half-made resource would be in no state. Its helpers
    /// are its own business; and where nobody waits for it, it goes on, and is found again.
    pub(crate) fn interrupt(&self, log: &Path) -> Interrupt {
        Interrupt::new(Reach::Tool, self.grace, log.with_extension("interrupted"))
    }

    /// Runs a command that prints events.
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
        let not_kept = |e| {
            Error::new(ErrorKind::Storage, TERRAFORM, operation, "what the tool prints can't be kept")
                .with("file", log.display())
                .caused_by(e)
        };
        let started = Running::start(self.command(argv), &Logs::of(log), self.interrupt(log));
        let mut running = started.map_err(|e| match e {
            NotStarted::Logs(e) => not_kept(e),
            NotStarted::Program(e) => self.not_started(operation, e),
        })?;
        let mut seen = Seen::default();
        let take = |line: &str| seen.take(cx, &self.stack, line, quiet);
        match running.follow(cx, take).await.map_err(not_kept)? {
            Waited::Left(why) => Err(self.still_runs(operation, why, running.pid())),
            Waited::Stopped(status, why) if !status.success() => Err(self.interrupted(operation, why, &seen)),
            Waited::Done(status) | Waited::Stopped(status, _) => {
                let stderr = cx.masker().mask(&running.errors()).into_owned();
                Ok(Ran { status, seen, stderr })
            }
        }
    }

    /// It was interrupted, and did not end.
    pub(crate) fn still_runs(&self, operation: &'static str, why: ErrorKind, pid: u32) -> Error {
        let message = format!(
            "{} was interrupted and still runs as process {pid} after {} s: wait for it, its state is not saved yet",
            self.tool.product,
            self.grace.as_secs()
        );
        Error::new(why, TERRAFORM, operation, message).with("module", self.module.display())
    }

    /// It was interrupted, and has ended.
    pub(crate) fn interrupted(&self, operation: &'static str, why: ErrorKind, seen: &Seen) -> Error {
        let product = self.tool.product;
        // What it says of its state is the tool's business: that it could not save it is in the file it leaves.
        let message = match self.unsaved_state() {
            Some(_) => format!("{product} was interrupted and could not save its state"),
            None => format!("{product} was interrupted and has ended: the next run continues from its state"),
        };
        let mut error = Error::new(why, TERRAFORM, operation, message).with("module", self.module.display());
        if let Some(unsaved) = self.unsaved_state() {
            error = error.with("unsaved_state", unsaved);
        }
        if !seen.running.is_empty() {
            let resources: Vec<&str> = seen.running.keys().map(String::as_str).collect();
            error = error.with("unfinished", resources.join(" "));
        }
        if why == ErrorKind::Timeout { error.retry_later() } else { error }
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

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn frames_and_colours_are_left_out() {
        let said = "\u{1b}[31m╷\u{1b}[0m\n\u{1b}[31m│\u{1b}[0m \u{1b}[1mError: \u{1b}[0mno state\n╵\n";
        assert_eq!(plain(said), "Error: no state");
    }
}
