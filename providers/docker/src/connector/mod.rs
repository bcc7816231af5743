//! The connector `docker`: commands and files of a container, through the engine's exec.

mod dial;
mod exec;
mod files;
mod process;
mod running;
mod start;

use std::sync::Arc;

use async_trait::async_trait;
use bollard::models::ContainerInspectResponse;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use towpath_core::pipeline::{ProviderSpec, nearest};
use towpath_core::posix::Input;
use towpath_core::{
    BecomeSpec, Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, Host, Json,
    Preflight, Process, PutOptions, RemoteGroup, Result, Source, Stream,
};

use crate::PROVIDER;
use crate::engine::{Engines, address, check_address, is_name};
use exec::Place;

/// Settings of the connector `docker`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DockerConnectorConfig {
    /// Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by default, else
    /// `unix:///var/run/docker.sock`. A host's `connection.options.host` wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Reaches containers through their engine. Clones share what they know of engines.
#[derive(Debug, Clone, Default)]
pub struct DockerConnector {
    config: DockerConnectorConfig,
    engines: Engines,
}

impl DockerConnector {
    /// Makes a connector; connects nowhere.
    pub fn new(config: DockerConnectorConfig) -> Self {
        Self { config, engines: Engines::default() }
    }
}

impl From<DockerConnectorConfig> for ProviderSpec<dyn Connector> {
    fn from(config: DockerConnectorConfig) -> Self {
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

/// What a host says about its engine and container, checked.
fn settings<'a>(config: &'a DockerConnectorConfig, host: &'a Host) -> Result<(Option<&'a str>, &'a str)> {
    let spec = &host.connection;
    let refuse = |message: String| {
        Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", message).with("host", &host.name))
    };
    if spec.kind != PROVIDER {
        return refuse(format!("the host is not a container: its kind of connection is `{}`", spec.kind));
    }
    if let Some(key) = spec.options.keys().find(|k| *k != "host") {
        let hint = nearest(key, ["host"]).map_or("there is only `host`".to_owned(), |n| format!("did you mean `{n}`?"));
        return refuse(format!("there is no connection option `{key}`; {hint}"));
    }
    if spec.port.is_some() {
        return refuse("a container has no port to connect to: remove `port`".into());
    }
    if spec.password.is_some() {
        return refuse("the engine asks for no password: remove `password`".into());
    }
    let engine = match spec.options.get("host") {
        None => config.host.as_deref(),
        Some(Json::String(text)) => Some(text.as_str()),
        Some(_) => return refuse("the connection option `host` must be text: `unix:///path`".into()),
    };
    check_address("connect", &address(engine)).map_err(|e| e.with("host", &host.name))?;
    let container = spec.address.as_deref().unwrap_or(&host.name);
    if !is_name(container) {
        return refuse(format!("this is no name or id of a container: {container:?}"));
    }
    Ok((engine, container))
}

#[async_trait]
impl Connector for DockerConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["become", "dial", "exec", "get", "put", "signal", "spawn"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let engine = self.engines.get(cx, "preflight", self.config.host.as_deref()).await?;
        Ok(Preflight { ok: vec![format!("{} at {}", engine.version, engine.address)], warnings: Vec::new() })
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        let (engine, container) = settings(&self.config, host)?;
        let at = |e: Error| e.with_missing("host", &host.name);
        let engine = self.engines.get(cx, "connect", engine).await.map_err(at)?;
        let found = cx.guard(PROVIDER, "connect", engine.container("connect", container)).await.map_err(at)?;
        let not_there = |message: &str| {
            Error::new(ErrorKind::Unreachable, PROVIDER, "connect", message)
                .with("host", &host.name)
                .with("container", container)
                .retry_later()
        };
        let Some(found) = found else { return Err(not_there("there is no such container")) };
        if let Some(why) = not_running(&found) {
            return Err(not_there(why));
        }
        let user = host.connection.user.clone();
        let place = Place {
            engine,
            // Its id: another container that gets this name later is another host.
            container: found.id.as_deref().unwrap_or(container).into(),
            host: host.name.as_str().into(),
            user: user.as_deref().map(Into::into),
            has_sudo: Arc::new(OnceCell::new()),
        };
        if let Some(user) = user {
            let try_it = Exec::script(":");
            exec::run(cx, &place, &try_it, None).await.map_err(|e| match e.kind() {
                ErrorKind::Cancelled | ErrorKind::Timeout | ErrorKind::Unreachable => e,
                _ => Error::new(ErrorKind::Denied, PROVIDER, "connect", "the container runs no commands as this user")
                    .with("host", &host.name)
                    .with("user", &user)
                    .caused_by(e.report()),
            })?;
        }
        Ok(Arc::new(DockerConnection { place, spec: host.connection.r#become.clone() }))
    }
}

/// Why nothing can run in a container now.
fn not_running(found: &ContainerInspectResponse) -> Option<&'static str> {
    let state = found.state.clone().unwrap_or_default();
    if state.paused == Some(true) {
        return Some("the container is paused: unpause it");
    }
    (state.running != Some(true)).then_some("the container is not running: start it")
}

/// A way into one container.
#[derive(Debug)]
struct DockerConnection {
    place: Place,
    /// How a group of another user is ended after a crash.
    spec: Option<BecomeSpec>,
}

#[async_trait]
impl Connection for DockerConnection {
    fn host(&self) -> &str {
        &self.place.host
    }

    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput> {
        exec::run(cx, &self.place, command, command.stdin.clone().map(Input::Bytes)).await
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        process::spawn(cx, &self.place, command).await
    }

    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()> {
        files::put(cx, &self.place, source, path, options).await
    }

    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<Bytes> {
        files::get(cx, &self.place, path, limit_bytes).await
    }

    async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        dial::dial(cx, &self.place, to).await
    }

    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool> {
        let to = group.owner(cx, self.spec.as_ref()).await?;
        exec::end_group(cx, &self.place, group, to.as_ref()).await
    }

    /// Every command has a connection to the engine of its own: there is nothing to close.
    async fn close(&self) {}
}
