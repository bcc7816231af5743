//! An engine whose socket somebody else opens: one on another host, reached through the connection to it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bollard::errors::Error as EngineError;
use bollard::{BollardRequest, Docker};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use towpath_core::{Connection, Context, Endpoint, Result};

use crate::engine::{Engine, LONGEST_S, agree};
use crate::errors::carry;

/// Opens a stream for each request: a request may hold its stream for as long as an image takes.
#[derive(Clone)]
struct Dialled {
    cx: Context,
    connection: Arc<dyn Connection>,
    socket: Arc<str>,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").field("host", &self.connection.host()).field("socket", &self.socket).finish()
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, EngineError>> + Send>>;

impl Dialled {
    fn request(&self, mut request: BollardRequest) -> Answer {
        let to = self.clone();
        Box::pin(async move {
            // As a server expects it: the path alone, and the host beside it.
            let path = request.uri().path_and_query().map_or("/", |p| p.as_str()).parse::<Uri>()?;
            *request.uri_mut() = path;
            request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
            let endpoint = Endpoint::Unix(to.socket.to_string());
            let stream = to.connection.dial(&to.cx, &endpoint).await.map_err(carry)?;
            let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the answer's body, whether that was read or dropped.
            tokio::spawn(driver.with_upgrades());
            Ok(sender.send_request(request).await?)
        })
    }
}

/// Reaches the engine behind a socket of the connection's host, and agrees with it on a version.
pub(crate) async fn engine(
    cx: &Context,
    operation: &'static str,
    connection: &Arc<dyn Connection>,
    socket: &str,
) -> Result<Engine> {
    // Who waits for an answer looks at the context; what undoes something after a cancel still reaches the engine.
    let dialled = Dialled { cx: cx.shielded(), connection: Arc::clone(connection), socket: socket.into() };
    let client = |version: &bollard::ClientVersion| {
        let dialled = dialled.clone();
        let transport = move |request| dialled.request(request);
        Docker::connect_with_custom_transport(transport, Some("http://docker"), LONGEST_S, version)
    };
    let address = format!("unix://{socket} on {}", connection.host());
    agree(cx, operation, &address, client).await.map_err(|e| e.with_missing("host", connection.host()))
}
