//! Runs a script on a host, unless a guard says that nothing is to do.

mod guards;
mod ready;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use towpath_core::{Connection, Context, Error, ErrorKind, Exec, ExitStatus, Result, Tail, follow_lines, shell_quote};

pub(crate) use guards::{Guarded, Look, guards};
pub(crate) use ready::Run;

use crate::SCRIPT;

/// How a script went on a host, as journals keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// Whether it counts as a change.
    pub(crate) changed: bool,
    /// The exit status; none if it did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_status: Option<i32>,
    /// The guard that kept it from running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) guard: Option<Guarded>,
}

/// What is put around a script: a folder that only its user can read, which goes when the script is over. The script itself comes
/// through standard input, and half a script, of a connection that broke, does not run; environment and password are the connector's
/// business. So none of them is ever an argument.
///
/// It has no variables, only parameters (mark, size, name, working directory, umask, folder): any name may be one of the script's
/// environment, whose value it would change.
const WRAPPER: &str = r#"umask 077
set -- "$@" "$(mktemp -d "${TMPDIR:-/tmp}/towpath-XXXXXXXX")"
[ -n "$6" ] || { printf '%s\n' "$1 temp" >&2; exit 125; }
trap 'rm -rf -- "$6"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
printf '%s\n' "$1 dir $6"; printf '%s\n' "$1 dir $6" >&2
head -c "$2" >"$6/$3" && [ "$(wc -c <"$6/$3")" -eq "$2" ] && chmod 700 "$6/$3" || { printf '%s\n' "$1 write" >&2; exit 125; }
umask "$5"
[ -z "$4" ] || CDPATH= cd -- "$4" || { printf '%s\n' "$1 cwd" >&2; exit 125; }
"#;

impl Run {
    /// A command with the step's environment, user and time.
    fn exec(&self, script: String) -> Exec {
        let mut exec = Exec::script(script);
        exec.env = self.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        exec.r#become.clone_from(&self.to);
        exec.timeout = self.config.timeout_s.map(Duration::from_secs);
        exec.label = Some(self.title.clone());
        exec
    }

    /// Runs it, and says how it went.
    ///
    /// # Errors
    ///
    /// [`ToolFailed`](ErrorKind::ToolFailed) with place, status and last lines; those of the connection.
    pub(crate) async fn execute(&self, cx: &Context, connection: &dyn Connection) -> Result<Ran> {
        let mark = format!("{:032x}", rand::random::<u128>());
        let words = |words: &[String]| words.iter().map(|w| shell_quote(w)).collect::<Vec<_>>().join(" ");
        let script = format!(
            "set -- {mark} {} {} {} \"$(umask)\"\n{WRAPPER}{} \"$6/$3\" {} </dev/null\nexit $?",
            self.text.bytes.len(),
            shell_quote(&self.text.name),
            shell_quote(self.config.cwd.as_deref().unwrap_or_default()),
            words(&self.text.interpreter),
            words(&self.config.args),
        );
        let mut exec = self.exec(script);
        exec.stdin = Some(self.text.bytes.clone());
        let mut said = Said {
            run: self,
            cx,
            mark,
            dir: None,
            trouble: None,
            out: Tail::default(),
            err: Tail::default(),
            line: None,
        };
        let ended = follow_lines(cx, connection, &exec, SCRIPT, |from_err, line| said.see(from_err, line)).await;
        if let (Err(e), Some(dir)) = (&ended, &said.dir) {
            // What had to be killed could not remove its folder.
            if matches!(e.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) {
                self.remove(cx, connection, dir).await;
            }
        }
        let status = ended?;
        match self.judge(&status).filter(|_| said.trouble.is_none()) {
            Some((changed, code)) => Ok(Ran { changed, exit_status: Some(code), guard: None }),
            None => Err(said.failure(&status)),
        }
    }

    async fn remove(&self, cx: &Context, connection: &dyn Connection, dir: &str) {
        let cx = cx.shielded().with_timeout(Duration::from_secs(30));
        let mut exec = Exec::argv(["rm", "-rf", "--", dir]);
        exec.r#become.clone_from(&self.to);
        if let Err(e) = connection.exec(&cx, &exec).await {
            cx.warn(format!("{dir} could not be removed on {}: {e}", connection.host()));
        }
    }

