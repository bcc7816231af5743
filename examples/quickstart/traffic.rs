//! Requests, all the time, while releases roll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use towpath::pipeline::{OutputKind, Values};
use towpath::{Context, Error, ErrorKind, Event, EventKind, Json, Registry, Result};

/// Clients that send at the same time, each on a connection of its own.
const CLIENTS: u64 = 8;
/// Requests a second, over all clients.
const RATE: u64 = 400;
/// Even a run that has nothing to deploy sends this long.
const LEAST: Duration = Duration::from_millis(1500);

/// What the clients have seen so far, and when they shall stop.
#[derive(Debug)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    failed: AtomicU64,
    over: watch::Sender<bool>,
}

impl Traffic {
    /// Sends until the step `last` is over.
    pub(crate) fn until(last: &'static str) -> (Arc<Self>, impl Fn(&Event) + Send + Sync) {
        let this = Arc::new(Self { sent: 0.into(), failed: 0.into(), over: watch::Sender::new(false) });
        let listener = Arc::clone(&this);
        let stop = move |event: &Event| {
            // A step that an earlier process has finished is told, too, when the run goes on.
            if matches!(event.kind, EventKind::StepFinished { .. }) && event.step.as_deref() == Some(last) {
                listener.over.send_replace(true);
            }
        };
        (this, stop)
    }

    /// Adds the steps `traffic/v1` and `under-load/v1`.
    pub(crate) fn register(self: &Arc<Self>, registry: &mut Registry) {
        let traffic = Arc::clone(self);
        registry
            .function("traffic/v1", move |cx: Context, inputs: Values| {
                let traffic = Arc::clone(&traffic);
                async move {
                    let address = inputs.get("balancer").and_then(Json::as_str).unwrap_or_default().to_owned();
                    // Requests change nothing, so an interrupted round is simply sent again.
                    cx.effect_idempotent("send", json!({ "to": address }), |cx| async move {
                        traffic.send(&cx, &address).await
                    })
                    .await
                }
            })
            .output("sent", OutputKind::Number)
            .output("failed", OutputKind::Number)
            .output("per_second", OutputKind::Number);
        let traffic = Arc::clone(self);
        registry.function("under-load/v1", move |cx: Context, _: Values| {
            let traffic = Arc::clone(&traffic);
            async move {
                while traffic.sent.load(Ordering::Relaxed) < 100 && !*traffic.over.borrow() {
                    cx.sleep("quickstart", "wait for load", Duration::from_millis(10)).await?;
                }
                Ok(Values::new())
            }
        });
    }

    async fn send(self: &Arc<Self>, cx: &Context, address: &str) -> Result<Values> {
        let from = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|i| {
                let (this, address) = (Arc::clone(self), address.to_owned());
                tokio::spawn(async move { this.client(&address, i, from).await })
            })
            .collect();
        let mut over = self.over.subscribe();
        let ended = async {
            tokio::time::sleep(LEAST).await;
            let _ = over.wait_for(|over| *over).await;
        };
        let ended = tokio::select! {
            () = ended => true,
            () = cx.cancelled() => false,
        };
        if !ended {
            clients.iter().for_each(tokio::task::JoinHandle::abort);
            return Err(Error::new(ErrorKind::Cancelled, "quickstart", "traffic", "cancelled"));
        }
        // No request is torn: each client ends between two of them.
        self.over.send_replace(true);
        for client in clients {
            let _ = client.await;
        }
        let (sent, failed) = (self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let seconds = from.elapsed().as_secs_f64();
        cx.emit(EventKind::Progress { message: format!("{sent} requests, {failed} failed"), done: None, total: None });
        let numbers = [("sent", json!(sent)), ("failed", json!(failed)), ("per_second", json!(sent as f64 / seconds))];
        Ok(numbers.into_iter().map(|(name, n)| (name.to_owned(), n)).collect())
    }

    async fn client(&self, address: &str, number: u64, from: Instant) {
        let pause = Duration::from_micros(1_000_000 * CLIENTS / RATE);
        let mut next = from + pause * u32::try_from(number).unwrap_or_default() / u32::try_from(CLIENTS).unwrap_or(1);
        let mut connection = None;
        while !(*self.over.borrow() && from.elapsed() >= LEAST) {
            tokio::time::sleep_until(next.into()).await;
            next += pause;
            let sent = tokio::time::timeout(Duration::from_secs(10), request(address, &mut connection)).await;
            self.sent.fetch_add(1, Ordering::Relaxed);
            if !matches!(sent, Ok(Ok(()))) {
                self.failed.fetch_add(1, Ordering::Relaxed);
                connection = None;
            }
        }
    }
}

type Client = SendRequest<Empty<Bytes>>;

async fn request(address: &str, connection: &mut Option<Client>) -> std::result::Result<(), String> {
    let mut client = match connection.take().filter(|c| !c.is_closed()) {
        Some(client) => client,
        None => {
            let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
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
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

/// The service's answer to one request.
pub(crate) async fn get(address: &str) -> std::result::Result<String, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (mut client, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move { drop(driver.await) });
    let get = Request::get("/").header("host", address).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let response = client.send_request(get).await.map_err(|e| e.to_string())?;
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
