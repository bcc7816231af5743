//! Transports that connections share.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use russh::client::Msg;
use russh::{Channel, ChannelOpenFailure};
use towpath_core::{Context, Endpoint, Error, ErrorKind, Host, Result, Stream};

use crate::PROVIDER;
use crate::config::{HostKeys, SshConfig};
use crate::exec::Place;
use crate::files::{Files, Sftp};
use crate::keys::Keys;
use crate::session::{Held, Transport};
use crate::settings::Settings;
use crate::ssh_config::Proxy;

/// All hosts that one [`Ssh`](crate::Ssh) has talked to.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    keys: Arc<Keys>,
    sweeping: AtomicBool,
}

/// The transports to one host. There is a second one only where the first carries as many sessions as the host allows
/// (`MaxSessions`, 10 by default).
pub(crate) struct Slot {
    settings: Settings,
    jump: Option<Arc<Slot>>,
    users: AtomicUsize,
    transports: tokio::sync::Mutex<Vec<Arc<Transport>>>,
    keys: Arc<Keys>,
    /// The session that all transfers of files share.
    sftp: tokio::sync::Mutex<Option<Arc<Sftp>>>,
    without_commands: AtomicBool,
    without_sftp: AtomicBool,
    used: Mutex<Instant>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Pool {
    /// The slot for a host, with those of its jump hosts.
    pub(crate) fn slot(self: &Arc<Self>, config: &SshConfig, host: &Host) -> Result<Arc<Slot>> {
        self.slot_at(config, host, 0)
    }

    fn slot_at(self: &Arc<Self>, config: &SshConfig, host: &Host, depth: usize) -> Result<Arc<Slot>> {
        if depth > 8 {
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", "the jump hosts go in a circle"));
        }
        let settings = Settings::of(config, host)?;
        let jump = match &settings.proxy {
            Some(Proxy::Jump(list)) => Some(self.slot_at(config, &jump_host(list, host)?, depth + 1)?),
            _ => None,
        };
        let key = format!("{settings:?}");
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(key).or_insert_with(|| {
            Arc::new(Slot {
                settings,
                jump,
                users: AtomicUsize::new(0),
                transports: tokio::sync::Mutex::default(),
                keys: Arc::clone(&self.keys),
                sftp: tokio::sync::Mutex::default(),
                without_commands: AtomicBool::new(false),
                without_sftp: AtomicBool::new(false),
                used: Mutex::new(Instant::now()),
            })
        });
        let slot = Arc::clone(slot);
        drop(slots);
        self.sweep_later();
        Ok(slot)
    }

    /// Closes idle transports now and then, as long as this pool lives.
    fn sweep_later(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                let Some(pool) = Weak::upgrade(&pool) else { return };
                let slots: Vec<_> = {
                    let all = pool.slots.lock().unwrap_or_else(PoisonError::into_inner);
                    all.values().cloned().collect()
                };
                for slot in slots {
                    slot.sweep().await;
                }
                // A slot that nobody else knows and that is closed is only memory.
                let mut all = pool.slots.lock().unwrap_or_else(PoisonError::into_inner);
                all.retain(|_, s| Arc::strong_count(s) > 1 || s.transports.try_lock().map_or(true, |t| !t.is_empty()));
            }
        });
    }
}

/// The last host of a list goes through the ones before it. It takes the credentials and known hosts of the host behind it.
fn jump_host(list: &str, behind: &Host) -> Result<Host> {
    let (before, last) = list.rsplit_once(',').map_or((None, list), |(b, l)| (Some(b), l));
    let bad = || {
        Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", "a jump host is not written as `[user@]host[:port]`")
            .with("jump", list)
    };
    let last = last.trim().strip_prefix("ssh://").unwrap_or(last.trim());
    let (user, rest) = last.rsplit_once('@').map_or((None, last), |(u, r)| (Some(u.to_owned()), r));
    let (address, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((v6, port)) => (v6, port.strip_prefix(':')),
        None => rest.split_once(':').map_or((rest, None), |(a, p)| (a, Some(p))),
    };
    let port = port.map(str::parse).transpose().map_err(|_| bad())?;
    if address.is_empty() {
        return Err(bad());
    }
    let mut options = behind.connection.options.clone();
    options.remove("host_key");
    // Without a list before it, its own `~/.ssh/config` entry says whether there is one more.
    options.remove("proxy_jump");
    options.remove("proxy_command");
    if let Some(before) = before {
        options.insert("proxy_jump".into(), before.into());
    }
    let mut host = Host { name: address.to_owned(), ..Host::default() };
    host.connection.port = port;
    host.connection.user = user;
    host.connection.options = options;
    Ok(host)
}

impl Slot {
    /// Whether any host key is accepted here or on the way.
    pub(crate) fn is_unchecked(&self) -> bool {
        let own = self.settings.host_keys == HostKeys::Off && self.settings.host_key.is_none();
        own || self.jump.as_ref().is_some_and(|j| j.is_unchecked())
    }

    pub(crate) fn files(&self) -> Files {
        self.settings.files
    }

    pub(crate) fn connect_timeout_s(&self) -> u64 {
        self.settings.connect_timeout_s.max(1)
    }

