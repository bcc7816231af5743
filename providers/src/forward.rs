use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::{Connection, Context, Endpoint, Error, ErrorKind, Result};

/// A loopback port of this machine that leads to a port or socket as a host sees it. Ends when it is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Forward {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Opens a loopback port and forwards what connects to it through the connection.
///
/// A service that does not answer there is *not* an error: what connects is closed then, as without the detour.
///
/// # Errors
///
/// [`Internal`](ErrorKind::Internal): this machine has no free port.
pub async fn forward(cx: &Context, connection: Arc<dyn Connection>, to: Endpoint) -> Result<Forward> {
    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Internal, "towpath", "forward", "there is no free port on this machine")
            .with("host", connection.host())
            .caused_by(e)
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (cx, connection) = (cx.clone(), Arc::clone(&connection));
    let accepting = tokio::spawn(async move {
        // Connections end with the port.
        let mut open = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((mut near, _)) = accepted else { continue };
                    let (cx, connection, to) = (cx.clone(), Arc::clone(&connection), to.clone());
                    open.spawn(async move {
                        if let Ok(mut far) = connection.dial(&cx, &to).await {
                            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                        }
                    });
                }
                Some(_) = open.join_next() => {}
            }
        }
    });
    Ok(Forward { address, _accepting: AbortOnDropHandle::new(accepting) })
}
