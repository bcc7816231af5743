use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use towpath_core::pipeline::ProviderSpec;
use towpath_core::posix::Input;
use towpath_core::{
    BecomeSpec, Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, Host, Json,
    Preflight, Process, PutOptions, RemoteGroup, Result, RunId, Source, Stream,
};

use crate::config::{HostKeys, SshConfig};
use crate::exec::Place;
use crate::pool::Pool;
use crate::settings::Settings;
use crate::{PROVIDER, exec, files, process};

/// Reaches hosts over SSH. Clones share their transports.
#[derive(Debug, Clone, Default)]
pub struct Ssh {
    config: SshConfig,
    pool: Arc<Pool>,
    /// The runs in which it was said that checking is off.
    warned: Arc<Mutex<HashSet<Option<RunId>>>>,
}

impl Ssh {
    /// Makes a connector; connects nowhere.
    pub fn new(config: SshConfig) -> Self {
        Self { config, pool: Arc::default(), warned: Arc::default() }
    }
}

impl From<SshConfig> for ProviderSpec<dyn Connector> {
    fn from(config: SshConfig) -> Self {
        // Strings, numbers and paths only; a path that is no text can't be part of a pipeline.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

#[async_trait]
impl Connector for Ssh {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["become", "dial", "exec", "get", "put", "signal", "spawn"])
    }

    async fn preflight(&self, _cx: &Context) -> Result<Preflight> {
        let settings = Settings::of(&self.config, &Host { name: "localhost".into(), ..Host::default() })?;
        let mut found = Preflight::default();
        for key in settings.identities.iter().filter(|p| p.is_file()) {
            found.ok.push(format!("key file {}", key.display()));
        }
        if let Some(agent) = settings.agent.filter(|a| a.exists()) {
            found.ok.push(format!("agent {}", agent.display()));
        }
        if found.ok.is_empty() {
            found
                .warnings
                .push("neither a key file nor an agent: hosts need their own `identity_file` or password".into());
        }
        if settings.host_key.is_none()
            && settings.host_keys == HostKeys::Strict
            && !settings.known_hosts.iter().any(|p| p.is_file())
        {
            found.warnings.push(
                "no known_hosts file: hosts need their own `known_hosts` or `host_key`, or `host_keys: accept_new`"
                    .into(),
            );
        }
        Ok(found)
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        if !matches!(host.connection.kind.as_str(), "" | PROVIDER) {
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", "the host is not reached over SSH")
                .with("host", &host.name)
                .with("kind", &host.connection.kind));
        }
        let slot = self.pool.slot(&self.config, host)?;
        let first = || self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(cx.run().cloned());
        if slot.is_unchecked() && first() {
            cx.warn(format!(
                "host keys are not checked (`host_keys: off` or `StrictHostKeyChecking no`), for {} and maybe other hosts: \
                 somebody in between would not be noticed",
                host.name
            ));
        }
        // Entered first, so that nobody sweeps it away in between.
        slot.enter();
        let spec = host.connection.r#become.clone();
        let connection = SshConnection { place: Place { slot, host: host.name.as_str().into() }, spec };
        connection.place.slot.transport(cx).await.map_err(|e| e.with_missing("host", &host.name))?;
        Ok(Arc::new(connection))
    }
}

/// A way to one host.
struct SshConnection {
    place: Place,
    /// How a group of another user is ended after a crash.
    spec: Option<BecomeSpec>,
}

impl fmt::Debug for SshConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshConnection")
            .field("host", &self.place.host)
            .field("address", &self.place.slot.address())
            .finish_non_exhaustive()
    }
}

impl Drop for SshConnection {
    fn drop(&mut self) {
        self.place.slot.leave();
    }
}

#[async_trait]
impl Connection for SshConnection {
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
        self.place.slot.dial(cx, to).await.map_err(|e| e.with_missing("host", &self.place.host))
    }

    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool> {
        let to = group.owner(cx, self.spec.as_ref()).await?;
        exec::end_group(cx, &self.place, group, to.as_ref()).await
    }

    async fn close(&self) {
        self.place.slot.close().await;
    }
}
