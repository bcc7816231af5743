//! What is there: machines by `status`, boxes by `box list`, hosts by `ssh-config`.

use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::{ConnectionSpec, Context, Environment, Host, Inventory, Resource, Result};

use super::config::BoxSource;
use super::failure;
use super::run::{Ran, Site, storage};
use crate::files::write_private;

/// A machine as Vagrant knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) provider: String,
}

impl Machine {
    pub(super) fn exists(&self) -> bool {
        self.state != "not_created"
    }

    pub(super) fn runs(&self) -> bool {
        self.state == "running"
    }
}

/// How a machine is reached, as `ssh-config` says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Login {
    host: String,
    port: Option<u16>,
    user: String,
    identity: Option<String>,
    proxy: Option<String>,
}

impl Login {
    fn parse(text: &str) -> Self {
        let mut login = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once(char::is_whitespace) else { continue };
            let value = value.trim().trim_matches('"').to_owned();
            match key {
                "HostName" => login.host = value,
                "Port" => login.port = value.parse().ok(),
                "User" => login.user = value,
                // The first of several is that of this machine.
                "IdentityFile" if login.identity.is_none() => login.identity = Some(value),
                "ProxyCommand" => login.proxy = Some(value),
                _ => {}
            }
        }
        login
    }

    /// How `known_hosts` calls it.
    fn known_as(&self) -> String {
        match self.port {
            None | Some(22) => self.host.clone(),
            Some(port) => format!("[{}]:{port}", self.host),
        }
    }
}

