//! The service that is rolled out: this program again, as `rolling_haproxy serve`. A release can be bad in a dozen ways.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What can be wrong with a release, and what a newcomer would call it.
pub(crate) const FAULTS: [(&str, &str); 12] = [
    ("exits", "exits at start"),
    ("config", "does not like its configuration, and exits after a while"),
    ("silent", "runs, and never listens"),
    ("port", "listens on the wrong port"),
    ("500", "answers everything with 500"),
    ("slow", "takes 5 s for an answer"),
    ("hangs", "accepts connections and never answers"),
    ("disk", "its disk is full"),
    ("old", "is still the former version"),
    ("flaps", "is well every other time"),
    ("load", "answers 500 once it gets real requests"),
    ("dies", "leaks, and dies a second after real requests begin"),
];

struct Service {
    version: String,
    fault: String,
    seen: AtomicU64,
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Serves until SIGTERM; requests that are under way are answered first.
pub(crate) async fn serve() -> std::io::Result<()> {
    let mut port: u16 = variable("PORT", "8080").parse().map_err(std::io::Error::other)?;
    let (version, fault) = (variable("VERSION", "v0"), variable("FAULT", ""));
    let mut terminate = signal(SignalKind::terminate())?;
    match fault.as_str() {
        "exits" => return Err(std::io::Error::other("a library is missing")),
        "config" => {
            tokio::time::sleep(Duration::from_millis(150)).await;
            return Err(std::io::Error::other("line 3: unknown setting `prot`"));
        }
        "silent" => {
            terminate.recv().await;
            return Ok(());
        }
        "port" => port = port.wrapping_sub(1000),
        // The kernel's own answer to a write on a full disk.
        "disk" => std::fs::write("/dev/full", "state").or_else(|e| say(&e.to_string()))?,
        _ => {}
    }
    let service = Arc::new(Service { version, fault, seen: AtomicU64::new(0) });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream?.0,
            _ = terminate.recv() => break,
        };
        let service = Arc::clone(&service);
        let answer = service_fn(move |request| {
            let service = Arc::clone(&service);
            async move { Ok::<_, Infallible>(service.answer(&request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        let connection = graceful.watch(connection);
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    // Some faults never answer; nobody waits for them.
    let _ = tokio::time::timeout(Duration::from_secs(2), graceful.shutdown()).await;
    Ok(())
}

impl Service {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let real = request.uri().path() != "/healthz";
        let seen = if real { self.seen.fetch_add(1, Ordering::Relaxed) } else { self.seen.load(Ordering::Relaxed) };
        let mut well = true;
        match self.fault.as_str() {
            "500" | "disk" => well = false,
            "slow" => tokio::time::sleep(Duration::from_secs(5)).await,
            "hangs" => std::future::pending().await,
            "flaps" => well = self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
            "load" => well = !real || seen < 20,
            "dies" if seen > 0 => {
                // The memory is used up a while after the first real request.
                tokio::spawn(async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    std::process::exit(137);
                });
            }
            _ => {}
        }
        let version = if self.fault == "old" { "v0" } else { self.version.as_str() };
        let mut response = Response::new(Full::new(Bytes::from(format!("ok {version}"))));
        if !well {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }
}

/// The service's log is its standard output.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}
