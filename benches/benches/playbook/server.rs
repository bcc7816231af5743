//! SSH servers for many hosts in one process: every address of the loopback network is a host.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

struct Client {
    key: Arc<PublicKey>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

/// Serves until the process is ended. Prints the port.
pub(crate) async fn run(host_key: &str, client_key: &str) {
    let key = PrivateKey::from_openssh(std::fs::read_to_string(host_key).unwrap()).unwrap();
    let mut client = PublicKey::from_openssh(&std::fs::read_to_string(client_key).unwrap()).unwrap();
    client.set_comment("");
    let client = Arc::new(client);
    let config = Arc::new(Config {
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        nodelay: true,
        ..Config::default()
    });
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(4096).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (config, client) = (config.clone(), Client { key: client.clone(), channels: HashMap::new() });
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(config, stream, client).await {
                let _ = session.await;
            }
        });
    }
}

impl Client {
    fn judge(&self, key: &PublicKey) -> Auth {
        let mut key = key.clone();
        key.set_comment("");
        if key == *self.key { Auth::Accept } else { Auth::reject() }
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

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(channel) = self.channels.remove(&id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let line = String::from_utf8_lossy(data).into_owned();
        tokio::spawn(serve(channel, line));
        Ok(())
    }
}

async fn serve(channel: Channel<Msg>, line: String) {
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", &line])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut read, write) = channel.split();
    let input = tokio::spawn(async move {
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    let Some(to) = &mut stdin else { continue };
                    if to.write_all(&data).await.is_err() {
                        stdin = None;
                    }
                }
                ChannelMsg::Eof => stdin = None,
                ChannelMsg::Close => return,
                _ => {}
            }
        }
    });
    let out = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
            if write.data_bytes(buffer.get(..n).unwrap_or_default().to_vec()).await.is_err() {
                return;
            }
        }
    };
    let err = async {
        let mut buffer = vec![0; 4 << 10];
        while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
            if write.extended_data_bytes(1, buffer.get(..n).unwrap_or_default().to_vec()).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(out, err);
    let code = child.wait().await.ok().and_then(|s| s.code()).unwrap_or(255);
    let _ = write.exit_status(code.cast_unsigned()).await;
    let _ = write.eof().await;
    let _ = write.close().await;
    input.abort();
}
