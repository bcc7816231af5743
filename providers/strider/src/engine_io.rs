//! Engine.IO 3, the layer below socket.io 2: packets of a type and a text, over a websocket.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use towpath_core::Secret;

use crate::client::LARGEST;
use crate::net::{Net, Stream};

/// Why a websocket is of no more use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was not opened, or broke.
    Broken(String),
    /// The server closed it.
    Closed,
    /// The server does not take this session.
    Refused,
    /// No answer to a ping.
    Silent,
    /// Something that Engine.IO 3 does not have.
    Strange(String),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "the websocket broke: {why}"),
            Self::Closed => f.write_str("the server closed the websocket"),
            Self::Refused => f.write_str("the websocket does not take the session"),
            Self::Silent => f.write_str("the server did not answer to pings on the websocket"),
            Self::Strange(what) => write!(f, "the websocket does not speak Engine.IO 3: {what}"),
        }
    }
}

/// One packet.
#[derive(Debug, PartialEq)]
enum Packet<'a> {
    Open(&'a str),
    Close,
    Ping(&'a str),
    Pong,
    Message(&'a str),
    Noop,
}

fn packet(text: &str) -> Result<Packet<'_>, Lost> {
    let mut rest = text.chars();
    let kind = rest.next();
    let rest = rest.as_str();
    Ok(match kind {
        Some('0') => Packet::Open(rest),
        Some('1') => Packet::Close,
        Some('2') => Packet::Ping(rest),
        Some('3') => Packet::Pong,
        Some('4') => Packet::Message(rest),
        // 5 is the end of an upgrade, which a connection that starts as a websocket never has.
        Some('5' | '6') => Packet::Noop,
        other => return Err(Lost::Strange(format!("a packet of the type {other:?}"))),
    })
}

/// What the server says first. In this version it is the client that pings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handshake {
    ping_interval: u64,
    ping_timeout: u64,
}

/// An open websocket.
pub(crate) struct EngineIo {
    socket: WebSocketStream<Box<dyn Stream>>,
    every: Duration,
    patience: Duration,
    ping_at: Instant,
    pong_by: Option<Instant>,
}

impl EngineIo {
    /// Opens one. The caller sees to the time that it takes.
    pub(crate) async fn open(net: &Net, cookie: &Secret) -> Result<Self, Lost> {
        let broken = |e: &dyn std::fmt::Display| Lost::Broken(e.to_string());
        let address = &net.address;
        let scheme = if address.tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}/socket.io/?EIO=3&transport=websocket", address.authority, address.base);
        let mut request = url.into_client_request().map_err(|e| broken(&e))?;
        // The error of a value that is none might quote it.
        let mut value = HeaderValue::from_str(cookie.expose()).map_err(|_| Lost::Strange("its cookie".into()))?;
        value.set_sensitive(true);
        request.headers_mut().insert("cookie", value);
        let stream = net.dial().await.map_err(|e| broken(&e))?;
        let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await.map_err(|e| broken(&e))?;
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut this = Self { socket, every: minute, patience: minute, ping_at: now + minute, pong_by: None };
        let text = this.text().await?;
        let Packet::Open(text) = packet(&text)? else { return Err(Lost::Strange("no handshake".into())) };
        let handshake: Handshake =
            serde_json::from_str(text).map_err(|e| Lost::Strange(format!("a handshake that can't be read: {e}")))?;
        this.every = Duration::from_millis(handshake.ping_interval.clamp(100, 600_000));
        this.patience = Duration::from_millis(handshake.ping_timeout.clamp(100, 600_000));
        this.ping_at = Instant::now() + this.every;
        Ok(this)
    }

    pub(crate) async fn send(&mut self, message: &str) -> Result<(), Lost> {
        self.raw(format!("4{message}")).await
    }

    /// The next message. Losing interest in it loses none.
    pub(crate) async fn next(&mut self) -> Result<String, Lost> {
        loop {
            let wake = self.pong_by.unwrap_or(self.ping_at);
            let text = tokio::select! {
                text = self.text() => text?,
                () = tokio::time::sleep_until(wake) => {
                    if self.pong_by.is_some() {
                        return Err(Lost::Silent);
                    }
                    self.pong_by = Some(Instant::now() + self.patience);
                    self.raw("2".to_owned()).await?;
                    continue;
                }
            };
            match packet(&text)? {
                Packet::Message(message) => return Ok(message.to_owned()),
                Packet::Close => return Err(Lost::Closed),
                Packet::Ping(probe) => {
                    let answer = format!("3{probe}");
                    self.raw(answer).await?;
                }
                Packet::Pong => {
                    self.pong_by = None;
                    self.ping_at = Instant::now() + self.every;
                }
                Packet::Noop => {}
                Packet::Open(_) => return Err(Lost::Strange("a second handshake".into())),
            }
        }
    }

    async fn raw(&mut self, text: String) -> Result<(), Lost> {
        self.socket.send(Message::text(text)).await.map_err(|e| Lost::Broken(e.to_string()))
    }

    async fn text(&mut self) -> Result<String, Lost> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(_))) | None => return Err(Lost::Closed),
                // Binary attachments are nothing that Strider sends.
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(Lost::Broken(e.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read() {
        for (text, want) in [
            ("0{\"sid\":\"x\"}", Packet::Open("{\"sid\":\"x\"}")),
            ("1", Packet::Close),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong),
            ("42[\"a\"]", Packet::Message("2[\"a\"]")),
            ("6", Packet::Noop),
        ] {
            assert_eq!(packet(text), Ok(want), "{text}");
        }
        assert!(matches!(packet(""), Err(Lost::Strange(_))));
        assert!(matches!(packet("b4AAA"), Err(Lost::Strange(_))), "binary in base64");
    }
}
