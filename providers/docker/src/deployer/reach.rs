//! The ways to a target: to its engine, and to what listens on it.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use towpath_core::{Connection, Context, Endpoint, Error, ErrorKind, Result, Stream, Target};

use super::config::DockerDeployConfig;
use crate::PROVIDER;
use crate::dialled;
use crate::engine::{Engine, Engines};

/// A target whose engine has answered.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) target: &'a Target,
    pub(super) engine: Engine,
    /// `None`: the engine is reached from this machine.
    connection: Option<Arc<dyn Connection>>,
}

impl<'a> Place<'a> {
    pub(super) async fn reach(
        cx: &Context,
        operation: &'static str,
        engines: &Engines,
        config: &DockerDeployConfig,
        target: &'a Target,
    ) -> Result<Self> {
        cx.check(PROVIDER, operation)?;
        let named = |e: Error| e.with_missing("host", &target.host.name);
        if config.host.is_some() {
            let engine = engines.get(cx, operation, config.host.as_deref()).await.map_err(named)?;
            return Ok(Self { target, engine, connection: None });
        }
        let connection = target.connector.connect(cx, &target.host).await?;
        let engine = dialled::engine(cx, operation, &connection, &config.socket).await.map_err(named)?;
        Ok(Self { target, engine, connection: Some(connection) })
    }

    pub(super) fn host(&self) -> &str {
        &self.target.host.name
    }

    /// The connection to the target, for what is no business of its engine.
    pub(super) async fn connection(&self, cx: &Context) -> Result<Arc<dyn Connection>> {
        match &self.connection {
            Some(connection) => Ok(Arc::clone(connection)),
            None => self.target.connector.connect(cx, &self.target.host).await,
        }
    }

    /// Opens a port as seen from the machine of the engine.
    pub(super) async fn dial(&self, cx: &Context, address: &str, port: u16) -> Result<Box<dyn Stream>> {
        if let Some(connection) = &self.connection {
            return connection.dial(cx, &Endpoint::Tcp(address.to_owned(), port)).await;
        }
        // An engine that is reached over TCP may be on another machine, whose loopback nobody reaches from here.
        let machine = self.engine.address.strip_prefix("tcp://").and_then(|a| a.rsplit_once(':')).map(|(host, _)| host);
        let address = machine.filter(|_| address == "127.0.0.1").unwrap_or(address);
        let opened = TcpStream::connect((address.trim_matches(['[', ']']), port)).await;
        opened.map(|s| Box::new(s) as Box<dyn Stream>).map_err(|e| refused(address, port, e))
    }
}

fn refused(address: &str, port: u16, e: io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, PROVIDER, "dial", "nobody listens there")
        .with("to", format!("{address}:{port}"))
        .caused_by(e)
}
