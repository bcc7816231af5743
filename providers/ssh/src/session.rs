//! One transport: connected, its host key checked, logged in.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use russh::client::{Config, Handle, Handler, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, Disconnect, Preferred};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use towpath_core::{Context, Error, ErrorKind, Result, Stream};

use crate::keys::Keys;
use crate::known_hosts::{Known, Trust};
use crate::pool::Slot;
use crate::settings::Settings;
use crate::ssh_config::algorithms::apply;
use crate::ssh_config::{Family, Proxy};
use crate::{PROVIDER, auth};

/// An authenticated transport. Dropping the last reference closes it.
pub(crate) struct Transport {
    handle: Handle<Client>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("closed", &self.handle.is_closed()).finish()
    }
}

/// Checks the host key.
pub(crate) struct Client {
    known: Known,
    seen: Arc<Mutex<Seen>>,
}

/// What the check of the host's key has found.
#[derive(Default)]
struct Seen {
    refused: Option<Error>,
    changed: bool,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> std::result::Result<bool, Self::Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.known.check(shown) {
            Ok(trust) => {
                seen.changed = trust == Trust::Changed;
                Ok(true)
            }
            Err(e) => {
                seen.refused = Some(e);
                Ok(false)
            }
        }
    }
}

/// A transport that broke under a request.
pub(crate) fn broken(e: russh::Error) -> Error {
    Error::new(ErrorKind::Unreachable, PROVIDER, "connect", "the connection broke").retry_later().caused_by(e)
}

fn unreachable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unreachable, PROVIDER, "connect", message).retry_later()
}

impl Transport {
    /// Connects and logs in, through the jump host if there is one.
    pub(crate) async fn open(cx: &Context, settings: &Settings, keys: &Keys, jump: Option<Arc<Slot>>) -> Result<Self> {
        let limit = Duration::from_secs(settings.connect_timeout_s.max(1));
        let work = async {
            match tokio::time::timeout(limit, Self::open_now(cx, settings, keys, jump)).await {
                Ok(done) => done,
                Err(_) => Err(unreachable(format!("no answer within {} s", limit.as_secs()))),
            }
        };
        cx.guard(PROVIDER, "connect", work)
            .await
            .map_err(|e| e.with_missing("address", format!("{}:{}", settings.address, settings.port)))
    }

    async fn open_now(cx: &Context, settings: &Settings, keys: &Keys, jump: Option<Arc<Slot>>) -> Result<Self> {
        let known = Known::read(settings)?;
        let mut config = Config {
            inactivity_timeout: None,
            keepalive_interval: (settings.keepalive_s > 0).then(|| Duration::from_secs(settings.keepalive_s)),
            keepalive_max: settings.keepalive_max,
            nodelay: true,
            ..Config::default()
        };
        config.preferred = preferred(settings, &known)?;
        let stream = dial(cx, settings, jump).await?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let client = Client { known, seen: Arc::clone(&seen) };
        let mut handle = match russh::client::connect_stream(Arc::new(config), stream, client).await {
            Ok(handle) => handle,
            Err(e) => {
                let refused = seen.lock().unwrap_or_else(PoisonError::into_inner).refused.take();
                return Err(refused.unwrap_or_else(|| unreachable("the SSH handshake failed").caused_by(e)));
            }
        };
        let changed = seen.lock().unwrap_or_else(PoisonError::into_inner).changed;
        auth::log_in(cx, &mut handle, settings, keys, changed).await?;
        Ok(Self { handle })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    pub(crate) async fn session(&self) -> std::result::Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_session().await
    }

