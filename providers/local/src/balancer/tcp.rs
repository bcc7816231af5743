//! TCP mode: one backend per connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use super::pool::Pool;

/// Carries a client's connection to a backend. No byte was forwarded before a backend has accepted, so every backend may
/// be tried, again and again until the hold time is over.
pub(super) async fn serve(pool: Arc<Pool>, mut client: TcpStream) {
    pool.counts.requests.fetch_add(1, Ordering::SeqCst);
    let until = tokio::time::Instant::now() + pool.hold();
    let mut tried = Vec::new();
    loop {
        let Some(turn) = pool.next(&tried) else {
            if tokio::time::Instant::now() >= until {
                pool.counts.failed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            tried.clear();
            pool.pause().await;
            continue;
        };
        match turn.connect().await {
            Ok(mut backend) => {
                turn.served();
                // Either side may reset at any time; both are closed then.
                let _ = copy_bidirectional(&mut client, &mut backend).await;
                return;
            }
            Err(_) => {
                pool.counts.retried.fetch_add(1, Ordering::SeqCst);
                tried.push(Arc::clone(&turn.live));
            }
        }
    }
}
