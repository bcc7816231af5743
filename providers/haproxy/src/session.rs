//! What the verbs are made of: looks, commands whose success is seen by looking again, waits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;
use towpath_core::{Connection, Context, Error, ErrorKind, Exec, Result};

use crate::HaProxyConfig;
use crate::command;
use crate::output::{self, Server};
use crate::provider::HAPROXY;
use crate::socket::Socket;

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// One verb at work.
pub(crate) struct Session<'a> {
    pub(crate) config: &'a HaProxyConfig,
    pub(crate) socket: Socket,
}

/// Waits between looks, a little longer each time.
pub(crate) struct Pauses {
    next: Duration,
    pub(crate) until: Instant,
}

impl Pauses {
    pub(crate) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        // A limit beyond what a clock can say is none.
        let until = now.checked_add(limit).unwrap_or(now + Duration::from_secs(86_400 * 365));
        Self { next: PAUSES.0, until }
    }

    pub(crate) fn are_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub(crate) async fn pause(&mut self, cx: &Context, operation: &'static str) -> Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        cx.sleep(HAPROXY, operation, self.next.min(left)).await?;
        self.next = (self.next * 2).min(PAUSES.1);
        Ok(())
    }
}

impl Session<'_> {
    pub(crate) fn error(&self, kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
        self.socket.place(Error::new(kind, HAPROXY, operation, message).with("section", &self.config.backend))
    }

    pub(crate) fn nonsense(&self, operation: &'static str, why: &str) -> Error {
        self.error(ErrorKind::Protocol, operation, "HAProxy's answer makes no sense").caused_by(why.to_owned())
    }

    /// The servers of the backend section.
    pub(crate) async fn servers(&self, cx: &Context, operation: &'static str) -> Result<Vec<Server>> {
        let line = format!("show servers state {}", self.config.backend);
        let reply = self.socket.ask(cx, operation, &line).await?;
        if reply.is_error() {
            return Err(self.no_section(cx, operation, &reply.text).await?);
        }
        output::servers(&reply.text).map_err(|e| self.nonsense(operation, &e))
    }

    /// One server, if it is there.
    pub(crate) async fn server(&self, cx: &Context, operation: &'static str, name: &str) -> Result<Option<Server>> {
        Ok(self.servers(cx, operation).await?.into_iter().find(|s| s.name == name))
    }

    /// Why the section can't be shown.
    async fn no_section(&self, cx: &Context, operation: &'static str, said: &str) -> Result<Error> {
        let reply = self.socket.ask(cx, operation, "show backend").await?;
        let names: Vec<&str> = reply.text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        let error = if names.contains(&self.config.backend.as_str()) {
            self.error(ErrorKind::ToolFailed, operation, "HAProxy does not show the servers of its backend section")
        } else {
            self.error(ErrorKind::InvalidInput, operation, "HAProxy has no backend section of this name; set `backend`")
                .with("there_are", names.join(" "))
        };
        Ok(error.caused_by(said.to_owned()))
    }

    /// Statistics by server.
    pub(crate) async fn stats(
        &self,
        cx: &Context,
        operation: &'static str,
        server: Option<&Server>,
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        // 4: servers.
        let one = server.map_or("-1".to_owned(), |s| s.id.to_string());
        let reply = self.socket.ask(cx, operation, &format!("show stat {} 4 {one}", self.config.backend)).await?;
        let rows = output::table(&reply.text).map_err(|e| self.nonsense(operation, &e))?;
        Ok(rows.into_iter().filter_map(|row| Some((row.get("svname")?.clone(), row))).collect())
    }

    /// What a server works on. `None`: it is gone.
    pub(crate) async fn load(&self, cx: &Context, operation: &'static str, server: &Server) -> Result<Option<u64>> {
        let stats = self.stats(cx, operation, Some(server)).await?;
        let row = stats.get(&server.name);
        row.map(|row| output::load(row).map_err(|e| self.nonsense(operation, &e))).transpose()
    }

    /// Tells it something, and gives what it said against it. Whether it was done is for the caller to see: HAProxy's texts are
    /// for people, and two of its versions need not use the same ones.
    pub(crate) async fn tell(&self, cx: &Context, operation: &'static str, line: &str) -> Result<String> {
        let reply = self.socket.ask(cx, operation, line).await?;
        Ok(if reply.severity.is_some_and(|s| s > 4) { String::new() } else { reply.text })
    }

    /// `set server <name> <what>`
    pub(crate) async fn set(&self, cx: &Context, operation: &'static str, name: &str, what: &str) -> Result<String> {
        self.tell(cx, operation, &format!("set server {}/{name} {what}", self.config.backend)).await
    }

    /// HAProxy was told something, and is not as it should be. Without a word against it, it was so for a moment.
    pub(crate) fn refused(&self, operation: &'static str, name: &str, message: &str, said: &str) -> Error {
        if said.is_empty() {
            let message = format!("{message}: somebody else changes it at the same time");
            return self.error(ErrorKind::Conflict, operation, message).with("backend", name).retry_later();
        }
        self.error(ErrorKind::ToolFailed, operation, message).with("backend", name).caused_by(said.to_owned())
    }

    /// The address of a host, as HAProxy's machine sees it. HAProxy itself takes no names at run time.
    pub(crate) async fn resolve(
        &self,
        cx: &Context,
        operation: &'static str,
        name: &str,
        now: Option<&Server>,
    ) -> Result<IpAddr> {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = bare.parse() {
            return Ok(address);
        }
        command::host_name(operation, name)?;
        let unknown = |why: String| {
            let message = "the address of the backend is not known where HAProxy runs; give an IP address";
            self.error(ErrorKind::NotFound, operation, message).with("address", name).caused_by(why)
        };
        let mut all: Vec<IpAddr> = match &self.socket.connection {
            Some(connection) => look_up(connection.as_ref(), cx, name).await?,
            None => {
                let found = async { Ok(tokio::net::lookup_host((name, 0)).await) };
                let found = cx.guard(HAPROXY, operation, found).await?.map_err(|e| unknown(e.to_string()))?;
                found.map(|at: SocketAddr| at.ip()).collect()
            }
        };
        // One that it has already is the best one; else IPv4 first, as HAProxy does when it starts.
        all.sort_by_key(|a| (now.is_none_or(|s| s.address.parse() != Ok(*a)), a.is_ipv6()));
        all.first().copied().ok_or_else(|| unknown("no such host".to_owned()))
    }
}

async fn look_up(connection: &dyn Connection, cx: &Context, name: &str) -> Result<Vec<IpAddr>> {
    let output = connection.exec(cx, &Exec::argv(["getent", "ahosts", name])).await?;
    Ok(output.stdout_text().lines().filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect())
}
