//! A TCP proxy that holds bytes back: the network is as far away as it says.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Listens, and gives the port. Each direction delays by half of `round_trip`.
pub(crate) async fn start(to: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            // The handshake of TCP takes a round trip too.
            tokio::time::sleep(round_trip).await;
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(delay(near_in, far_out, round_trip / 2));
            tokio::spawn(delay(far_in, near_out, round_trip / 2));
        }
    });
    port
}

async fn delay(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf, by: Duration) {
    let (send, mut held) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = held.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if send.send((Instant::now() + by, buffer.get(..n).unwrap_or_default().to_vec())).is_err() {
            return;
        }
    }
}
