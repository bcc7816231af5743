//! Connections that a client makes through a host.

use russh::Channel;
use russh::ChannelOpenFailure;
use russh::server::{ChannelOpenHandle, Msg};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};

/// Connects to a TCP port as seen from the host, and carries bytes both ways.
pub(super) async fn tcp(channel: Channel<Msg>, reply: ChannelOpenHandle, address: String, port: u16) {
    // An IPv6 address comes in brackets from some clients.
    let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
    match TcpStream::connect((address.as_str(), port)).await {
        Ok(stream) => {
            let _ = stream.set_nodelay(true);
            carry(channel, reply, stream).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

/// Connects to a Unix socket as seen from the host, and carries bytes both ways.
pub(super) async fn unix(channel: Channel<Msg>, reply: ChannelOpenHandle, path: std::path::PathBuf) {
    match UnixStream::connect(&path).await {
        Ok(stream) => carry(channel, reply, stream).await,
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

async fn carry(channel: Channel<Msg>, reply: ChannelOpenHandle, mut to: impl AsyncRead + AsyncWrite + Unpin) {
    reply.accept().await;
    let mut from = channel.into_stream();
    // Either side may break at any time; both ends are closed then.
    let _ = copy_bidirectional(&mut from, &mut to).await;
}
