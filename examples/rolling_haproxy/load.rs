//! Requests at a steady rate, whatever the answers take: half of the clients keep their connection, half make a new one each time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: u32 = 64;

/// What was sent so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
}

impl std::ops::Sub for Count {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self { sent: self.sent - earlier.sent, failed: self.failed - earlier.failed }
    }
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
    reasons: Mutex<BTreeMap<String, u64>>,
}

/// The clients. They send until this is ended.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    from: Instant,
}

impl Load {
    pub(crate) fn start(address: &str, per_second: u32) -> Self {
        let (shared, from) = (Arc::new(Shared::default()), Instant::now());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(Arc::clone(&shared), address.to_owned(), number, per_second, from));
        }
        Self { shared, clients, from }
    }

    pub(crate) fn count(&self) -> Count {
        let (sent, failed) = (&self.shared.sent, &self.shared.failed);
        Count { sent: sent.load(Ordering::Relaxed), failed: failed.load(Ordering::Relaxed) }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count().sent as f64 / self.from.elapsed().as_secs_f64()
    }

    /// Why requests failed, since this was asked last.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.shared.reasons.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends every client between two requests.
    pub(crate) async fn end(mut self) -> Count {
        self.shared.over.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.count()
    }
}

type Client = SendRequest<Empty<Bytes>>;

async fn client(shared: Arc<Shared>, address: String, number: u32, per_second: u32, from: Instant) {
    let pause = Duration::from_secs(1) * CLIENTS / per_second;
    let mut next = from + pause * number / CLIENTS;
    let keeps = number.is_multiple_of(2);
    let mut connection = None;
    while !shared.over.load(Ordering::Relaxed) {
        tokio::time::sleep_until(next.into()).await;
        next += pause;
        let sent = tokio::time::timeout(Duration::from_secs(10), request(&address, &mut connection)).await;
        shared.sent.fetch_add(1, Ordering::Relaxed);
        let failure = match sent {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_) => Some("no answer within 10 s".to_owned()),
        };
        if let Some(why) = failure {
            shared.failed.fetch_add(1, Ordering::Relaxed);
            *shared.reasons.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
            connection = None;
        }
        if !keeps {
            connection = None;
        }
    }
}

async fn request(address: &str, connection: &mut Option<Client>) -> Result<(), String> {
    let mut client = match connection.take().filter(|c| !c.is_closed()) {
        Some(client) => client,
        None => {
            let stream = TcpStream::connect(address).await.map_err(|e| format!("connect: {e}"))?;
            let (client, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            tokio::spawn(async move { drop(driver.await) });
            client
        }
    };
    let get = Request::get("/").header("host", address).body(Empty::new()).map_err(|e| e.to_string())?;
    client.ready().await.map_err(|e| e.to_string())?;
    let response = client.send_request(get).await.map_err(|e| e.to_string())?;
    let status = response.status();
    response.into_body().collect().await.map_err(|e| e.to_string())?;
    *connection = Some(client);
    if status.is_success() { Ok(()) } else { Err(format!("HTTP {}", status.as_u16())) }
}
