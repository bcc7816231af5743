use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use towpath_core::{Context, Error, ErrorKind, Result, Secret, SecretRef};

use crate::provider::STRIDER;
use crate::{Push, verify};

const DO: &str = "webhook";

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 32;

/// Pushes that wait for their turn; for more the sender gets a 503.
const WAITING: usize = 64;

/// Longest time for a request to arrive whole.
const PATIENCE: Duration = Duration::from_secs(10);

/// Settings of a [`WebhookListener`].
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Where it listens: `127.0.0.1:9100`, behind a proxy that speaks TLS. Port 0 takes a free one.
    pub address: SocketAddr,
    /// The path that takes webhooks. `/` by default.
    pub path: String,
    /// The secret that signs them.
    pub secret: SecretRef,
    /// Largest body, in bytes. 5 MiB by default; GitHub's largest is 25 MiB.
    pub max_body_bytes: usize,
}

impl WebhookConfig {
    /// Takes webhooks at `/` of this address.
    pub fn new(address: SocketAddr, secret: SecretRef) -> Self {
        Self { address, path: "/".to_owned(), secret, max_body_bytes: 5 << 20 }
    }
}

/// Listens for webhooks, and hands over those whose signature fits.
///
/// It answers before the work is done, as senders give up soon: 204 for a push that was taken, and for a signed one that is no push; 401 for a
/// signature that does not fit, 400 for a body that makes no sense, 413 for one that is too large, 503 while too many wait.
#[derive(Debug)]
pub struct WebhookListener {
    address: SocketAddr,
    /// Ends with this, and the connections with it.
    accepting: JoinSet<()>,
    pushes: mpsc::Receiver<Push>,
}

#[derive(Debug)]
struct Gate {
    path: String,
    secret: Secret,
    max_body_bytes: usize,
    pushes: mpsc::Sender<Push>,
}

impl WebhookListener {
    /// Binds the address and listens: what comes waits for [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict): the address can't be bound. [`InvalidInput`](ErrorKind::InvalidInput): the secret is empty, or the
    /// path does not begin with `/`. Those of resolving the secret.
    pub async fn bind(cx: &Context, config: WebhookConfig) -> Result<Self> {
        let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidInput, STRIDER, DO, message));
        if !config.path.starts_with('/') {
            return invalid("the path must begin with `/`");
        }
        let secret = cx.resolve(&config.secret).await?;
        if secret.expose().is_empty() {
            return invalid("the secret is empty, so everybody could sign");
        }
        let taken = |e| {
            Error::new(ErrorKind::Conflict, STRIDER, DO, "the address can't be listened on: is it another program's?")
                .with("address", config.address)
                .caused_by(e)
        };
        let listener = TcpListener::bind(config.address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let (sender, pushes) = mpsc::channel(WAITING);
        let gate = Gate { path: config.path, secret, max_body_bytes: config.max_body_bytes, pushes: sender };
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::new(gate)));
        Ok(Self { address, accepting, pushes })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next push, in the order in which they came; `None`: `cx` was cancelled. Losing interest in it loses none.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal): it does not listen any more.
    pub async fn next(&mut self, cx: &Context) -> Result<Option<Push>> {
        tokio::select! {
            biased;
            () = cx.cancelled() => Ok(None),
            push = self.pushes.recv() => match push {
                Some(push) => Ok(Some(push)),
                None => Err(Error::new(ErrorKind::Internal, STRIDER, DO, "the listener ended")),
            },
        }
    }

    /// Hands one push after another to `on_push`, until `cx` is cancelled or `on_push` fails; then it listens no more.
    ///
    /// # Errors
    ///
    /// Those of `on_push`. A cancel is no error.
    pub async fn serve<F, Fut>(mut self, cx: &Context, mut on_push: F) -> Result<()>
    where
        F: FnMut(Push) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let served = loop {
            let handled = match self.next(cx).await {
                Ok(Some(push)) => on_push(push).await,
                Ok(None) => break Ok(()),
                Err(e) => Err(e),
            };
            if let Err(e) = handled {
                break Err(e);
            }
        };
        self.close().await;
        served
    }

    /// Stops listening. When it returns the address is free and no connection is left.
    pub async fn close(mut self) {
        self.accepting.shutdown().await;
    }
}

async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let gate = Arc::clone(&gate);
                connections.spawn(async move {
                    // Whoever is slow or breaks off is their own loss.
                    let _ = tokio::time::timeout(PATIENCE * 2, connection(stream, gate)).await;
                    drop(permit);
                });
            }
            // No file descriptors left, or a client that was gone already: neither is helped by trying at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, gate: Arc<Gate>) {
    let service = hyper::service::service_fn(move |request| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, Infallible>(answer(&gate, request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(gate: &Gate, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match take(gate, request).await {
        Ok(()) => (StatusCode::NO_CONTENT, String::new()),
        Err((status, text)) => (status, format!("{text}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

async fn take(gate: &Gate, request: Request<Incoming>) -> Result<(), (StatusCode, String)> {
    let refuse = |status, text: &str| Err((status, text.to_owned()));
    if request.uri().path() != gate.path {
        return refuse(StatusCode::NOT_FOUND, "no webhooks here");
    }
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "webhooks are posted");
    }
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(PATIENCE, Limited::new(body, gate.max_body_bytes).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the body broke off"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let headers: Vec<(&str, &str)> =
        head.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    match verify(&headers, &body, &gate.secret) {
        Ok(push) => gate
            .pushes
            .try_send(push)
            .map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "too many pushes wait: send it again later".to_owned())),
        Err(e) => match e.kind() {
            ErrorKind::Denied => Err((StatusCode::UNAUTHORIZED, e.message().to_owned())),
            ErrorKind::Unsupported => Ok(()),
            _ => Err((StatusCode::BAD_REQUEST, e.message().to_owned())),
        },
    }
}
