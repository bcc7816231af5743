//! HTTP mode: one backend per request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1 as client;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::pool::{Pool, Turn};

/// A request's body: kept, so that it can be sent again, or passed through.
type Outgoing = Either<Full<Bytes>, Incoming>;
/// A connection to a backend.
pub(super) type Sender = client::SendRequest<Outgoing>;

/// A body of an idempotent request up to this size is kept for a second attempt.
const KEPT_BYTES: u64 = 64 << 10;

/// Headers that concern one connection only. Source: RFC 9110, section 7.6.1.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
];

/// Serves one client connection.
pub(super) async fn serve(pool: Arc<Pool>, stream: TcpStream, peer: SocketAddr) {
    let service = service_fn(move |request| {
        let pool = Arc::clone(&pool);
        async move { Ok::<_, Infallible>(forward(pool, request, peer).await) }
    });
    // No limit on waiting for a header: it would close connections that clients keep, just when one sends a request.
    let _ = server::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn forward(pool: Arc<Pool>, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Answer> {
    pool.counts.requests.fetch_add(1, Ordering::SeqCst);
    let upgrade = wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let mut parcel = match Parcel::take(request, peer, upgrade.is_some()).await {
        Ok(parcel) => parcel,
        Err(why) => return plain(StatusCode::BAD_REQUEST, why),
    };
    let until = tokio::time::Instant::now() + pool.hold();
    let mut tried = Vec::new();
    let mut last = "no backend is in service".to_owned();
    loop {
        let Some(turn) = pool.next(&tried) else {
            if tokio::time::Instant::now() >= until {
                pool.counts.failed.fetch_add(1, Ordering::SeqCst);
                return plain(StatusCode::SERVICE_UNAVAILABLE, &last);
            }
            tried.clear();
            pool.pause().await;
            continue;
        };
        match attempt(&turn, &mut parcel).await {
            Ok((response, sender)) => {
                turn.served();
                return match upgrade {
                    Some(client) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                        switch(response, client, turn)
                    }
                    _ => answer(response, sender, turn),
                };
            }
            Err(Failed { why, again }) => {
                last = format!("{}: {why}", turn.backend.name);
                if !again {
                    pool.counts.failed.fetch_add(1, Ordering::SeqCst);
                    return plain(StatusCode::BAD_GATEWAY, &last);
                }
                pool.counts.retried.fetch_add(1, Ordering::SeqCst);
                tried.push(Arc::clone(&turn.live));
            }
        }
    }
}

/// A request that waits for a backend.
struct Parcel {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Payload,
}

enum Payload {
    /// May be sent as often as wanted.
    Kept(Bytes),
    /// May be sent once.
    Once(Option<Incoming>),
}

impl Parcel {
    async fn take(request: Request<Incoming>, peer: SocketAddr, upgrade: bool) -> Result<Self, &'static str> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri: Uri = path.parse().map_err(|_| "a path that can't be forwarded")?;
        let mut headers = parts.headers;
        strip(&mut headers, upgrade);
        let mut chain = headers.get("x-forwarded-for").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        if !chain.is_empty() {
            chain.push_str(", ");
        }
        chain.push_str(&peer.ip().to_string());
        if let Ok(value) = HeaderValue::from_str(&chain) {
            headers.insert("x-forwarded-for", value);
        }
        let body = if body.is_end_stream() {
            Payload::Kept(Bytes::new())
        } else if parts.method.is_idempotent() && body.size_hint().upper().is_some_and(|n| n <= KEPT_BYTES) {
            Payload::Kept(body.collect().await.map_err(|_| "the body broke off")?.to_bytes())
        } else {
            Payload::Once(Some(body))
        };
        Ok(Self { method: parts.method, uri, headers, body })
    }

    /// Whether sending it twice does no harm: by the method's definition, and since its body is there still.
    fn repeatable(&self) -> bool {
        self.method.is_idempotent() && matches!(self.body, Payload::Kept(_))
    }

    fn request(&mut self) -> Option<Request<Outgoing>> {
        let body = match &mut self.body {
            Payload::Kept(bytes) => Either::Left(Full::new(bytes.clone())),
            Payload::Once(body) => Either::Right(body.take()?),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        Some(request)
    }

    /// Takes back what was never sent.
    fn put_back(&mut self, request: Request<Outgoing>) {
        if let (Payload::Once(slot), Either::Right(body)) = (&mut self.body, request.into_body()) {
            *slot = Some(body);
        }
    }
}

struct Failed {
    why: String,
    /// Whether the request may go to another backend.
    again: bool,
}

async fn attempt(turn: &Turn, parcel: &mut Parcel) -> Result<(Response<Incoming>, Sender), Failed> {
    // A kept connection may be closed by the backend just now. Only what may be sent twice is risked on it.
    let kept = if parcel.repeatable() { turn.reuse() } else { None };
    let mut sender = match kept {
        Some(sender) => sender,
        None => {
            let failed = |e: &dyn std::fmt::Display| Failed { why: e.to_string(), again: true };
            let stream = turn.connect().await.map_err(|e| failed(&e))?;
            let (sender, connection) = client::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
            tokio::spawn(connection.with_upgrades());
            sender
        }
    };
    let Some(request) = parcel.request() else {
        return Err(Failed { why: "its body was sent already".into(), again: false });
    };
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, sender)),
        Err(mut e) => {
            let unsent = e.take_message();
            let again = unsent.is_some() || parcel.repeatable();
            if let Some(request) = unsent {
                parcel.put_back(request);
            }
            Err(Failed { why: e.into_error().to_string(), again })
        }
    }
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && names(headers).iter().any(|n| n.eq_ignore_ascii_case("upgrade"))
}

