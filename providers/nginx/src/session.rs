//! What the verbs are made of: looks, and changes that either come into force or leave no trace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use towpath_core::{Become, Connection, Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Result};

use crate::output::{self, Look, Worker};
use crate::provider::NGINX;
use crate::script::{self, code};
use crate::upstream::{self, Server, Since};
use crate::{NginxConfig, here};

/// How often a change is made anew because somebody else has changed the file in between.
const TRIES: usize = 20;

/// One verb at work.
pub(crate) struct Session<'a> {
    pub(crate) config: &'a NginxConfig,
    /// The connection to nginx's host, and whom commands become; `None`: it is this machine.
    pub(crate) way: Option<(Arc<dyn Connection>, Option<Become>)>,
}

impl Session<'_> {
    pub(crate) fn error(&self, kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
        self.place(Error::new(kind, NGINX, operation, message))
    }

    fn place(&self, error: Error) -> Error {
        let error = error.with_missing("file", &self.config.file);
        match &self.way {
            Some((connection, _)) => error.with_missing("host", connection.host()),
            None => error,
        }
    }

    async fn run(&self, cx: &Context, operation: &'static str, exec: Exec) -> Result<ExecOutput> {
        let ran = match &self.way {
            Some((connection, user)) => {
                let exec = Exec { r#become: user.clone(), ..exec };
                connection.exec(cx, &exec).await
            }
            None => here::run(cx, operation, &exec).await,
        };
        ran.map_err(|e| self.place(e))
    }

    /// Runs a script that must succeed.
    async fn text(&self, cx: &Context, operation: &'static str, exec: Exec) -> Result<String> {
        let ran = self.run(cx, operation, exec).await?;
        if ran.status.is_success() {
            return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
        }
        Err(self.failure(operation, &ran))
    }

    /// What the exit codes of the scripts mean.
    fn failure(&self, operation: &'static str, ran: &ExecOutput) -> Error {
        let ExitStatus::Code(status) = ran.status else {
            return self
                .error(ErrorKind::ToolFailed, operation, "a script was ended from outside")
                .with("exit_status", &ran.status)
                .retry_later();
        };
        let (kind, message) = match status {
            code::TEST => (
                ErrorKind::ToolFailed,
                "nginx does not take the changed configuration; the old one is back, and nothing was reloaded".to_owned(),
            ),
            code::RELOAD => {
                (ErrorKind::ToolFailed, "nginx can't be reloaded; the file is what it was before".to_owned())
            }
            code::SLOW => (
                ErrorKind::Timeout,
                format!(
                    "nginx was told to reload, and has no new workers after {} s: look into its error log",
                    self.config.reload_limit_s
                ),
            ),
            code::LOCK => (ErrorKind::Denied, "this user may not write into the folder of the file".to_owned()),
            code::BUSY => (
                ErrorKind::Conflict,
                format!("somebody else has been changing the file for {} s", self.config.lock_limit_s),
            ),
            code::WRITE => (
                ErrorKind::Storage,
                "the file can't be replaced by one of the same owner and mode; it is what it was".to_owned(),
            ),
            code::NOT_RUNNING => (
                ErrorKind::Unreachable,
                format!("nginx does not run: {} names no master process of it", self.config.pid_file),
            ),
            code::NO_FILE => (
                ErrorKind::NotFound,
                "there is no such file; make it with the line `server 127.0.0.1:9 down;`, and let the upstream include it"
                    .to_owned(),
            ),
            code::NO_FLOCK => (
                ErrorKind::ToolMissing,
                "`flock` is missing on nginx's machine: install util-linux".to_owned(),
            ),
            code::STOPPED => (ErrorKind::Cancelled, "the change was stopped, and taken back".to_owned()),
            _ => (ErrorKind::ToolFailed, format!("a script failed with exit status {status}")),
        };
        let mut error = self.error(kind, operation, message);
        let said = ran.stderr_text();
        if !said.is_empty() {
            error = error.caused_by(said);
        }
        let passing = matches!(status, code::SLOW | code::BUSY | code::NOT_RUNNING);
        if passing { error.retry_later() } else { error }
    }

    /// nginx's own opinion of its configuration.
    pub(crate) async fn test(&self, cx: &Context, operation: &'static str) -> Result<()> {
        let ran = self.run(cx, operation, script::test(self.config)).await?;
        match ran.status {
            ExitStatus::Code(0) => Ok(()),
            ExitStatus::Code(code::NO_FILE) => Err(self.failure(operation, &ran)),
            _ => Err(self
                .error(ErrorKind::InvalidInput, operation, "nginx does not take its configuration as it is now")
                .caused_by(ran.stderr_text())),
        }
    }

    /// nginx and the file as they are. `locked`: after whatever change is under way.
    pub(crate) async fn look(&self, cx: &Context, operation: &'static str, locked: bool) -> Result<Look> {
        let text = self.text(cx, operation, script::look(self.config, locked)).await?;
        Look::read(&text)
            .ok_or_else(|| self.error(ErrorKind::Protocol, operation, "what the host says of nginx makes no sense"))
    }

    /// The servers of the file.
    pub(crate) fn servers(&self, operation: &'static str, look: &Look) -> Result<Vec<Server>> {
        upstream::read(&look.text).map_err(|why| {
            let message =
                "towpath does not change a file that somebody else has written: keep other lines beside the `include`";
            self.error(ErrorKind::InvalidInput, operation, message).caused_by(why)
        })
    }

    pub(crate) fn master(&self, operation: &'static str, look: &Look) -> Result<u32> {
        look.master.ok_or_else(|| {
            let message = format!("nginx does not run: {} names no master process of it", self.config.pid_file);
            self.error(ErrorKind::Unreachable, operation, message).retry_later()
        })
    }

    /// Changes the servers as `edit` says, and takes it into force. `edit` gets since when a server that is down from now on is so, and
    /// says whether there is something to change; it may be asked again.
    pub(crate) async fn change(
        &self,
        cx: &Context,
        operation: &'static str,
        mut edit: impl FnMut(&mut Vec<Server>, &Since) -> Result<bool>,
    ) -> Result<()> {
        for _ in 0..TRIES {
            // After whatever another process does: what the file says then is in force.
            let look = self.look(cx, operation, true).await?;
            let mut servers = self.servers(operation, &look)?;
            let since = Since { ticks: look.youngest(), boot: look.boot.clone() };
            if look.pending {
                // Who is down by a change that never came into force is down from now on at best.
                servers.iter_mut().filter_map(|s| s.down.as_mut()).for_each(|down| *down = since.clone());
            }
            if !edit(&mut servers, &since)? && !look.pending {
                return Ok(());
            }
            self.master(operation, &look)?;
            let digest = hex::encode(Sha256::digest(look.text.as_bytes()));
            let exec = script::change(self.config, &digest, &upstream::write(&servers));
            let ran = self.run(cx, operation, exec).await?;
            if ran.status == ExitStatus::Code(code::CHANGED) {
                continue;
            }
            if !ran.status.is_success() {
                return Err(self.failure(operation, &ran));
            }
            let before = output::workers(&String::from_utf8_lossy(&ran.stdout)).unwrap_or_default();
            if before.iter().all(|w| w.start <= since.ticks) {
                return Ok(());
            }
            // Somebody has reloaded nginx between the look and the change: those workers are older than the file says.
        }
        let message = "the file is changed by others all the time";
        Err(self.error(ErrorKind::Conflict, operation, message).retry_later())
    }

    /// Connections that nginx has to each server, by name.
    pub(crate) async fn connections(
        &self,
        cx: &Context,
        operation: &'static str,
        look: &Look,
        servers: &[Server],
    ) -> Result<BTreeMap<String, u64>> {
        let Some(master) = look.master else { return Ok(BTreeMap::new()) };
        if servers.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = servers.iter().map(|s| s.backend.address.as_str()).filter(|a| a.parse::<IpAddr>().is_err());
        let mut known = BTreeMap::new();
        if names.clone().next().is_some() {
            let text = self.text(cx, operation, script::addresses(self.config, names)).await?;
            known = output::addresses(&text);
        }
        let places = |server: &Server| -> Vec<String> {
            let (address, port) = (&server.backend.address, server.backend.port);
            match address.parse::<IpAddr>() {
                Ok(address) => vec![output::place(address, port)],
                Err(_) => known.get(address).into_iter().flatten().map(|a| output::place(*a, port)).collect(),
            }
        };
        let all: Vec<String> = servers.iter().flat_map(places).collect();
        if all.is_empty() {
            return Ok(BTreeMap::new());
        }
        let exec = script::connections(self.config, master, all.iter().map(String::as_str));
        let text = self.text(cx, operation, exec).await?;
        let users: Vec<u32> = look.workers.iter().map(|w: &Worker| w.user).collect();
        let counted = output::connections(&text, &users);
        let of = |s: &Server| places(s).iter().filter_map(|p| counted.get(p)).sum();
        Ok(servers.iter().map(|s| (s.backend.name.clone(), of(s))).collect())
    }
}

/// How many workers may still send to a server that is down: those that were started before it was.
pub(crate) fn from_before(look: &Look, since: &Since) -> u64 {
    if look.boot != since.boot {
        return 0;
    }
    look.workers.iter().filter(|w| w.start <= since.ticks).count() as u64
}
