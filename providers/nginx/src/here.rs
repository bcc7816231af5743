//! Runs a script on this machine.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use towpath_core::{Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Program, Result};

use crate::provider::NGINX;

/// Runs it in its own process group, which is ended on cancel and when its time is over.
pub(crate) async fn run(cx: &Context, operation: &'static str, exec: &Exec) -> Result<ExecOutput> {
    let Program::Script(text) = &exec.program else {
        return Err(Error::new(ErrorKind::Internal, NGINX, operation, "only scripts are run here"));
    };
    let mut command = Command::new("/bin/sh");
    command.args(["-c", text]).current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |e: io::Error| {
        Error::new(ErrorKind::ToolFailed, NGINX, operation, "a shell can't be run on this machine").caused_by(e)
    };
    let mut child = command.spawn().map_err(failed)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = exec.stdin.clone().unwrap_or_default();
    let work = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // A script may end before it has read everything.
                let _ = stdin.write_all(&input).await;
            }
        };
        let (out, err, (), status) =
            tokio::join!(read(stdout, exec.limit_bytes), read(stderr, exec.limit_bytes), write, child.wait());
        Ok::<_, io::Error>(ExecOutput { status: ended(status?), stdout: out?, stderr: err? })
    };
    let limit = exec.timeout.unwrap_or(Duration::from_secs(600));
    let timed = async {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done.map_err(failed),
            Err(_) => Err(Error::new(ErrorKind::Timeout, NGINX, operation, "a script ran too long").retry_later()),
        }
    };
    let result = cx.guard(NGINX, operation, timed).await;
    if result.as_ref().is_err() {
        end(&mut child).await;
    }
    result
}

async fn read(from: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() > limit {
        return Err(io::Error::other(format!("it printed more than {limit} bytes")));
    }
    Ok(bytes.into())
}

fn ended(status: std::process::ExitStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, signal) => {
            let name = signal.and_then(|s| Signal::try_from(s).ok()).map_or("?", Signal::as_str);
            ExitStatus::Signal(name.trim_start_matches("SIG").to_owned())
        }
    }
}

/// TERM, upon which a script takes back what it can; 5 s; KILL.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let Some(group) = group else { return };
    let _ = killpg(group, Signal::SIGTERM);
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait().await;
    }
}
