//! One command, one answer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use towpath_core::{Connection, Context, Endpoint, Error, ErrorKind, Result, Stream};

use crate::output::Reply;
use crate::provider::HAPROXY;

/// Far more than the state of ten thousand servers.
const LIMIT_BYTES: u64 = 16 << 20;
/// A reload may leave nobody listening for a moment.
const TRIES: u64 = 4;

/// The way to the runtime API.
#[derive(Clone)]
pub(crate) struct Socket {
    pub(crate) endpoint: Endpoint,
    /// The connection to HAProxy's host; `None`: it is this machine.
    pub(crate) connection: Option<Arc<dyn Connection>>,
    pub(crate) reply_limit: Duration,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => f.write_str(path),
        }
    }
}

impl Socket {
    /// Sends one line and reads the answer up to its end, which is that of the connection.
    pub(crate) async fn ask(&self, cx: &Context, operation: &'static str, line: &str) -> Result<Reply> {
        // Names and words are looked at where they come in; this is the last gate.
        if line.contains(['\n', '\r', '\0']) {
            return Err(Error::new(ErrorKind::Internal, HAPROXY, operation, "a command would have had two lines"));
        }
        let mut stream = self.open(cx, operation).await?;
        let exchange = async {
            stream.write_all(format!("set severity-output number;{line}\n").as_bytes()).await?;
            stream.flush().await?;
            let mut bytes = Vec::new();
            (&mut stream).take(LIMIT_BYTES + 1).read_to_end(&mut bytes).await?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = cx
            .guard(HAPROXY, operation, async {
                match tokio::time::timeout(self.reply_limit, exchange).await {
                    Ok(Ok(bytes)) => Ok(bytes),
                    Ok(Err(e)) => Err(Error::new(
                        ErrorKind::Unreachable,
                        HAPROXY,
                        operation,
                        "the connection to HAProxy broke; whether it did what it was told is not known",
                    )
                    .caused_by(e)
                    .retry_later()),
                    Err(_) => Err(Error::new(
                        ErrorKind::Timeout,
                        HAPROXY,
                        operation,
                        format!("HAProxy did not answer in {} s", self.reply_limit.as_secs_f64()),
                    )
                    .retry_later()),
                }
            })
            .await
            .map_err(|e| self.place(e))?;
        if bytes.len() as u64 > LIMIT_BYTES {
            return Err(self.place(Error::new(
                ErrorKind::Protocol,
                HAPROXY,
                operation,
                format!("the answer is longer than {LIMIT_BYTES} bytes"),
            )));
        }
        let text = String::from_utf8_lossy(&bytes);
        // The first line is the empty answer to `set severity-output`.
        match text.strip_prefix('\n') {
            Some(rest) => Ok(Reply::read(rest)),
            None => {
                let said: String = text.chars().take(200).collect();
                let what = "what listens there is not HAProxy's runtime API: it answered something else";
                Err(self
                    .place(Error::new(ErrorKind::Protocol, HAPROXY, operation, what).caused_by(format!("{said:?}"))))
            }
        }
    }

    async fn open(&self, cx: &Context, operation: &'static str) -> Result<Box<dyn Stream>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.dial(cx, operation).await {
                // Nothing was sent yet, so that any command may be tried again.
                Err(e) if e.kind() == ErrorKind::Unreachable && tries < TRIES => {
                    cx.sleep(HAPROXY, operation, Duration::from_millis(50 * tries)).await.map_err(|e| self.place(e))?;
                }
                other => return other.map_err(|e| self.place(e)),
            }
        }
    }

    async fn dial(&self, cx: &Context, operation: &'static str) -> Result<Box<dyn Stream>> {
        if let Some(connection) = &self.connection {
            return connection.dial(cx, &self.endpoint).await;
        }
        let open = async {
            let opened: io::Result<Box<dyn Stream>> = match &self.endpoint {
                Endpoint::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).await.map(|s| Box::new(s) as _),
                Endpoint::Unix(path) => UnixStream::connect(path).await.map(|s| Box::new(s) as _),
            };
            Ok(opened)
        };
        let timed = cx.guard(HAPROXY, operation, async { Ok(tokio::time::timeout(self.reply_limit, open).await) });
        let (kind, message, cause) = match timed.await? {
            Ok(Ok(Ok(stream))) => return Ok(stream),
            Ok(Ok(Err(e))) if e.kind() == io::ErrorKind::PermissionDenied => {
                let message = "this user may not open HAProxy's socket: look at `user`, `group` and `mode` of its `stats socket` line";
                (ErrorKind::Denied, message, Some(e))
            }
            Ok(Ok(Err(e))) => {
                let message = "nobody answers at HAProxy's socket: is HAProxy running, with `stats socket` at this place in `global`?";
                (ErrorKind::Unreachable, message, Some(e))
            }
            Ok(Err(e)) => return Err(e),
            Err(_) => (ErrorKind::Unreachable, "HAProxy's socket takes no connection", None),
        };
        let mut error = Error::new(kind, HAPROXY, operation, message);
        if let Some(e) = cause {
            error = error.caused_by(e);
        }
        Err(if kind == ErrorKind::Denied { error } else { error.retry_later() })
    }

    /// Says where it happened.
    pub(crate) fn place(&self, error: Error) -> Error {
        let error = error.with_missing("socket", self);
        match &self.connection {
            Some(connection) => error.with_missing("host", connection.host()),
            None => error,
        }
    }
}
