use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderMap, LOCATION, SET_COOKIE};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Json, Result, Secret};

use crate::net::Net;
use crate::provider::STRIDER;
use crate::{StriderConfig, reply};

/// A job carries its whole output. More than this is no job.
pub(crate) const LARGEST: usize = 64 << 20;

/// Asks the server, with a deadline for every answer. Redirects are not followed.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) net: Net,
    user: String,
    password: towpath_core::SecretRef,
    pub(crate) timeout: Duration,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// The server's clock.
    pub(crate) date: Option<DateTime<Utc>>,
    pub(crate) body: Bytes,
}

/// Bodies may hold what nobody should see.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}

impl Client {
    pub(crate) fn new(net: Net, config: &StriderConfig) -> Self {
        let timeout = Duration::from_secs(config.timeout_s.into());
        Self { net, user: config.user.clone(), password: config.password.clone(), timeout }
    }

    /// Says where an error happened.
    pub(crate) fn placed(&self, error: Error) -> Error {
        error.with_missing("server", self.net.address.shown())
    }

    /// Asks something, and gives whatever is answered but a failed login.
    pub(crate) async fn ask(
        &self,
        cx: &Context,
        operation: &'static str,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<Reply> {
        let password = cx.resolve(&self.password).await?;
        let pair = format!("{}:{}", self.user, password.expose());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let mut request = self.request(method, path, body)?;
        let mut value = hyper::header::HeaderValue::try_from(basic)
            .map_err(|_| invalid("`user` or `password` can't stand in a header"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        let send = async {
            let (head, body) = self.send(operation, request, true).await?;
            Ok(Reply {
                status: head.0,
                location: text(&head.1, &LOCATION),
                date: text(&head.1, &DATE)
                    .and_then(|d| DateTime::parse_from_rfc2822(&d).ok())
                    .map(|d| d.with_timezone(&Utc)),
                body,
            })
        };
        let reply = cx.guard(STRIDER, operation, self.in_time(operation, path, send)).await;
        let reply = reply.map_err(|e| self.placed(e))?;
        reply::denied(&reply, operation).map_or(Ok(reply), |e| Err(self.placed(e).with("user", &self.user)))
    }

    /// Asks the server's state; needs no login.
    pub(crate) async fn status(&self, cx: &Context) -> Result<Json> {
        let request = self.request(Method::GET, "/status", None)?;
        let send = async {
            let (head, body) = self.send("preflight", request, true).await?;
            reply::json(head.0, &body, "preflight")
        };
        cx.guard(STRIDER, "preflight", self.in_time("preflight", "/status", send)).await.map_err(|e| self.placed(e))
    }

    /// Logs in for the websocket, which knows no Basic authentication. Gives the value of the cookie header.
    ///
    /// The answer's body holds the user's salt and hash: it is not even read.
    pub(crate) async fn log_in(&self, cx: &Context, operation: &'static str) -> Result<Secret> {
        let password = cx.resolve(&self.password).await?;
        let body = json!({ "email": self.user, "password": password.expose() });
        let request = self.request(Method::POST, "/api/session", Some(&body))?;
        let send = async {
            let (head, _) = self.send(operation, request, false).await?;
            // A wrong pair is a 404 here.
            if matches!(head.0, 401 | 403 | 404) {
                return Err(reply::wrong_pair(operation, head.0).with("user", &self.user));
            }
            if head.0 != 200 {
                return Err(reply::unexpected(head.0, operation, "the login"));
            }
            let cookies = head.1.get_all(SET_COOKIE).iter().filter_map(|c| c.to_str().ok());
            let session = cookies.filter_map(|c| c.split(';').next()).find(|c| c.starts_with("connect.sid="));
            session.map(Secret::new).ok_or_else(|| {
                Error::new(ErrorKind::Protocol, STRIDER, operation, "the login was taken, but no session cookie came")
            })
        };
        let cookie = cx.guard(STRIDER, operation, self.in_time(operation, "/api/session", send)).await;
        let cookie = cookie.map_err(|e| self.placed(e))?;
        cx.learn_secret(&cookie);
        if let Some((_, value)) = cookie.expose().split_once('=') {
            cx.learn_secret(&Secret::new(value));
        }
        Ok(cookie)
    }

    fn request(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Request<Full<Bytes>>> {
        let address = &self.net.address;
        let builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", address.base))
            .header(HOST, &address.authority)
            // Routes of pages answer JSON to those who ask for it.
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        let body = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
        builder.body(Full::new(body)).map_err(|e| invalid("the request can't be written").caused_by(e))
    }

    /// One connection for each request: there are few, and none is held over a server's restart.
    async fn send(
        &self,
        operation: &'static str,
        request: Request<Full<Bytes>>,
        read: bool,
    ) -> Result<((u16, HeaderMap), Bytes)> {
        let unreachable = |what: &str| {
            Error::new(ErrorKind::Unreachable, STRIDER, operation, format!("{what}; is it up, and the address right?"))
                .retry_later()
        };
        let stream =
            self.net.dial().await.map_err(|e| match e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(_)) => Error::new(
                    ErrorKind::Denied,
                    STRIDER,
                    operation,
                    "the server's certificate is not trusted: give the certificate of its authority as `ca_file`",
                )
                .caused_by(e),
                _ => unreachable("the server can't be reached").caused_by(e),
            })?;
        let broken = |e: hyper::Error| unreachable("the connection to the server broke").caused_by(e);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let _driven = Driven(tokio::spawn(async move {
            // Its error is the request's, too.
            let _ = connection.await;
        }));
        let reply = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = reply.into_parts();
        let head = (head.status.as_u16(), head.headers);
        if !read {
            return Ok((head, Bytes::new()));
        }
        let body = Limited::new(body, LARGEST).collect().await.map_err(|e| {
            Error::new(ErrorKind::Protocol, STRIDER, operation, "an answer broke off, or is far too long")
                .retry_later()
                .caused_by(e)
        })?;
        Ok((head, body.to_bytes()))
    }

    async fn in_time<T>(
        &self,
        operation: &'static str,
        path: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let message = format!("the server gave no answer within {} s (`timeout_s`)", self.timeout.as_secs());
            Err(Error::new(ErrorKind::Timeout, STRIDER, operation, message).with("path", path).retry_later())
        })
    }
}

/// A connection's work, which ends with the interest in it.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, STRIDER, "config", message)
}

fn text(headers: &HeaderMap, name: &hyper::header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}
