//! One connection and one long-lived shell per host and user.

mod local;

pub(crate) use local::LocalConnection;

use std::pin::pin;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use towpath_core::{Become, Connection, Context, Error, ErrorKind, Exec, Process, Result};

use crate::PLAYBOOK;

/// What a script said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub(crate) rc: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A script for the shell.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) text: String,
    /// Collects the output in files on the host, so that children that stay behind hold no pipe of the shell. For commands
    /// of the playbook; the engine's own scripts leave none.
    pub(crate) foreign: bool,
}

/// A shell on a host that runs one script after the other.
pub(crate) struct Shell {
    process: Process,
    out: Vec<u8>,
    err: Vec<u8>,
    host: String,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("host", &self.host).finish_non_exhaustive()
    }
}

const MOST_BYTES: usize = 64 << 20;

async fn until(
    stream: &mut (dyn AsyncRead + Send + Unpin),
    held: &mut Vec<u8>,
    mark: &[u8],
) -> std::io::Result<Option<Vec<u8>>> {
    let mut from = 0;
    loop {
        if let Some(at) = find(held.get(from..).unwrap_or_default(), mark) {
            let at = from + at;
            let rest = held.split_off(at + mark.len());
            let mut frame = std::mem::replace(held, rest);
            frame.truncate(at);
            return Ok(Some(frame));
        }
        from = held.len().saturating_sub(mark.len());
        if held.len() > MOST_BYTES {
            return Err(std::io::Error::other("more than 64 MiB of output"));
        }
        if stream.read_buf(held).await? == 0 {
            return Ok(None);
        }
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

impl Shell {
    /// Starts one.
    pub(crate) async fn open(cx: &Context, connection: &dyn Connection, become_: Option<Become>) -> Result<Self> {
        let mut exec = Exec::argv(["/bin/sh"]);
        exec.r#become = become_;
        let process = connection.spawn(cx, &exec).await?;
        Ok(Self { process, out: Vec::new(), err: Vec::new(), host: connection.host().to_owned() })
    }

    /// Runs a script in a subshell of its own. All of `scripts` are sent at once.
    pub(crate) async fn run(&mut self, cx: &Context, scripts: &[Script]) -> Result<Vec<Output>> {
        let nonces: Vec<String> = scripts.iter().map(|_| hex::encode(rand::random::<[u8; 16]>())).collect();
        let text: String = scripts.iter().zip(&nonces).map(|(s, n)| frame(s, n)).collect();
        let Self { process, out, err, host } = self;
        let lost = |e: Option<std::io::Error>, said: &[u8]| {
            let said = String::from_utf8_lossy(said).trim().to_owned();
            let mut error = Error::new(ErrorKind::Unreachable, PLAYBOOK, "shell", "the shell on the host has ended")
                .with("host", &*host);
            if let Some(e) = e {
                error = error.caused_by(e);
            } else if !said.is_empty() {
                error = error.caused_by(said);
            }
            error
        };
        let talk = async {
            let write = async {
                process.stdin.write_all(text.as_bytes()).await?;
                process.stdin.flush().await
            };
            let stdout = async {
                let mut all = Vec::new();
                for n in &nonces {
                    let Some(_) = until(&mut *process.stdout, out, format!("<{n}>\n").as_bytes()).await? else {
                        return Ok(None);
                    };
                    let Some(frame) = until(&mut *process.stdout, out, format!("\n{n} ").as_bytes()).await? else {
                        return Ok(None);
                    };
                    let Some(rc) = until(&mut *process.stdout, out, b"\n").await? else { return Ok(None) };
                    all.push((frame, String::from_utf8_lossy(&rc).parse::<i32>().unwrap_or(-1)));
                }
                Ok::<_, std::io::Error>(Some(all))
            };
            let stderr = async {
                let mut all = Vec::new();
                for n in &nonces {
                    let Some(_) = until(&mut *process.stderr, err, format!("<{n}>\n").as_bytes()).await? else {
                        return Ok(None);
                    };
                    let Some(frame) = until(&mut *process.stderr, err, format!("\n{n}\n").as_bytes()).await? else {
                        return Ok(None);
                    };
                    all.push(frame);
                }
                Ok::<_, std::io::Error>(Some(all))
            };
            let (written, a, b) = tokio::join!(write, stdout, stderr);
            (written, a, b)
        };
        let talked = {
            let talk = pin!(talk);
            cx.guard(PLAYBOOK, "shell", async { Ok(talk.await) }).await
        };
        let (written, a, b) = match talked {
            Ok(t) => t,
            Err(stopped) => {
                let _ = process.control.end().await;
                return Err(stopped);
            }
        };
        match (a, b) {
            (Ok(Some(a)), Ok(Some(b))) => {
                Ok(a.into_iter().zip(b).map(|((stdout, rc), stderr)| Output { rc, stdout, stderr }).collect())
            }
            (Err(e), _) | (_, Err(e)) => Err(lost(Some(e), &[])),
            _ => Err(lost(written.err(), err)),
        }
    }

    /// Ends it.
    pub(crate) async fn close(mut self) {
        let _ = self.process.stdin.shutdown().await;
        drop(self.process.stdin);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(2), self.process.control.wait()).await;
        if waited.is_err() {
            let _ = self.process.control.end().await;
        }
    }
}

/// The nonce is known to the shell only, which reads it from its standard input; the script's input is `/dev/null`.
fn frame(script: &Script, nonce: &str) -> String {
    let open = format!("printf '<{nonce}>\\n'; printf '<{nonce}>\\n' >&2\n");
    let close = format!("printf '\\n{nonce} %s\\n' \"$tp_rc\"; printf '\\n{nonce}\\n' >&2\n");
    let body = &script.text;
    if script.foreign {
        format!(
            "{open}tp_d=$(umask 077; mktemp -d \"${{TMPDIR:-/tmp}}/.towpath.XXXXXXXX\" 2>/dev/null) || tp_d=\n\
             if [ -n \"$tp_d\" ]; then\n(\n{body}\n) </dev/null >\"$tp_d/o\" 2>\"$tp_d/e\"\ntp_rc=$?\n\
             cat \"$tp_d/o\"; cat \"$tp_d/e\" >&2; rm -rf \"$tp_d\"\n\
             else\n(\n{body}\n) </dev/null\ntp_rc=$?\nfi\n{close}"
        )
    } else {
        format!("{open}(\n{body}\n) </dev/null\ntp_rc=$?\n{close}")
    }
}
