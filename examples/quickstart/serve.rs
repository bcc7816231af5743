//! The web service that the quickstart deploys: this program again, as `quickstart serve`.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What a release sets: `VERSION`, `HEALTH` (`ok` if not set); and what the host's settings set: `PORT`.
struct Service {
    version: String,
    healthy: bool,
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Serves until SIGTERM; requests that are under way are answered first.
pub(crate) async fn serve() -> std::io::Result<()> {
    let port: u16 = variable("PORT", "8080").parse().map_err(std::io::Error::other)?;
    let service = Arc::new(Service { version: variable("VERSION", "v0"), healthy: variable("HEALTH", "ok") == "ok" });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    say(&format!("{} listens on port {port}", service.version));
    let graceful = GracefulShutdown::new();
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream?.0,
            _ = terminate.recv() => break,
        };
        let service = Arc::clone(&service);
        let answer = service_fn(move |request| {
            let service = Arc::clone(&service);
            async move { Ok::<_, Infallible>(service.answer(&request)) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        let connection = graceful.watch(connection);
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    graceful.shutdown().await;
    say(&format!("{} has stopped", service.version));
    Ok(())
}

impl Service {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match request.uri().path() {
            "/" => (200, self.version.clone()),
            "/healthz" if self.healthy => (200, format!("ok {}", self.version)),
            "/healthz" => (500, format!("{} can't reach its database", self.version)),
            _ => (404, "not found".to_owned()),
        };
        if status != 200 {
            say(&format!("{} {} -> {status}", request.method(), request.uri().path()));
        }
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        response
    }
}

/// The service's log is its standard output.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
