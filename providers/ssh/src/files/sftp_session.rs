//! A session with the host's SFTP server, shared by all transfers to the host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelMsg;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as SftpError;
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::exec::Place;
use crate::session::Transport;

/// What every SFTP server takes in one request. Source: draft-ietf-secsh-filexfer-02, section 3.
const CHUNK: u32 = 32 << 10;
/// The most that is asked for where the server says it takes more: larger ones are no faster.
const LARGEST_CHUNK: u64 = 128 << 10;
/// A request is not given up for being slow: the transport's own keep-alive says when the host is gone.
const PATIENCE_S: u64 = 24 * 3600;

/// A session.
pub(crate) struct Sftp {
    pub(super) raw: RawSftpSession,
    /// Whether a rename may replace a file, atomically.
    pub(super) replaces: bool,
    pub(super) tells_space: bool,
    pub(super) write_bytes: u32,
    pub(super) read_bytes: u32,
    transport: Arc<Transport>,
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sftp").field("replaces", &self.replaces).finish_non_exhaustive()
    }
}

fn none(place: &Place, operation: &'static str, cause: impl Into<String>) -> Error {
    place.slot.has_no_sftp();
    let message = "the host has no SFTP server that works; set `files: shell`, or install sftp-server and name it in \
                   sshd_config (`Subsystem sftp internal-sftp`)";
    Error::new(ErrorKind::Unsupported, PROVIDER, operation, message).with("host", &place.host).caused_by(cause.into())
}

impl Sftp {
    /// Starts the host's SFTP server.
    pub(crate) async fn open(cx: &Context, place: &Place, operation: &'static str) -> Result<Self> {
        let (transport, mut channel) = place.slot.session(cx).await.map_err(|e| e.with_missing("host", &place.host))?;
        let broken = |e: russh::Error| crate::session::broken(e).with("host", &place.host);
        let started = async {
            channel.request_subsystem(true, "sftp").await.map_err(broken)?;
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return Ok(()),
                    Some(ChannelMsg::Failure) => return Err(none(place, operation, "sshd has no subsystem `sftp`")),
                    Some(ChannelMsg::Close) | None => {
                        return Err(none(place, operation, "the channel was closed"));
                    }
                    Some(_) => {}
                }
            }
        };
        cx.guard(PROVIDER, operation, started).await?;
        let raw = RawSftpSession::new(channel.into_stream());
        raw.set_timeout(place.slot.connect_timeout_s());
        let greeted = async { Ok(raw.init().await) };
        let version = cx.guard(PROVIDER, operation, greeted).await?.map_err(|e| match transport.is_closed() {
            true => Error::new(ErrorKind::Unreachable, PROVIDER, operation, "the connection broke")
                .with("host", &place.host)
                .retry_later()
                .caused_by(e),
            // Started, but the program is not there, or a login script printed something of its own.
            false => none(place, operation, format!("it gives no answer that is SFTP: {e}")),
        })?;
        let offers = |name: &str| version.extensions.contains_key(name);
        raw.set_timeout(PATIENCE_S);
        let (mut write_bytes, mut read_bytes) = (CHUNK, CHUNK);
        if offers("limits@openssh.com") {
            if let Ok(limits) = cx.guard(PROVIDER, operation, async { Ok(raw.limits().await) }).await? {
                let most = |limit: u64| u32::try_from(limit.clamp(1, LARGEST_CHUNK)).unwrap_or(CHUNK);
                (write_bytes, read_bytes) = (most(limits.max_write_len), most(limits.max_read_len));
            }
        }
        Ok(Self {
            replaces: offers("posix-rename@openssh.com"),
            tells_space: offers("statvfs@openssh.com"),
            raw,
            write_bytes,
            read_bytes,
            transport,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.transport.is_closed()
    }
}

/// Whether the session itself is at its end, rather than one request refused.
pub(super) fn is_over(error: &SftpError) -> bool {
    !matches!(error, SftpError::Status(_) | SftpError::Limited(_))
}

/// How long a best effort to clean up may take.
pub(super) const CLEANING: Duration = Duration::from_secs(5);
