//! Files to and from a host: through a command's streams, or through SFTP.
//!
//! A command can become another user, looks up owners by name, and cleans up behind itself even when the connection
//! breaks; SFTP works for accounts that run no commands, and without the tools that the script needs.

mod put_guard;
mod sftp;
mod sftp_session;
mod shell;

use std::path::Path;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use towpath_core::{Context, Error, ErrorKind, PutOptions, Result, Source};

use crate::PROVIDER;
use crate::exec::Place;
pub(crate) use sftp_session::Sftp;

/// How files travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// Through a command, as `shell` does; through SFTP where the account runs no commands (`ForceCommand internal-sftp`,
    /// a login shell that refuses).
    #[default]
    Auto,
    /// Through the host's SFTP server, as the user who logs in. Writing as another user is refused. Owners by name are
    /// looked up in the host's `/etc/passwd` and `/etc/group`.
    Sftp,
    /// Through the streams of a command; needs `/bin/sh`, `cat`, `wc`, `stat`, `chmod` and `mv`, no SFTP server.
    Shell,
}

pub(crate) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    check(place, "put", path)?;
    match place.slot.files() {
        Files::Shell => shell::put(cx, place, source, path, options).await,
        Files::Sftp => sftp::put(cx, place, source, path, options).await,
        Files::Auto => {
            if options.r#become.is_some() || !place.slot.is_without_commands() {
                let done = shell::put(cx, place, source.clone(), path, options).await;
                if done.is_ok() || options.r#become.is_some() || !place.slot.is_without_commands() {
                    return done;
                }
            }
            sftp::put(cx, place, source, path, options).await
        }
    }
}

pub(crate) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    check(place, "get", path)?;
    match place.slot.files() {
        Files::Shell => shell::get(cx, place, path, limit_bytes).await,
        Files::Sftp => sftp::get(cx, place, path, limit_bytes).await,
        Files::Auto => {
            if !place.slot.is_without_commands() {
                let done = shell::get(cx, place, path, limit_bytes).await;
                if done.is_ok() || !place.slot.is_without_commands() {
                    return done;
                }
            }
            sftp::get(cx, place, path, limit_bytes).await
        }
    }
}

fn check(place: &Place, operation: &'static str, path: &str) -> Result<()> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, "this is no path of a file")
            .with("host", &place.host)
            .with("path", path.escape_debug()));
    }
    Ok(())
}

/// Opens a file of this machine that is to be sent.
async fn local(host: &str, path: &Path) -> Result<(File, u64)> {
    let unreadable = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
        Error::new(kind, PROVIDER, "put", "the local file can't be read")
            .with("file", path.display())
            .with("host", host)
            .caused_by(e)
    };
    let file = File::open(path).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    Ok((file, size))
}
