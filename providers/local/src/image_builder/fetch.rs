//! Reads a host's tree over its connection, with the `tar` that is there.

use std::fs::File;
use std::io::{self, Write as _};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use towpath_core::{Connector, Context, Error, ErrorKind, Exec, ExitStatus, Host, Process, Result, shell_quote};

use super::exclude::LEFT_OUT;
use super::{LOCAL_ARCHIVE, LocalArchiveConfig};

/// What is read of a host that is no layer over another machine, unless the config names paths.
pub(super) const CONFIGURED: [&str; 7] = ["/etc", "/home", "/opt", "/root", "/srv", "/usr/local", "/var/www"];

/// Where a local host shows its own layers.
pub(crate) const CHANGES: &str = "/run/towpath/changes";

const TAR: &str = include_str!("tar.sh");

/// Most bytes of the host's own complaints that are kept.
const COMPLAINTS: usize = 64 << 10;

/// Copies the host's tree into `spool`: one tar archive after the other, as its `tar` writes them.
pub(super) async fn fetch(
    cx: &Context,
    config: &LocalArchiveConfig,
    connector: &dyn Connector,
    host: &Host,
    spool: File,
) -> Result<File> {
    let to = match config.r#become.as_ref().or(host.connection.r#become.as_ref()) {
        Some(spec) => Some(spec.resolve(cx).await?),
        None => None,
    };
    let connection = connector.connect(cx, host).await?;
    let mut exec = Exec::script(script(config));
    exec.label = Some("tar of the configured tree".into());
    exec.r#become = to;
    let mut process = connection.spawn(cx, &exec).await?;
    let copied = cx.guard(LOCAL_ARCHIVE, "build", copy(config, host, &mut process, spool)).await;
    if copied.is_err() {
        // After a cancel nothing of it may go on; the first error is the one that counts.
        let _ = process.control.end().await;
    }
    copied
}

/// The script, with its lists of words in front.
fn script(config: &LocalArchiveConfig) -> String {
    let words = |before: &str, paths: &mut dyn Iterator<Item = &str>| {
        // `./x` is anchored in every tar, since names of the archive have no `./` later on.
        let quoted: Vec<String> =
            paths.map(|p| shell_quote(&format!("{before}.{}", p.trim_end_matches('/')))).collect();
        shell_quote(&quoted.join(" "))
    };
    let paths = match config.paths.as_slice() {
        [] => words("", &mut CONFIGURED.into_iter()),
        some => words("", &mut some.iter().map(String::as_str)),
    };
    let plain = |p: &&String| p.contains('/') && !p.contains(['*', '?', '[', '\\']);
    let own = config.exclude.iter().filter(plain).map(String::as_str);
    let exclude = words("--exclude=", &mut LEFT_OUT.into_iter().chain(own));
    let changes = shell_quote(CHANGES);
    format!("paths={paths} exclude={exclude} changes={changes}\n{TAR}")
}

async fn copy(config: &LocalArchiveConfig, host: &Host, process: &mut Process, spool: File) -> Result<File> {
    let (stdout, stderr) = (&mut process.stdout, &mut process.stderr);
    let (spool, complaints) = tokio::join!(save(stdout, spool, config.max_bytes), keep(stderr));
    let spool = spool.map_err(|e| {
        let (kind, what) = match e.kind() {
            io::ErrorKind::FileTooLarge => {
                (ErrorKind::InvalidInput, "the tree is larger than `max_bytes`; raise it, or name fewer `paths`")
            }
            _ => (ErrorKind::Storage, "the tree can't be kept in a temporary file; `TMPDIR` names a folder for it"),
        };
        Error::new(kind, LOCAL_ARCHIVE, "build", what).with("host", &host.name).caused_by(e)
    })?;
    let status = process.control.wait().await?;
    if status.is_success() {
        return Ok(spool);
    }
    let (kind, what) = match status {
        ExitStatus::Code(127) => (ErrorKind::ToolMissing, "the host has no `tar`; install it there"),
        _ => (
            ErrorKind::ToolFailed,
            "`tar` could not read all of the tree; it may need another user (`become`) or less (`paths`, `exclude`)",
        ),
    };
    let error = Error::new(kind, LOCAL_ARCHIVE, "build", what).with("host", &host.name).with("exit_status", status);
    Err(if complaints.is_empty() { error } else { error.caused_by(complaints) })
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
