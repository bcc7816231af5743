//! Commands as subprocesses, each in a process group of its own.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use towpath_core::{
    Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Process, ProcessControl, Program, RemoteGroup, Result,
};

use super::{CONNECTOR, group};

/// How long output may still come after a command's end while a background child holds its streams.
const LINGER: Duration = Duration::from_millis(200);

fn command(exec: &Exec) -> Command {
    let mut command = match &exec.program {
        Program::Argv(argv) => {
            let mut command = Command::new(argv.first().map(String::as_str).unwrap_or_default());
            command.args(argv.iter().skip(1));
            command
        }
        Program::Script(script) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script);
            command
        }
    };
    command.envs(exec.env.iter().map(|(k, v)| (k, v))).process_group(0);
    let home = std::env::var("HOME").ok().filter(|h| std::path::Path::new(h).is_dir());
    command.current_dir(exec.cwd.clone().or(home).unwrap_or_else(|| "/".into()));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn failed(operation: &'static str, host: &str, exec: &Exec, e: io::Error) -> Error {
    Error::new(ErrorKind::ToolFailed, CONNECTOR, operation, "the command can't be run")
        .with("host", host)
        .with("command", exec.shown())
        .caused_by(e)
}

fn status(status: std::process::ExitStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |s| s.as_str().to_owned());
            ExitStatus::Signal(name.trim_start_matches("SIG").to_owned())
        }
        (None, None) => ExitStatus::Code(255),
    }
}

/// Reads until the end or the limit. Gives `false` at the limit.
async fn collect(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<Vec<u8>>>, limit: usize) -> io::Result<bool> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(true);
        }
        let mut all = into.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if all.len() > limit {
            return Ok(false);
        }
    }
}

enum End {
    Exit(io::Result<std::process::ExitStatus>),
    TooMuch,
    Stopped(Error),
}

pub(super) async fn exec(cx: &Context, host: &str, exec: &Exec) -> Result<ExecOutput> {
    cx.check(CONNECTOR, "exec")?;
    let mut command = command(exec);
    command.stdin(if exec.stdin.is_some() { Stdio::piped() } else { Stdio::null() }).kill_on_drop(true);
    let mut child = match command.spawn() {
        Err(e)
            if e.kind() == io::ErrorKind::NotFound
                && exec.cwd.as_ref().is_none_or(|d| std::path::Path::new(d).is_dir()) =>
        {
            // As a shell says it.
            let stderr = Bytes::from(format!("{}: not found\n", exec.shown()));
            return Ok(ExecOutput { status: ExitStatus::Code(127), stdout: Bytes::new(), stderr });
        }
        other => other.map_err(|e| failed("exec", host, exec, e))?,
    };
    let pid = child.id().unwrap_or_default();
    let (out, err) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<Mutex<Vec<u8>>>::default());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let (Some(mut stdin), Some(bytes)) = (stdin, &exec.stdin) {
            // A command that does not read all of it is its own business.
            let _ = stdin.write_all(bytes).await;
        }
    };
    let read = async {
        let read_out = async {
            match stdout {
                Some(s) => collect(s, Arc::clone(&out), exec.limit_bytes).await,
                None => Ok(true),
            }
        };
        let read_err = async {
            match stderr {
                Some(s) => collect(s, Arc::clone(&err), exec.limit_bytes).await,
                None => Ok(true),
            }
        };
        tokio::pin!(read_out, read_err);
        // Whichever is over its limit first ends it, while the other may be silent for long.
        tokio::select! {
            first = &mut read_out => Ok::<bool, io::Error>(first? && read_err.await?),
            first = &mut read_err => Ok(first? && read_out.await?),
        }
    };
    let limited = match exec.timeout {
        Some(limit) => cx.with_timeout(limit),
        None => cx.clone(),
    };
    let end = {
        tokio::pin!(read, feed);
        let work = async {
            let mut fed = false;
            let mut whole = false;
            let exit = loop {
                tokio::select! {
                    exit = child.wait() => break exit,
                    () = &mut feed, if !fed => fed = true,
                    more = &mut read, if !whole => match more {
                        Ok(false) => return Ok(End::TooMuch),
                        _ => whole = true,
                    },
                }
            };
            if !whole && matches!(tokio::time::timeout(LINGER, &mut read).await, Ok(Ok(false))) {
                return Ok(End::TooMuch);
            }
            Ok(End::Exit(exit))
        };
        limited.guard(CONNECTOR, "exec", work).await.unwrap_or_else(End::Stopped)
    };
    let kind = match end {
        End::Exit(exit) => {
            let take = |m: &Mutex<Vec<u8>>| {
                Bytes::from(std::mem::take(&mut *m.lock().unwrap_or_else(PoisonError::into_inner)))
            };
            let exit = exit.map_err(|e| failed("exec", host, exec, e))?;
            return Ok(ExecOutput { status: status(exit), stdout: take(&out), stderr: take(&err) });
        }
        End::TooMuch => (ErrorKind::Protocol, format!("the command gave more than {} bytes", exec.limit_bytes)),
        End::Stopped(e) if e.kind() == ErrorKind::Cancelled => (ErrorKind::Cancelled, "cancelled".to_owned()),
        End::Stopped(e) => (e.kind(), "the command took too long".to_owned()),
    };
    let ended = group::end(pid).await;
    let _ = child.wait().await;
    let left = match &ended {
        Ok(_) => "its process group was ended".to_owned(),
        Err(e) => format!("it may still run: {e}"),
    };
    Err(Error::new(kind.0, CONNECTOR, "exec", format!("{}; {left}", kind.1))
        .with("host", host)
        .with("command", exec.shown()))
}

struct Control {
    child: Child,
    group: Option<RemoteGroup>,
}

#[async_trait]
impl ProcessControl for Control {
    fn group(&self) -> Option<RemoteGroup> {
        self.group.clone()
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        let ended = self.child.wait().await;
        ended.map(status).map_err(|e| {
            Error::new(ErrorKind::Unreachable, CONNECTOR, "wait", "the command's end can't be seen").caused_by(e)
        })
    }

    async fn end(&mut self) -> Result<()> {
        if let Some(group) = &self.group {
            group::end(group.pgid).await.map_err(|e| {
                Error::new(ErrorKind::ToolFailed, CONNECTOR, "end", "the command can't be ended").caused_by(e)
            })?;
        }
        let _ = self.child.wait().await;
        Ok(())
    }
}

pub(super) fn spawn(cx: &Context, host: &str, exec: &Exec) -> Result<Process> {
    cx.check(CONNECTOR, "spawn")?;
    let mut command = command(exec);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed("spawn", host, exec, e))?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::new(ErrorKind::Internal, CONNECTOR, "spawn", "a command without streams"));
    };
    let group = child.id().and_then(|pid| group::record(host, pid, exec.shown()));
    Ok(Process {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        control: Box::new(Control { child, group }),
    })
}