    pub(crate) async fn tcp(&self, host: &str, port: u16) -> std::result::Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await
    }

    pub(crate) async fn unix(&self, path: &str) -> std::result::Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_streamlocal(path).await
    }

    /// Goes to the host and back, so that what it sent before has arrived.
    pub(crate) async fn round_trip(&self) -> std::result::Result<(), russh::Error> {
        self.handle.send_ping().await
    }

    pub(crate) async fn disconnect(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

/// The algorithms that are offered: those of russh, narrowed and ordered by OpenSSH's configuration.
fn preferred(settings: &Settings, known: &Known) -> Result<Preferred> {
    let lists = &settings.algorithms;
    let mut preferred = Preferred::DEFAULT;
    let none = |option: &str, list: &str| {
        let message = format!("`{option}` leaves no algorithm that is known here");
        Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", message).with("list", list)
    };
    if let Some(list) = &lists.kex {
        // Markers of extensions stand among the methods.
        let (marks, methods): (Vec<_>, Vec<_>) = preferred.kex.iter().partition(|n| {
            let name: &str = n.as_ref();
            name.starts_with("ext-info-") || name.starts_with("kex-strict-")
        });
        let mut methods = apply(list, &methods, |n: &russh::kex::Name| n.as_ref().to_owned());
        if methods.is_empty() {
            return Err(none("KexAlgorithms", list));
        }
        methods.extend(marks);
        preferred.kex = methods.into();
    }
    if let Some(list) = &lists.ciphers {
        preferred.cipher = apply(list, &preferred.cipher, |n| n.as_ref().to_owned()).into();
        if preferred.cipher.is_empty() {
            return Err(none("Ciphers", list));
        }
    }
    if let Some(list) = &lists.macs {
        preferred.mac = apply(list, &preferred.mac, |n| n.as_ref().to_owned()).into();
        if preferred.mac.is_empty() {
            return Err(none("MACs", list));
        }
    }
    let all = known.prefer(preferred.key.to_vec());
    let (mut keys, mut certificates) = (all.clone(), if known.has_authority() { all } else { Vec::new() });
    if let Some(list) = &lists.host_key {
        keys = apply(list, &keys, |a| a.as_str().to_owned());
        certificates = apply(list, &certificates, russh::keys::Algorithm::to_certificate_type);
        if keys.is_empty() && certificates.is_empty() {
            return Err(none("HostKeyAlgorithms", list));
        }
    }
    preferred.key = keys.into();
    preferred.host_key_certificates = certificates.into();
    Ok(preferred)
}

async fn dial(cx: &Context, settings: &Settings, jump: Option<Arc<Slot>>) -> Result<Box<dyn Stream>> {
    if let Some(jump) = jump {
        let to = towpath_core::Endpoint::Tcp(settings.address.clone(), settings.port);
        return Box::pin(jump.dial(cx, &to)).await.map_err(|e| e.with("through", jump.address()));
    }
    if let Some(Proxy::Command(command)) = &settings.proxy {
        return through_command(command);
    }
    let stream = connect(settings).await.map_err(|e| {
        unreachable("nobody answers: is the host up, and does sshd listen at this address and port?").caused_by(e)
    })?;
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

async fn connect(settings: &Settings) -> std::io::Result<TcpStream> {
    let to = (settings.address.as_str(), settings.port);
    if settings.family == Family::Any {
        return TcpStream::connect(to).await;
    }
    let fits = |a: &SocketAddr| a.is_ipv4() == (settings.family == Family::V4);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(to).await?.filter(fits).collect();
    if addresses.is_empty() {
        return Err(std::io::Error::other("the host has no address of the family that AddressFamily names"));
    }
    TcpStream::connect(addresses.as_slice()).await
}

fn through_command(command: &str) -> Result<Box<dyn Stream>> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| unreachable("the ProxyCommand does not start").caused_by(e))?;
    let (Some(stdout), Some(stdin)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(unreachable("the ProxyCommand has no streams"));
    };
    Ok(Box::new(Held { stream: tokio::io::join(stdout, stdin), _held: child }))
}

/// A stream that keeps something alive: a transport, a child process.
pub(crate) struct Held<S, K> {
    pub(crate) stream: S,
    pub(crate) _held: K,
}

impl<S: AsyncRead + Unpin, K: Unpin> AsyncRead for Held<S, K> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Held<S, K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