impl Site {
    /// Those of these machines that may have an SSH server.
    fn reachable<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        names.filter(|n| !self.unreachable.iter().any(|u| u == n)).collect()
    }

    /// The file of the machines' host keys.
    fn known_hosts(&self) -> PathBuf {
        self.own().join("known_hosts")
    }

    /// Runs a command, and gives what it said if it succeeded.
    pub(super) async fn ok(&self, cx: &Context, operation: &'static str, args: &[&str], tell: bool) -> Result<Ran> {
        let ran = self.run(cx, operation, args, tell).await?;
        if ran.status.success() { Ok(ran) } else { Err(failure::of(cx, operation, &ran, &self.folder)) }
    }

    /// The machines of the Vagrantfile; none if there is no Vagrantfile.
    pub(super) async fn machines(&self, cx: &Context, operation: &'static str) -> Result<Vec<Machine>> {
        if !self.folder.join("Vagrantfile").is_file() {
            return Ok(Vec::new());
        }
        let ran = self.ok(cx, operation, &["status"], false).await?;
        let mut machines: Vec<Machine> = Vec::new();
        for line in ran.lines.iter().filter(|l| !l.target.is_empty()) {
            if !machines.iter().any(|m| m.name == line.target) {
                machines.push(Machine { name: line.target.clone(), state: String::new(), provider: String::new() });
            }
            let Some(machine) = machines.iter_mut().find(|m| m.name == line.target) else { continue };
            match line.kind.as_str() {
                "state" => machine.state = line.field(0).to_owned(),
                "provider-name" => machine.provider = line.field(0).to_owned(),
                _ => {}
            }
        }
        Ok(machines)
    }

    /// Those of the boxes that are not there.
    pub(super) async fn missing_boxes<'a>(
        &self,
        cx: &Context,
        operation: &'static str,
        wanted: &'a [BoxSource],
        provider: &str,
    ) -> Result<Vec<&'a BoxSource>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut anywhere = self.clone();
        // Needs no Vagrantfile, and there may be no folder yet.
        if !anywhere.folder.is_dir() {
            anywhere.folder = std::env::temp_dir().join(format!("towpath-vagrant-{:016x}", rand::random::<u64>()));
            std::fs::create_dir(&anywhere.folder).map_err(|e| storage(operation, &anywhere.folder, e))?;
        }
        let ran = anywhere.run(cx, operation, &["box", "list"], false).await;
        if anywhere.folder != self.folder {
            let _ = std::fs::remove_dir_all(&anywhere.folder);
        }
        let ran = ran?;
        if !ran.status.success() {
            return Err(failure::of(cx, operation, &ran, &self.folder));
        }
        // Three lines for each: name, provider, version.
        let mut there: Vec<(String, String, String)> = Vec::new();
        for line in &ran.lines {
            let value = line.field(0).to_owned();
            match (line.kind.as_str(), there.last_mut()) {
                ("box-name", _) => there.push((value, String::new(), String::new())),
                ("box-provider", Some(last)) => last.1 = value,
                ("box-version", Some(last)) => last.2 = value,
                _ => {}
            }
        }
        let has = |wanted: &BoxSource| {
            there.iter().any(|(name, of, version)| {
                *name == wanted.name && of == provider && wanted.version.as_ref().is_none_or(|v| v == version)
            })
        };
        Ok(wanted.iter().filter(|w| !has(w)).collect())
    }

    fn id(&self, machine: &Machine) -> String {
        let path = self.folder.join(".vagrant/machines").join(&machine.name).join(&machine.provider).join("id");
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// How the running machines are reached. A machine without an SSH server is none of them.
    async fn logins(&self, cx: &Context, operation: &'static str, running: &[&str]) -> Result<Vec<(String, Login)>> {
        let read = |ran: &Ran| -> Vec<(String, Login)> {
            let lines = ran.lines.iter().filter(|l| l.kind == "ssh-config");
            lines.map(|l| (l.target.clone(), Login::parse(l.field(0)))).collect()
        };
        if running.is_empty() {
            return Ok(Vec::new());
        }
        let args: Vec<&str> = std::iter::once("ssh-config").chain(running.iter().copied()).collect();
        let all = self.run(cx, operation, &args, false).await?;
        if all.status.success() {
            return Ok(read(&all));
        }
        if running.len() == 1 {
            return if all.failed_with("SSHNotReady") {
                Ok(Vec::new())
            } else {
                Err(failure::of(cx, operation, &all, &self.folder))
            };
        }
        let mut logins = Vec::new();
        for name in running {
            let ran = self.run(cx, operation, &["ssh-config", name], false).await?;
            match ran.status.success() {
                true => logins.extend(read(&ran)),
                false if ran.failed_with("SSHNotReady") => {}
                false => return Err(failure::of(cx, operation, &ran, &self.folder)),
            }
        }
        Ok(logins)
    }

    /// Asks machines that were just made for their host keys, through Vagrant's own way to them, so that towpath's connectors
    /// need not trust the first one that answers later.
    pub(super) async fn learn_host_keys(&self, cx: &Context, operation: &'static str, names: &[&str]) -> Result<()> {
        let path = self.known_hosts();
        let mut known = std::fs::read_to_string(&path).unwrap_or_default();
        for (name, login) in self.logins(cx, operation, &self.reachable(names.iter().copied())).await? {
            let of_machine = format!(" {name}");
            known = known.lines().filter(|l| !l.ends_with(&of_machine)).map(|l| format!("{l}\n")).collect();
            let args = ["ssh", &name, "--no-tty", "-c", "cat /etc/ssh/ssh_host_*_key.pub"];
            let ran = self.run(cx, operation, &args, false).await?;
            let keys = ran.printed.iter().filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let (kind, key) = (words.next()?, words.next()?);
                (kind.starts_with("ssh-") || kind.starts_with("ecdsa-")).then(|| format!("{kind} {key}"))
            });
            let before = known.len();
            for key in keys {
                known.push_str(&format!("{} {key} {name}\n", login.known_as()));
            }
            if known.len() == before {
                cx.warn(format!(
                    "the machine {name} does not tell its host keys: connections to it are refused until `{}` has them",
                    path.display()
                ));
            }
        }
        write_private(&path, known.as_bytes()).map_err(|e| storage(operation, &path, e))
    }

    /// What is there: hosts of the running machines, resources of all that exist.
    pub(super) async fn environment(
        &self,
        cx: &Context,
        operation: &'static str,
        machines: &[Machine],
    ) -> Result<Environment> {
        let running = self.reachable(machines.iter().filter(|m| m.runs()).map(|m| m.name.as_str()));
        let logins = self.logins(cx, operation, &running).await?;
        let known_hosts = self.known_hosts();
        let hosts = logins.into_iter().map(|(name, login)| host(name, login, &known_hosts)).collect();
        let resources = machines.iter().filter(|m| m.exists()).map(|machine| Resource {
            address: format!("machine {}", machine.name),
            id: self.id(machine),
            detail: json!({"provider": machine.provider, "state": machine.state}),
        });
        Ok(Environment {
            name: cx.environment().to_owned(),
            inventory: Inventory { hosts, ..Inventory::default() },
            resources: resources.collect(),
            ..Environment::default()
        })
    }
}

fn host(name: String, login: Login, known_hosts: &Path) -> Host {
    let mut connection = ConnectionSpec {
        kind: "ssh".into(),
        address: Some(login.host),
        port: login.port,
        user: Some(login.user),
        ..ConnectionSpec::default()
    };
    let options = &mut connection.options;
    options.insert("known_hosts".into(), known_hosts.display().to_string().into());
    if let Some(identity) = login.identity {
        options.insert("identity_file".into(), identity.into());
        options.insert("identities_only".into(), true.into());
    }
    if let Some(proxy) = login.proxy {
        options.insert("proxy_command".into(), proxy.into());
    }
    Host { name, connection, ..Host::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Vagrant 2.3.4.
    #[test]
    fn a_recorded_login_is_read() {
        let login = Login::parse(
            "Host web\n  HostName 127.0.0.1\n  User deploy\n  Port 2222\n  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n  \
             PasswordAuthentication no\n  IdentityFile \"/tmp/v t/private_key\"\n  IdentitiesOnly yes\n  LogLevel FATAL\n",
        );
        assert_eq!((login.host.as_str(), login.port, login.user.as_str()), ("127.0.0.1", Some(2222), "deploy"));
        assert_eq!(login.identity.as_deref(), Some("/tmp/v t/private_key"));
        assert_eq!(login.known_as(), "[127.0.0.1]:2222");
    }
}
