//! What is wrong with a config, before anything is touched.

use std::path::Path;

use towpath_core::{Error, ErrorKind, Host, Result};

use super::config::{Beside, DockerDeployConfig, OnSwitch, Switch, SwitchFile};
use crate::PROVIDER;
use crate::engine::{check_address, is_name};
use crate::environment::{MountKind, Port, Restart, check_healthcheck};

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message)
}

/// Least memory that engines give a container.
const LEAST_MEMORY: u64 = 6 << 20;

impl DockerDeployConfig {
    /// The config of one host: with the host's variables filled in, and checked.
    pub(super) fn on(&self, host: &Host) -> Result<Self> {
        let fill = |text: &String| host.fill(text);
        let mut own = self.clone();
        own.name = self.name.as_ref().map(fill).transpose()?;
        own.host = self.host.as_ref().map(fill).transpose()?;
        own.socket = fill(&self.socket)?;
        own.container.ports = self.container.ports.iter().map(fill).collect::<Result<_>>()?;
        own.check().map_err(|e| e.with_missing("host", &host.name))?;
        Ok(own)
    }

    /// Fails where something can't be meant, whatever the host.
    pub(super) fn check(&self) -> Result<()> {
        if !is_name(&self.service) || self.service.len() > 63 {
            return Err(invalid(format!("a service's name has letters, digits and `_.-`, not {:?}", self.service)));
        }
        match &self.host {
            Some(address) if !address.contains("{{") => check_address("config", address)?,
            Some(_) => {}
            None if self.socket.starts_with('/') || self.socket.starts_with("{{") => {}
            None => return Err(invalid(format!("`socket` must be an absolute path, not {:?}", self.socket))),
        }
        if let Some(address) = &self.transfer_from {
            check_address("config", address)?;
        }
        if self.registry.is_some() && self.host.as_ref().is_some_and(|h| !h.starts_with("unix://")) {
            return Err(invalid(
                "the registry's password would go to the engine unencrypted over `tcp://`: leave `host` out, so that the target's own \
                 connection is used, or name a socket",
            ));
        }
        if let Some(name) = self.name.as_ref().filter(|n| !n.contains("{{") && (!is_name(n) || n.len() > 128)) {
            return Err(invalid(format!("a container's name has letters, digits and `_.-`, not {name:?}")));
        }
        self.check_container()?;
        self.check_ready()?;
        match &self.switch {
            Switch::Recreate => Ok(()),
            Switch::Beside(beside) => self.check_beside(beside),
        }
    }