/// The names in `Connection`.
fn names(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|n| n.trim().to_owned()).collect()
}

fn strip(headers: &mut HeaderMap, upgrade: bool) {
    let protocol = headers.get(header::UPGRADE).cloned();
    for name in names(headers) {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if let (true, Some(protocol)) = (upgrade, protocol) {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// An answer's body. Its backend counts as busy until it is over, then the connection is free for another request.
pub(super) enum Answer {
    Passed { body: Incoming, hold: Option<(Turn, Sender)> },
    Own(Full<Bytes>),
    Nothing(Empty<Bytes>),
}

fn answer(response: Response<Incoming>, sender: Sender, turn: Turn) -> Response<Answer> {
    let (mut parts, body) = response.into_parts();
    strip(&mut parts.headers, false);
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, Answer::Passed { body, hold: Some((turn, sender)) })
}

fn plain(status: StatusCode, why: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::Own(Full::new(Bytes::from(format!("towpath balancer: {why}\n")))));
    *response.status_mut() = status;
    response
}

/// Joins both ends after `101 Switching Protocols`.
fn switch(response: Response<Incoming>, client: hyper::upgrade::OnUpgrade, turn: Turn) -> Response<Answer> {
    let mut headers = response.headers().clone();
    strip(&mut headers, true);
    tokio::spawn(async move {
        let (Ok(client), Ok(backend)) = (client.await, hyper::upgrade::on(response).await) else { return };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
        drop(turn);
    });
    let mut switched = Response::new(Answer::Nothing(Empty::new()));
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *switched.headers_mut() = headers;
    switched
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Passed { body, hold } => {
                let polled = Pin::new(body).poll_frame(cx);
                if let Poll::Ready(None) = polled {
                    finish(hold);
                }
                polled
            }
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Nothing(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passed { body, .. } => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
            Self::Nothing(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passed { body, .. } => body.size_hint(),
            Self::Own(body) => body.size_hint(),
            Self::Nothing(body) => body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Self::Passed { body, hold } = self {
            // An answer that is whole leaves the connection usable; one that the client gave up on does not.
            if body.is_end_stream() {
                finish(hold);
            }
        }
    }
}

fn finish(hold: &mut Option<(Turn, Sender)>) {
    if let Some((turn, sender)) = hold.take() {
        turn.give_back(sender);
    }
}
