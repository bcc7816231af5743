//! The SSH server of a host.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Sig};
use tokio::net::TcpListener;

use super::exec::{self, Groups};
use super::{View, forward, log, sftp};
use crate::process::TOKEN_VAR;
use crate::state::HostSettings;

/// Accepts connections.
#[derive(Debug)]
pub(super) struct Server {
    config: Arc<Config>,
    shared: Arc<Shared>,
}

/// What all connections of a host share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) token: String,
    client_key: PublicKey,
}

impl Server {
    pub(super) fn new(key: PrivateKey, settings: &HostSettings, view: View, token: &str) -> io::Result<Self> {
        let client_key = PublicKey::from_openssh(&settings.client_key).map_err(io::Error::other)?;
        let config = Config {
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            // One key, of which nothing can be guessed: a delay would only slow down clients that try another key first.
            auth_rejection_time: Duration::from_millis(50),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![key],
            inactivity_timeout: None,
            max_auth_attempts: 20,
            nodelay: true,
            ..Config::default()
        };
        let shared = Shared { view, token: token.to_owned(), client_key: without_comment(client_key) };
        Ok(Self { config: Arc::new(config), shared: Arc::new(shared) })
    }

    pub(super) async fn run(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let client = Client {
                        shared: Arc::clone(&self.shared),
                        channels: HashMap::new(),
                        env: HashMap::new(),
                        groups: Groups::default(),
                        peer: peer.to_string(),
                    };
                    let config = Arc::clone(&self.config);
                    tokio::spawn(async move {
                        if let Ok(session) = russh::server::run_stream(config, stream, client).await {
                            // A client that hangs up is nothing worth a line.
                            let _ = session.await;
                        }
                    });
                }
                Err(e) => {
                    // Out of file descriptors, most likely: waiting helps, ending the host does not.
                    log(format_args!("accept: {e}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn without_comment(mut key: PublicKey) -> PublicKey {
    key.set_comment("");
    key
}

/// One connection.
struct Client {
    shared: Arc<Shared>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    env: HashMap<ChannelId, Vec<(String, String)>>,
    groups: Groups,
    peer: String,
}

impl Client {
    fn start(&mut self, id: ChannelId, command: Option<&[u8]>, session: &mut Session) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else { return session.channel_failure(id) };
        let env = self.env.remove(&id).unwrap_or_default();
        let job = exec::Job { shared: &self.shared, command, env, peer: &self.peer };
        match job.start() {
            Ok(child) => {
                session.channel_success(id)?;
                let hint = self.shared.view.hint();
                tokio::spawn(exec::serve(child, channel, session.handle(), self.groups.clone(), hint));
            }
            Err(e) => {
                // The client asked for a command and gets what a shell would have said.
                session.channel_success(id)?;
                tokio::spawn(exec::refuse(e.to_string(), channel, session.handle()));
            }
        }
        Ok(())
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match u16::try_from(port_to_connect) {
            Ok(port) => drop(tokio::spawn(forward::tcp(channel, reply, host_to_connect.to_owned(), port))),
            Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.shared.view.resolve(socket_path) {
            Ok(path) => drop(tokio::spawn(forward::unix(channel, reply, path))),
            Err(_) => reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // The token marks processes as this host's; everything else is the client's business, since it may run any command.
        if name == TOKEN_VAR || name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return session.channel_failure(channel);
        }
        self.env.entry(channel).or_default().push((name.to_owned(), value.to_owned()));
        session.channel_success(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(channel, Some(data), session)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, None, session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Self::Error> {
        match self.channels.remove(&id) {
            Some(channel) if name == "sftp" => {
                session.channel_success(id)?;
                tokio::spawn(sftp::serve(channel, session.handle(), self.shared.view.clone()));
                Ok(())
            }
            _ => session.channel_failure(id),
        }
    }

    async fn signal(&mut self, channel: ChannelId, signal: Sig, _: &mut Session) -> Result<(), Self::Error> {
        self.groups.signal(channel, &signal);
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        self.env.remove(&channel);
        Ok(())
    }
}

impl Client {
    fn judge(&self, key: &PublicKey) -> Auth {
        if without_comment(key.clone()) == self.shared.client_key { Auth::Accept } else { Auth::reject() }
    }
}

/// A table behind a lock that is never held across an await.
pub(super) type Table<K, V> = Arc<Mutex<HashMap<K, V>>>;

pub(super) fn locked<K, V, R>(table: &Table<K, V>, f: impl FnOnce(&mut HashMap<K, V>) -> R) -> R {
    f(&mut table.lock().unwrap_or_else(PoisonError::into_inner))
}