    /// Remembers that this account runs no commands.
    pub(crate) fn runs_no_commands(&self) {
        self.without_commands.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_without_commands(&self) -> bool {
        self.without_commands.load(Ordering::Relaxed)
    }

    /// Remembers that the host has no SFTP server, or one that can't replace files.
    pub(crate) fn has_no_sftp(&self) {
        self.without_sftp.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_without_sftp(&self) -> bool {
        self.without_sftp.load(Ordering::Relaxed)
    }

    /// The SFTP session, opened if there is none. Callers that come at the same time wait for one opening.
    pub(crate) async fn sftp(&self, cx: &Context, place: &Place, operation: &'static str) -> Result<Arc<Sftp>> {
        self.touch();
        let mut open = self.sftp.lock().await;
        if let Some(sftp) = open.as_ref().filter(|s| !s.is_closed()) {
            return Ok(Arc::clone(sftp));
        }
        let new = Arc::new(Sftp::open(cx, place, operation).await?);
        *open = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Drops a session that broke.
    pub(crate) async fn forget_sftp(&self, broken: &Arc<Sftp>) {
        let mut open = self.sftp.lock().await;
        if open.as_ref().is_some_and(|s| Arc::ptr_eq(s, broken)) {
            *open = None;
        }
    }

    /// Ends the session for files if nothing travels: it holds its transport.
    async fn rest_sftp(&self) {
        self.sftp.lock().await.take_if(|s| Arc::strong_count(s) == 1);
    }

    pub(crate) fn address(&self) -> String {
        format!("{}@{}:{}", self.settings.user, self.settings.address, self.settings.port)
    }

    pub(crate) fn enter(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
        self.touch();
    }

    pub(crate) fn leave(&self) -> usize {
        self.touch();
        self.users.fetch_sub(1, Ordering::Relaxed).saturating_sub(1)
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn sweep(&self) {
        let idle = self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if self.users.load(Ordering::Relaxed) > 0 || idle < Duration::from_secs(self.settings.idle_s) {
            return;
        }
        self.rest_sftp().await;
        // One in use by a stream or a process has a second reference.
        self.transports.lock().await.retain(|t| Arc::strong_count(t) > 1);
    }

    /// Closes what nobody else uses.
    pub(crate) async fn close(&self) {
        self.rest_sftp().await;
        let mut all = self.transports.lock().await;
        for transport in all.iter().filter(|t| Arc::strong_count(t) == 1) {
            transport.disconnect().await;
        }
        all.retain(|t| Arc::strong_count(t) > 1);
    }

    /// A transport that works, connected if there is none. Callers that come at the same time wait for one connect.
    pub(crate) async fn transport(&self, cx: &Context) -> Result<Arc<Transport>> {
        let mut all = self.transports.lock().await;
        all.retain(|t| !t.is_closed());
        if let Some(first) = all.first() {
            return Ok(Arc::clone(first));
        }
        let new = Arc::new(Box::pin(Transport::open(cx, &self.settings, &self.keys, self.jump.clone())).await?);
        all.push(Arc::clone(&new));
        Ok(new)
    }

    /// A new session channel, on another transport where one is full, on a new one where one is broken.
    pub(crate) async fn session(&self, cx: &Context) -> Result<(Arc<Transport>, Channel<Msg>)> {
        self.touch();
        let first = self.transport(cx).await?;
        let mut known: Vec<_> =
            self.transports.lock().await.iter().filter(|t| !Arc::ptr_eq(t, &first)).cloned().collect();
        known.insert(0, first);
        let mut full = 0;
        for transport in known {
            let opened = cx.guard(PROVIDER, "exec", async { Ok(transport.session().await) }).await?;
            match opened {
                Ok(channel) => return Ok((transport, channel)),
                Err(russh::Error::ChannelOpenFailure(_)) => full += 1,
                Err(_) => self.transports.lock().await.retain(|t| !Arc::ptr_eq(t, &transport)),
            }
        }
        if full > 200 {
            return Err(Error::new(ErrorKind::Denied, PROVIDER, "exec", "the host opens no more sessions")
                .with("address", self.address()));
        }
        let new = Arc::new(Box::pin(Transport::open(cx, &self.settings, &self.keys, self.jump.clone())).await?);
        self.transports.lock().await.push(Arc::clone(&new));
        match new.session().await {
            Ok(channel) => Ok((new, channel)),
            Err(russh::Error::ChannelOpenFailure(why)) => {
                Err(Error::new(ErrorKind::Denied, PROVIDER, "exec", "the host opens no session for commands")
                    .with("address", self.address())
                    .caused_by(format!("{why:?}")))
            }
            Err(e) => Err(crate::session::broken(e)),
        }
    }

    /// Opens a port or socket as seen from the host.
    pub(crate) async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        self.touch();
        let transport = self.transport(cx).await?;
        let opened = async {
            Ok(match to {
                Endpoint::Tcp(host, port) => transport.tcp(host, *port).await,
                Endpoint::Unix(path) => transport.unix(path).await,
            })
        };
        let shown = match to {
            Endpoint::Tcp(host, port) => format!("{host}:{port}"),
            Endpoint::Unix(path) => path.clone(),
        };
        let failed = |kind, message: &str, e: String| {
            let error = Error::new(kind, PROVIDER, "dial", message).with("to", &shown).caused_by(e);
            if kind == ErrorKind::Unreachable { error.retry_later() } else { error }
        };
        match cx.guard(PROVIDER, "dial", opened).await? {
            Ok(channel) => Ok(Box::new(Held { stream: channel.into_stream(), _held: transport })),
            Err(russh::Error::ChannelOpenFailure(why @ ChannelOpenFailure::AdministrativelyProhibited)) => {
                Err(failed(ErrorKind::Denied, "the host forbids forwarding", format!("{why:?}")))
            }
            Err(russh::Error::ChannelOpenFailure(why)) => {
                Err(failed(ErrorKind::Unreachable, "nobody listens there", format!("{why:?}")))
            }
            Err(e) => Err(failed(ErrorKind::Unreachable, "the connection broke", e.to_string())),
        }
    }
}