    fn check_container(&self) -> Result<()> {
        let c = &self.container;
        if matches!(c.restart, Restart::Always | Restart::OnFailure) {
            return Err(invalid(
                "`container.restart` is `no` or `unless-stopped`: with the others an engine that is restarted also starts the stopped \
                 containers of former versions",
            ));
        }
        if let Some(bad) = c.env.keys().chain(c.secret_env.keys()).find(|n| n.is_empty() || n.contains(['=', '\0'])) {
            return Err(invalid(format!("{bad:?} is no name of an environment variable")));
        }
        if let Some(both) = c.env.keys().find(|n| c.secret_env.contains_key(*n)) {
            return Err(invalid(format!("`{both}` is in `env` and in `secret_env`")));
        }
        if let Some(label) = c.labels.keys().find(|l| l.is_empty() || l.starts_with("towpath.")) {
            return Err(invalid(format!("the label {label:?} is not for configs: take another name")));
        }
        if let Some(network) = c.networks.iter().find(|n| !is_name(n)) {
            return Err(invalid(format!("{network:?} is no name of a network")));
        }
        for port in c.ports.iter().filter(|p| !p.contains("{{")) {
            let port = Port::parse(port)?;
            if matches!(self.switch, Switch::Beside(_)) && !port.published.is_empty() {
                return Err(invalid(
                    "with `switch: beside` two containers run at once, and no two can publish the same port: only `host_ports` has ports \
                     of the host",
                )
                .with("port", port.published));
            }
        }
        for m in &c.mounts {
            let absolute = m.source.as_deref().is_some_and(|s| Path::new(s).is_absolute());
            let good = match m.r#type {
                MountKind::Volume => m.source.as_deref().is_none_or(is_name),
                MountKind::Bind => absolute,
                MountKind::Tmpfs => m.source.is_none(),
            };
            if !good || !m.target.starts_with('/') || m.target.contains(['\0', ':']) {
                return Err(invalid(
                    "a mount has an absolute `target`, and as `source` a volume's name, an absolute folder for a bind, nothing for a tmpfs",
                )
                .with("target", &m.target));
            }
            if m.options.is_some() && m.r#type != MountKind::Tmpfs {
                return Err(invalid("only a `tmpfs` has `options`").with("target", &m.target));
            }
        }
        if let Some(bytes) = c.memory_bytes.filter(|b| *b < LEAST_MEMORY || *b > i64::MAX as u64) {
            return Err(invalid(format!("`container.memory_bytes` is at least {LEAST_MEMORY}, not {bytes}")));
        }
        if let Some(cpus) = c.cpus.filter(|c| !(0.01..=1e6).contains(c)) {
            return Err(invalid(format!("`container.cpus` is at least 0.01, not {cpus}")));
        }
        if c.pids_limit == Some(0) {
            return Err(invalid("`container.pids_limit` is at least 1"));
        }
        c.healthcheck.as_ref().map_or(Ok(()), check_healthcheck)
    }

    fn check_ready(&self) -> Result<()> {
        let ready = &self.ready;
        if !(1..=86400).contains(&ready.timeout_s) {
            return Err(invalid(format!("`ready.timeout_s` is 1 to 86400, not {}", ready.timeout_s)));
        }
        if ready.path.is_some() && self.ready_port().is_none() {
            return Err(invalid("`ready.path` needs `ready.port`, on which it is asked for"));
        }
        if ready.port == Some(0) {
            return Err(invalid("`ready.port` is a port of the container, not 0"));
        }
        let plain = |p: &str| p.starts_with('/') && p.bytes().all(|b| b.is_ascii_graphic());
        match ready.path.as_deref().filter(|p| !plain(p)) {
            Some(path) => Err(invalid(format!("`ready.path` starts with `/` and has no blanks, not {path:?}"))),
            None => Ok(()),
        }
    }

    /// The port of the container that is asked.
    pub(super) fn ready_port(&self) -> Option<u16> {
        match &self.switch {
            Switch::Beside(beside) => Some(self.ready.port.unwrap_or(beside.port)),
            Switch::Recreate => self.ready.port,
        }
    }

    fn check_beside(&self, beside: &Beside) -> Result<()> {
        let [a, b] = beside.host_ports;
        if a == b || a == 0 || b == 0 || beside.port == 0 {
            return Err(invalid("`switch.beside.host_ports` are two different ports of the host"));
        }
        if beside.address.parse::<std::net::IpAddr>().is_err() {
            return Err(invalid(format!("`switch.beside.address` is an IP address, not {:?}", beside.address)));
        }
        let OnSwitch { file, command } = &beside.on_switch;
        if file.is_none() && command.is_none() {
            return Err(invalid("`switch.beside.on_switch` needs a `file` or a `command`: who else tells the proxy?"));
        }
        if command.as_ref().is_some_and(|c| c.is_empty()) {
            return Err(invalid("`switch.beside.on_switch.command` names no program"));
        }
        match file {
            Some(SwitchFile { path, .. }) if !(path.starts_with('/') || path.starts_with("{{")) => {
                Err(invalid(format!("`switch.beside.on_switch.file.path` must be absolute, not {path:?}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use towpath_core::SecretRef;

    use super::*;
    use crate::MountSpec;
    use crate::deployer::config::{Ready, RegistryLogin};

    fn beside() -> Beside {
        let on_switch = OnSwitch { file: None, command: Some(vec!["true".into()]) };
        Beside { port: 80, host_ports: [8081, 8082], address: "127.0.0.1".into(), on_switch, linger_s: 0 }
    }

    #[test]
    fn what_can_not_be_meant_is_refused_by_name() {
        type Change = fn(&mut DockerDeployConfig);
        let cases: [(Change, &str); 20] = [
            (|c| c.service = "../web".into(), "service's name"),
            (|c| c.socket = "docker.sock".into(), "`socket`"),
            (|c| c.host = Some("ssh://web1".into()), "only `unix://`"),
            (|c| c.transfer_from = Some("docker.sock".into()), "no address"),
            (|c| c.name = Some("a b".into()), "container's name"),
            (
                |c| {
                    c.host = Some("tcp://10.0.0.1:2375".into());
                    c.registry =
                        Some(RegistryLogin { username: "robot".into(), password: SecretRef::Env("TOKEN".into()) });
                },
                "unencrypted",
            ),
            (|c| c.container.restart = Restart::OnFailure, "unless-stopped"),
            (|c| drop(c.container.env.insert("A=B".into(), String::new())), "A=B"),
            (
                |c| {
                    c.container.env.insert("TOKEN".into(), String::new());
                    c.container.secret_env = BTreeMap::from([("TOKEN".into(), SecretRef::Env("T".into()))]);
                },
                "`secret_env`",
            ),
            (|c| drop(c.container.labels.insert("towpath.deploy.spec".into(), String::new())), "label"),
            (|c| c.container.networks.push("a/b".into()), "network"),
            (|c| c.container.ports.push("80-90".into()), "range"),
            (
                |c| {
                    c.container.mounts.push(MountSpec {
                        r#type: MountKind::Bind,
                        source: Some("data".into()),
                        target: "/data".into(),
                        read_only: false,
                        options: None,
                    });
                },
                "absolute folder",
            ),
            (|c| c.container.memory_bytes = Some(1024), "memory_bytes"),
            (|c| c.container.cpus = Some(f64::NAN), "cpus"),
            (|c| c.ready = Ready { port: None, path: Some("/".into()), timeout_s: 60 }, "`ready.port`"),
            (|c| c.ready.timeout_s = 0, "timeout_s"),
            (|c| c.switch = Switch::Beside(Beside { host_ports: [80, 80], ..beside() }), "two different ports"),
            (|c| c.switch = Switch::Beside(Beside { on_switch: OnSwitch::default(), ..beside() }), "who else"),
            (
                |c| {
                    c.switch = Switch::Beside(beside());
                    c.container.ports.push("8080:80".into());
                },
                "no two can publish",
            ),
        ];
        for (change, word) in cases {
            let mut config = DockerDeployConfig::new("web");
            assert!(config.check().is_ok());
            change(&mut config);
            let error = config.check().expect_err(word);
            assert!(error.kind() == ErrorKind::InvalidInput || error.kind() == ErrorKind::Unsupported, "{error:?}");
            assert!(error.report().contains(word), "{word:?}: {error:?}");
        }
    }

    #[test]
    fn variables_of_the_host_are_filled_in_and_values_of_variables_are_not_shown() {
        let mut host = Host { name: "web1".into(), ..Host::default() };
        host.vars.insert("port".into(), 8081.into());
        let config = DockerDeployConfig::new("web").port("{{ port }}:80").env("TOKEN", "hidden-token");
        assert_eq!(config.on(&host).expect("it fits").container.ports, ["8081:80"]);
        host.vars.insert("port".into(), "x".into());
        let error = config.on(&host).expect_err("no port");
        assert_eq!(error.get("host"), Some("web1"), "{error:?}");
        let shown = format!("{config:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hidden"), "{shown}");
    }
}
