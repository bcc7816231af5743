use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

/// Listens at an address that was just given up. Its former listener may close it only when its task runs next, and a child that was
/// forked at that moment holds it until it has become its program.
pub async fn rebind(at: SocketAddr) -> TcpListener {
    for _ in 0..2000 {
        match TcpListener::bind(at).await {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => tokio::time::sleep(Duration::from_millis(1)).await,
            bound => return bound.unwrap(),
        }
    }
    panic!("{at} is not given up");
}
