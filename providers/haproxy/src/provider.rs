use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use towpath_core::{
    Backend, BackendState, Balancer, Capabilities, Connector, Context, Error, ErrorKind, Preflight, Result,
};

use crate::output::{self, Server};
use crate::session::{Pauses, Session};
use crate::socket::Socket;
use crate::{HaProxyConfig, command, state_file};

pub(crate) const HAPROXY: &str = "haproxy";

/// Longest wait for HAProxy to let go of a server that is to be deleted.
const DELETE_LIMIT: Duration = Duration::from_secs(5);

/// One backend section of a running HAProxy.
#[derive(Debug, Clone)]
pub struct HaProxy {
    config: HaProxyConfig,
    connector: Option<Arc<dyn Connector>>,
}

impl HaProxy {
    /// A backend section with this config. One `on` another host needs [`through`](Self::through), too.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a name, path or number that HAProxy could not have.
    pub fn new(config: HaProxyConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, connector: None })
    }

    /// Reaches the host that HAProxy is `on`.
    #[must_use]
    pub fn through(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    async fn session(&self, cx: &Context, operation: &'static str) -> Result<Session<'_>> {
        cx.check(HAPROXY, operation)?;
        let connection = match (&self.config.on, &self.connector) {
            (None, _) => None,
            (Some(host), Some(connector)) => Some(connector.connect(cx, host).await?),
            (Some(host), None) => {
                let message = "HAProxy is on another host, and nobody said what reaches it: call `through`";
                return Err(Error::new(ErrorKind::InvalidInput, HAPROXY, operation, message).with("host", &host.name));
            }
        };
        let endpoint = self.config.endpoint()?;
        let socket = Socket { endpoint, connection, reply_limit: self.config.reply_limit() };
        Ok(Session { config: &self.config, socket })
    }
}

fn not_there(session: &Session<'_>, operation: &'static str, name: &str, all: &[Server]) -> Error {
    let out = all.iter().any(|s| s.name == name);
    let message = if out { "the server is in maintenance: it gets nothing" } else { "HAProxy has no such server" };
    let names: Vec<&str> = all.iter().filter(|s| !s.is_out()).map(|s| s.name.as_str()).collect();
    session
        .error(ErrorKind::NotFound, operation, message)
        .with("backend", name)
        .with("there_are", if names.is_empty() { "none".to_owned() } else { names.join(" ") })
}

#[async_trait]
impl Balancer for HaProxy {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["add", "drain", "remove", "wait_idle"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        const OPERATION: &str = "preflight";
        let session = self.session(cx, OPERATION).await?;
        let info = session.socket.ask(cx, OPERATION, "show info").await?.text;
        let version =
            output::info(&info, "Version").ok_or_else(|| session.nonsense(OPERATION, "`show info` has no version"))?;
        let level = session.socket.ask(cx, OPERATION, "show cli level").await?.text;
        if level != "admin" {
            let message =
                "the runtime API changes nothing for this level: add `level admin` to the `stats socket` line";
            return Err(session.error(ErrorKind::Denied, OPERATION, message).with("level", level));
        }
        let servers = session.servers(cx, OPERATION).await?;
        let mut warnings = Vec::new();
        let numbers = |v: &str| {
            let mut parts = v.split(['.', '-']).map_while(|p| p.parse::<u32>().ok());
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        };
        if numbers(version) < (2, 6) {
            warnings
                .push(format!("HAProxy {version} can't add servers: only those of its configuration work; 2.6 can"));
        }
        if let towpath_core::Endpoint::Tcp(host, port) = &session.socket.endpoint
            && host != "localhost"
            && !host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
        {
            warnings.push(format!("whoever reaches {host}:{port} rules HAProxy: it asks for no password"));
        }
        let stats = session.stats(cx, OPERATION, None).await?;
        let cookie = |name: &&String| stats.get(*name).and_then(|r| r.get("cookie")).is_some_and(|c| !c.is_empty());
        let sticky: Vec<&str> = stats.keys().filter(cookie).map(String::as_str).collect();
        if !sticky.is_empty() {
            warnings.push(format!("clients with a cookie keep their server while it drains: {}", sticky.join(", ")));
        }
        let there = servers.iter().filter(|s| !s.is_out()).count();
        let ok = vec![format!("HAProxy {version}, backend section {}: {there} servers", self.config.backend)];
        Ok(Preflight { ok, warnings })
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        const OPERATION: &str = "add";
        command::name(OPERATION, "server", &backend.name)?;
        if backend.port == 0 {
            let message = "a backend's port can't be 0";
            return Err(Error::new(ErrorKind::InvalidInput, HAPROXY, OPERATION, message).with("backend", &backend.name));
        }
        let session = self.session(cx, OPERATION).await?;
        let found = session.servers(cx, OPERATION).await?;
        let known = found.iter().find(|s| s.name == backend.name);
        let address = session
            .resolve(cx, OPERATION, &backend.address, known)
            .await
            .map_err(|e| e.with_missing("backend", &backend.name))?;
        let server = match known {
            Some(server) => server.clone(),
            None => self.register(&session, cx, &backend.name, address, backend.port, &found).await?,
        };
        self.place(&session, cx, server, address, backend.port).await?;
        state_file::save(&session, cx, OPERATION).await
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        const OPERATION: &str = "drain";
        command::name(OPERATION, "server", name)?;
        let session = self.session(cx, OPERATION).await?;
        let all = session.servers(cx, OPERATION).await?;
        let Some(server) = all.iter().find(|s| s.name == name && !s.is_out()) else {
            return Err(not_there(&session, OPERATION, name, &all));
        };
        if !server.drains() {
            let said = session.set(cx, OPERATION, name, "state drain").await?;
            // Gone, or in maintenance, in the meantime: it gets nothing either.
            if session.server(cx, OPERATION, name).await?.is_some_and(|s| !s.drains() && !s.is_out()) {
                return Err(session.refused(OPERATION, name, "HAProxy does not drain the server", &said));
            }
        }
        state_file::save(&session, cx, OPERATION).await
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        const OPERATION: &str = "remove";
        command::name(OPERATION, "server", name)?;
        let session = self.session(cx, OPERATION).await?;
        let Some(server) = session.server(cx, OPERATION, name).await? else { return Ok(()) };
        let said = session.set(cx, OPERATION, name, "state maint").await?;
        match session.server(cx, OPERATION, name).await? {
            None => {}
            Some(server) if !server.is_out() => {
                let message = "HAProxy does not put the server into maintenance";
                return Err(session.refused(OPERATION, name, message, &said));
            }
            Some(_) => {
                let path = format!("{}/{name}", self.config.backend);
                session.tell(cx, OPERATION, &format!("shutdown sessions server {path}")).await?;
                if server.is_ours() {
                    self.delete(&session, cx, name, &path).await?;
                }
            }
        }
        state_file::save(&session, cx, OPERATION).await
    }

    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64> {
        const OPERATION: &str = "wait_idle";
        command::name(OPERATION, "server", name)?;
        let session = self.session(cx, OPERATION).await?;
        let all = session.servers(cx, OPERATION).await?;
        let Some(server) = all.iter().find(|s| s.name == name) else {
            return Err(not_there(&session, OPERATION, name, &all));
        };
        let process = process(&session, cx).await?;
        let mut pauses = Pauses::new(limit);
        let left = loop {
            // Deleted: nothing of it is left.
            let left = session.load(cx, OPERATION, server).await?.unwrap_or(0);
            if left == 0 || pauses.are_over() {
                break left;
            }
            pauses.pause(cx, OPERATION).await?;
        };
        if self::process(&session, cx).await? != process {
            cx.warn(format!(
                "HAProxy was reloaded while {name} became idle: connections of the process before are not counted"
            ));
        }
        Ok(left)
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        const OPERATION: &str = "backends";
        let session = self.session(cx, OPERATION).await?;
        let servers = session.servers(cx, OPERATION).await?;
        let stats = session.stats(cx, OPERATION, None).await?;
        let there = servers.iter().filter(|s| !s.is_out());
        // One that was added or removed between the two answers has no connections yet, or is gone.
        there
            .map(|server| {
                let load = stats.get(&server.name).map(output::load).transpose();
                Ok(server.state(load.map_err(|e| session.nonsense(OPERATION, &e))?.unwrap_or(0)))
            })
            .collect()
    }
}

/// Number of the process that answers: a reload makes another one, which knows no connections of the first.
async fn process(session: &Session<'_>, cx: &Context) -> Result<Option<String>> {
    let info = session.socket.ask(cx, "wait_idle", "show info").await?.text;
    Ok(output::info(&info, "Pid").map(str::to_owned))
}

impl HaProxy {
    /// Adds a server that is not there. It is in maintenance then.
    async fn register(
        &self,
        session: &Session<'_>,
        cx: &Context,
        name: &str,
        address: IpAddr,
        port: u16,
        all: &[Server],
    ) -> Result<Server> {
        let id = command::id(name, |id| all.iter().any(|s| s.id == id));
        let line = command::add(&self.config.backend, name, (address, port), id, &self.config.server)?;
        let said = session.tell(cx, "add", &line).await?;
        // Another process may have been faster: the server is there, and the rest is the same.
        session.server(cx, "add", name).await?.ok_or_else(|| {
            let message = "HAProxy does not add the server; it needs version 2.6, and a `balance` that is roundrobin, leastconn or random";
            session.refused("add", name, message, &said).with("command", &line)
        })
    }

    /// Gives a server its address, and puts it into service once checks, if it has any, have seen it up there.
    async fn place(
        &self,
        session: &Session<'_>,
        cx: &Context,
        server: Server,
        address: IpAddr,
        port: u16,
    ) -> Result<()> {
        let (name, path) = (server.name.as_str(), format!("{}/{}", self.config.backend, server.name));
        let moved = !server.is_at(address, port);
        let mut said = String::new();
        let mut checked = server.is_checked();
        if server.has_check() && !checked && server.is_ours() {
            // Those that HAProxy adds are not checked before they are told to.
            said = session.tell(cx, "add", &format!("enable health {path}")).await?;
            checked = true;
        }
        if checked && (moved || server.is_out()) {
            // HAProxy takes a server that leaves maintenance for healthy, and one that moves for what it was before. Draining,
            // it is checked and gets nothing; down, it is up after as many good checks as `rise` says.
            session.set(cx, "add", name, "state drain").await?;
        }
        if moved {
            said = session.set(cx, "add", name, &format!("addr {address} port {port}")).await?;
        }
        if checked && (moved || server.is_out()) {
            session.set(cx, "add", name, "health down").await?;
        }
        if !server.has_check() && !server.is_out() && !server.is_up() {
            // Somebody called it down by hand, and nobody would ever call it up.
            session.set(cx, "add", name, "health up").await?;
        }
        if server.weight == 0 {
            let weight = match (self.config.server.weight, server.first_weight) {
                (Some(weight), _) => weight.to_string(),
                (None, 0) => "1".to_owned(),
                (None, _) => "100%".to_owned(),
            };
            session.set(cx, "add", name, &format!("weight {weight}")).await?;
        }
        let mut pauses = Pauses::new(self.config.up_limit());
        loop {
            let now = session.server(cx, "add", name).await?.ok_or_else(|| {
                session
                    .error(ErrorKind::Conflict, "add", "the server was removed by somebody else while it was added")
                    .with("backend", name)
                    .retry_later()
            })?;
            if !now.is_at(address, port) {
                return Err(session
                    .refused("add", name, "HAProxy has another address for the server", &said)
                    .with("address", format!("{address} port {port}")));
            }
            if now.serves() {
                return Ok(());
            }
            if !now.is_wanted() && (!checked || now.is_up()) {
                said = session.set(cx, "add", name, "state ready").await?;
                if session.server(cx, "add", name).await?.is_some_and(|s| s.serves()) {
                    return Ok(());
                }
            }
            if pauses.are_over() {
                return Err(self.not_up(session, cx, &now, &said).await?);
            }
            pauses.pause(cx, "add").await.map_err(|e| session.socket.place(e.with("backend", name)))?;
        }
    }

    async fn not_up(&self, session: &Session<'_>, cx: &Context, server: &Server, said: &str) -> Result<Error> {
        let stats = session.stats(cx, "add", Some(server)).await?;
        let cell =
            |key: &str| stats.get(&server.name).and_then(|r| r.get(key)).map(String::as_str).filter(|c| !c.is_empty());
        let message = format!("HAProxy sends nothing to the server after {} s", self.config.up_limit_s);
        let mut error = session.error(ErrorKind::Unhealthy, "add", message).with("backend", &server.name);
        error = error.with("address", format!("{} port {}", server.address, server.port));
        for (key, cells) in [
            ("status", &["status"][..]),
            ("last_check", &["check_status", "check_code", "check_desc", "last_chk"][..]),
            ("last_agent_check", &["agent_status", "agent_code", "agent_desc"][..]),
        ] {
            let text: Vec<&str> = cells.iter().filter_map(|c| cell(c)).collect();
            if !text.is_empty() {
                error = error.with(key, text.join(" "));
            }
        }
        if !said.is_empty() {
            error = error.caused_by(said.to_owned());
        }
        Ok(error.retry_later())
    }

    /// Deletes a server that towpath has added. It is in maintenance, so that it is as good as gone if HAProxy can't.
    async fn delete(&self, session: &Session<'_>, cx: &Context, name: &str, path: &str) -> Result<()> {
        let mut pauses = Pauses::new(DELETE_LIMIT);
        loop {
            let said = session.tell(cx, "remove", &format!("del server {path}")).await?;
            match session.server(cx, "remove", name).await? {
                None => return Ok(()),
                // Somebody else adds it again.
                Some(server) if !server.is_out() => return Ok(()),
                Some(_) if pauses.are_over() => {
                    cx.warn(format!("HAProxy keeps {path}, in maintenance, since it can't delete it: {said}"));
                    return Ok(());
                }
                Some(_) => pauses.pause(cx, "remove").await?,
            }
        }
    }
}
