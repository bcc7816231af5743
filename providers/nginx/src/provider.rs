use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use towpath_core::{
    Backend, BackendState, Balancer, BecomeChoice, Capabilities, Connector, Context, Error, ErrorKind, Preflight,
    Result,
};

use crate::NginxConfig;
use crate::session::{self, Session};
use crate::upstream::{self, Server};

pub(crate) const NGINX: &str = "nginx";

/// First and longest pause between two looks of a wait.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// One upstream of a running nginx.
#[derive(Debug, Clone)]
pub struct Nginx {
    config: NginxConfig,
    connector: Option<Arc<dyn Connector>>,
}

impl Nginx {
    /// An upstream with this config. One `on` another host needs [`through`](Self::through), too.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a path or number that can't be.
    pub fn new(config: NginxConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, connector: None })
    }

    /// Reaches the host that nginx is `on`.
    #[must_use]
    pub fn through(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    async fn session(&self, cx: &Context, operation: &'static str) -> Result<Session<'_>> {
        cx.check(NGINX, operation)?;
        let way = match (&self.config.on, &self.connector) {
            (None, _) => None,
            (Some(host), Some(connector)) => {
                let user = BecomeChoice::resolve(self.config.r#become.as_ref(), cx, host).await?;
                Some((connector.connect(cx, host).await?, user))
            }
            (Some(host), None) => {
                let message = "nginx is on another host, and nobody said what reaches it: call `through`";
                return Err(Error::new(ErrorKind::InvalidInput, NGINX, operation, message).with("host", &host.name));
            }
        };
        Ok(Session { config: &self.config, way })
    }
}

fn invalid(operation: &'static str, name: &str, why: String) -> Error {
    Error::new(ErrorKind::InvalidInput, NGINX, operation, why).with("backend", name)
}

fn not_there(session: &Session<'_>, operation: &'static str, name: &str, all: &[Server]) -> Error {
    let names: Vec<&str> = all.iter().map(|s| s.backend.name.as_str()).collect();
    session
        .error(ErrorKind::NotFound, operation, "the file has no server of this name")
        .with("backend", name)
        .with("there_are", if names.is_empty() { "none".to_owned() } else { names.join(" ") })
}

#[async_trait]
impl Balancer for Nginx {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["add", "drain", "remove", "wait_idle"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        const OPERATION: &str = "preflight";
        let session = self.session(cx, OPERATION).await?;
        // With the lock: who can't have it can't change anything.
        let look = session.look(cx, OPERATION, true).await?;
        let servers = session.servers(OPERATION, &look)?;
        let master = session.master(OPERATION, &look)?;
        session.test(cx, OPERATION).await?;
        let mut warnings = Vec::new();
        if look.pending {
            warnings.push(format!("a change of {} was begun and not ended; the next one settles it", self.config.file));
        }
        let serving = look.workers.iter().filter(|w| !w.ending).count();
        let ok =
            format!("nginx (process {master}, {serving} workers), {} servers in {}", servers.len(), self.config.file);
        Ok(Preflight { ok: vec![ok], warnings })
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        const OPERATION: &str = "add";
        let name = backend.name.as_str();
        upstream::check_name(name).map_err(|why| invalid(OPERATION, name, why))?;
        let address = backend.address.trim_start_matches('[').trim_end_matches(']').to_owned();
        upstream::check_address(&address).map_err(|why| invalid(OPERATION, name, why))?;
        if backend.port == 0 {
            return Err(invalid(OPERATION, name, "a backend's port can't be 0".to_owned()));
        }
        let session = self.session(cx, OPERATION).await?;
        let backend = Backend { address, ..backend.clone() };
        let wanted = Server { backend, options: self.config.server.options(), down: None };
        let edit = |servers: &mut Vec<Server>, _: &_| {
            match servers.iter_mut().find(|s| s.backend.name == name) {
                Some(there) if *there == wanted => return Ok(false),
                Some(there) => *there = wanted.clone(),
                None => servers.push(wanted.clone()),
            }
            Ok(true)
        };
        session.change(cx, OPERATION, edit).await.map_err(|e| e.with_missing("backend", name))
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        const OPERATION: &str = "drain";
        upstream::check_name(name).map_err(|why| invalid(OPERATION, name, why))?;
        let session = self.session(cx, OPERATION).await?;
        // Down by this call, and so by all of its tries: a later one knows younger workers.
        let mut ours = false;
        let edit = |servers: &mut Vec<Server>, since: &upstream::Since| {
            let Some(at) = servers.iter().position(|s| s.backend.name == name) else {
                return Err(not_there(&session, OPERATION, name, servers));
            };
            if let Some(server) = servers.get_mut(at) {
                if server.down.is_some() && !ours {
                    return Ok(false);
                }
                ours = true;
                server.down = Some(since.clone());
            }
            Ok(true)
        };
        session.change(cx, OPERATION, edit).await.map_err(|e| e.with_missing("backend", name))
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        const OPERATION: &str = "remove";
        upstream::check_name(name).map_err(|why| invalid(OPERATION, name, why))?;
        let session = self.session(cx, OPERATION).await?;
        let edit = |servers: &mut Vec<Server>, _: &_| {
            let count = servers.len();
            servers.retain(|s| s.backend.name != name);
            Ok(servers.len() != count)
        };
        session.change(cx, OPERATION, edit).await.map_err(|e| e.with_missing("backend", name))
    }

    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64> {
        const OPERATION: &str = "wait_idle";
        upstream::check_name(name).map_err(|why| invalid(OPERATION, name, why))?;
        let session = self.session(cx, OPERATION).await?;
        let from = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let look = session.look(cx, OPERATION, false).await?;
            let servers = session.servers(OPERATION, &look)?;
            let Some(server) = servers.iter().find(|s| s.backend.name == name) else {
                return Err(not_there(&session, OPERATION, name, &servers));
            };
            let counted = session.connections(cx, OPERATION, &look, std::slice::from_ref(server)).await?;
            let connections = counted.get(name).copied().unwrap_or(0);
            // Without a connection now, a worker of before may still open one, for a request that it is reading.
            let workers = server.down.as_ref().map_or(0, |since| session::from_before(&look, since));
            let left = if connections > 0 { connections } else { workers };
            let rest = limit.saturating_sub(from.elapsed());
            if left == 0 || rest.is_zero() {
                return Ok(left);
            }
            cx.sleep(NGINX, OPERATION, pause.min(rest)).await.map_err(|e| e.with("backend", name))?;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        const OPERATION: &str = "backends";
        let session = self.session(cx, OPERATION).await?;
        let look = session.look(cx, OPERATION, false).await?;
        let servers = session.servers(OPERATION, &look)?;
        let counted = session.connections(cx, OPERATION, &look, &servers).await?;
        Ok(servers.iter().map(|s| s.state(counted.get(&s.backend.name).copied().unwrap_or(0))).collect())
    }
}