    /// Whether it changed something, and its code; `None`: it failed.
    fn judge(&self, status: &ExitStatus) -> Option<(bool, i32)> {
        let ExitStatus::Code(code) = status else { return None };
        let changing = self.config.changed_when_status.as_ref();
        if changing.is_some_and(|list| list.contains(code)) {
            return Some((true, *code));
        }
        let well = match self.config.ok_statuses.as_slice() {
            [] => *code == 0,
            list => list.contains(code),
        };
        well.then_some((changing.is_none(), *code))
    }

    /// What stands for the script in errors.
    pub(crate) fn place(&self) -> String {
        self.text.file.clone().unwrap_or_else(|| "script".to_owned())
    }
}

/// What a script says while it runs.
struct Said<'a> {
    run: &'a Run,
    cx: &'a Context,
    mark: String,
    /// Its folder on the host.
    dir: Option<String>,
    /// What kept it from starting.
    trouble: Option<String>,
    out: Tail,
    err: Tail,
    /// The line of the script that its interpreter named last.
    line: Option<usize>,
}

impl Said<'_> {
    fn see(&mut self, from_err: bool, line: &str) {
        // On both streams, since neither waits for the other.
        if let Some(own) = line.strip_prefix(&self.mark) {
            match own.trim_start().split_once(' ') {
                Some(("dir", dir)) => self.dir = Some(dir.to_owned()),
                _ => self.trouble = Some(own.trim().to_owned()),
            }
            return;
        }
        let mut line = Tail::shown(self.cx, line);
        if let Some(dir) = &self.dir {
            let path = format!("{dir}/{}", self.run.text.name);
            if line.contains(&path) {
                self.line = line_after(&line, &path).or(self.line);
                line = line.replace(&path, &self.run.place());
            }
        }
        let last = if from_err { &mut self.err } else { &mut self.out };
        last.add(self.cx, from_err, line, !self.run.config.sensitive);
    }

    fn failure(self, status: &ExitStatus) -> Error {
        let message = match self.trouble.as_deref() {
            None => "a script failed",
            Some("cwd") => "the working directory can't be entered",
            Some("temp") => "the host has no `mktemp`, or no place for a temporary folder",
            Some(_) => "the script did not arrive whole, or can't be written on the host",
        };
        let mut error = Error::new(ErrorKind::ToolFailed, SCRIPT, "apply", message);
        if let (Some("cwd"), Some(dir)) = (self.trouble.as_deref(), &self.run.config.cwd) {
            error = error.with("cwd", dir);
        }
        error = match (&self.run.text.file, self.line) {
            (Some(file), Some(line)) => error.with("file", format!("{file}:{line}")),
            (Some(file), None) => error.with("file", file),
            (None, Some(line)) => error.with("script_line", line),
            (None, None) => error,
        };
        if self.trouble.is_none() {
            error = error.with("exit_status", status);
        }
        if self.run.config.sensitive {
            return error.caused_by("its output is hidden by `sensitive`");
        }
        let text = if self.err.is_empty() { self.out.text() } else { self.err.text() };
        if text.trim().is_empty() { error } else { error.caused_by(text) }
    }
}

/// The number that follows a path: `x.sh: 3: `, `x.sh: line 3: `, `File "x.py", line 3`. The path is one of a random name, so nobody
/// else's words are read.
fn line_after(text: &str, path: &str) -> Option<usize> {
    let (_, rest) = text.rsplit_once(path)?;
    let between = rest.find(|c: char| c.is_ascii_digit())?;
    let (before, digits) = (rest.get(..between)?, rest.get(between..)?);
    let known = [":", ": ", ": line ", "\", line ", " line "].contains(&before);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    known.then(|| digits.get(..end)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::line_after;

    #[test]
    fn interpreters_name_lines() {
        for text in [
            "/t/x: 3: foo: not found",
            "/t/x: line 3: foo",
            "  File \"/t/x\", line 3, in <module>",
            "/t/x:3:in `<main>'",
            "at /t/x line 3.",
        ] {
            assert_eq!(line_after(text, "/t/x"), Some(3), "{text}");
        }
        assert_eq!(line_after("/t/x: cannot open 3 files", "/t/x"), None);
        assert_eq!(line_after("elsewhere: 3: foo", "/t/x"), None);
    }
}
