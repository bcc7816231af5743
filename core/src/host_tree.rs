//! Reads a host's files as one stream of tar archives, with the `tar` that is there.

use std::fs::File;
use std::io::{self, Write as _};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{Connection, Context, Error, ErrorKind, Exec, ExitStatus, Host, Process, Result};

/// Most bytes of the host's own complaints that are kept.
const COMPLAINTS: usize = 64 << 10;

/// Who reads a tree, for errors, and how much at most.
#[derive(Debug, Clone, Copy)]
pub struct TreeReader<'a> {
    /// The provider's name.
    pub provider: &'static str,
    /// What it does.
    pub operation: &'static str,
    /// The host that is read.
    pub host: &'a Host,
    /// Most bytes that the stream may have.
    pub max_bytes: u64,
}

impl TreeReader<'_> {
    /// Runs `tar`, a command that writes archives to its standard output, and copies them into `spool`. On a cancel the command is ended.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): it is larger than `max_bytes`. [`Storage`](ErrorKind::Storage): `spool` can't be written.
    /// [`ToolMissing`](ErrorKind::ToolMissing): exit status 127. [`ToolFailed`](ErrorKind::ToolFailed): any other status than 0, with
    /// the last lines of what it complained about. Those of the connection.
    pub async fn read(&self, cx: &Context, connection: &dyn Connection, tar: &Exec, spool: File) -> Result<File> {
        let mut process = connection.spawn(cx, tar).await?;
        let copied = cx.guard(self.provider, self.operation, self.copy(&mut process, spool)).await;
        if copied.is_err() {
            // After a cancel nothing of it may go on; the first error is the one that counts.
            let _ = process.control.end().await;
        }
        copied
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, self.provider, self.operation, message).with("host", &self.host.name)
    }

    async fn copy(&self, process: &mut Process, spool: File) -> Result<File> {
        let (stdout, stderr) = (&mut process.stdout, &mut process.stderr);
        let (spool, complaints) = tokio::join!(save(stdout, spool, self.max_bytes), keep(stderr));
        let spool = spool.map_err(|e| {
            let (kind, what) = match e.kind() {
                io::ErrorKind::FileTooLarge => {
                    (ErrorKind::InvalidInput, "the tree is larger than `max_bytes`; raise it, or bake less of it")
                }
                _ => (ErrorKind::Storage, "the tree can't be kept in a temporary file; `TMPDIR` names a folder for it"),
            };
            self.error(kind, what).caused_by(e)
        })?;
        let status = process.control.wait().await?;
        if status.is_success() {
            return Ok(spool);
        }
        let error = match status {
            ExitStatus::Code(127) => self.error(ErrorKind::ToolMissing, "the host has no `tar`; install it there"),
            _ => self.error(
                ErrorKind::ToolFailed,
                "`tar` could not read all of the tree; it may need another user (`become`), or to leave something out",
            ),
        };
        let error = error.with("exit_status", status);
        Err(if complaints.is_empty() { error } else { error.caused_by(complaints) })
    }
}

async fn save(from: &mut (impl AsyncRead + Unpin), mut spool: File, limit: u64) -> io::Result<File> {
    let mut buffer = vec![0; 256 << 10];
    let mut total: u64 = 0;
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(spool);
        }
        total += n as u64;
        if total > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
        }
        spool.write_all(buffer.get(..n).unwrap_or_default())?;
    }
}

/// The end of what it complains about.
async fn keep(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = from.read(&mut buffer).await
        && n > 0
    {
        kept.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if kept.len() > COMPLAINTS {
            kept.drain(..kept.len() - COMPLAINTS / 2);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}
