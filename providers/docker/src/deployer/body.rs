//! A service's container as the engine takes it.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount, MountType, NetworkingConfig, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};
use serde_json::json;
use towpath_core::{Context, Release, Result, digest_json};

use super::config::{DockerDeployConfig, ServiceContainer, Switch};
use super::look::Seen;
use super::names::Owner;
use crate::environment::{MountKind, Port, Restart, health};

/// Part of every digest: another way of making containers replaces them.
const FORM: u32 = 1;

/// The names of the two slots.
pub(super) const SLOTS: [&str; 2] = ["a", "b"];

fn ports(config: &DockerDeployConfig, slot: Option<usize>) -> Result<Vec<Port>> {
    let mut ports = config.container.ports.iter().map(|p| Port::parse(p)).collect::<Result<Vec<_>>>()?;
    if let (Switch::Beside(beside), Some(slot)) = (&config.switch, slot) {
        let [a, b] = beside.host_ports;
        ports.push(Port {
            address: beside.address.clone(),
            published: if slot == 0 { a } else { b }.to_string(),
            target: format!("{}/tcp", beside.port),
        });
    }
    Ok(ports)
}

/// A container to be.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) version: String,
    /// Id of the image on the target; `None`: the container is there, and can't be made anew.
    pub(super) image: Option<String>,
    /// Digest of all that it is made from.
    pub(super) spec: String,
    /// Its slot: `0` or `1`.
    pub(super) slot: Option<usize>,
    pub(super) ports: Vec<Port>,
    env: BTreeMap<String, String>,
}

impl Plan {
    pub(super) fn of(config: &DockerDeployConfig, release: &Release, image: &str, slot: Option<usize>) -> Result<Self> {
        let ports = ports(config, slot)?;
        let mut env = config.container.env.clone();
        env.extend(release.env.clone());
        let published: Vec<_> = ports.iter().map(|p| [&p.address, &p.published, &p.target]).collect();
        let container = ServiceContainer { env: env.clone(), ports: Vec::new(), ..config.container.clone() };
        let spec = digest_json(&json!({
            "form": FORM, "image": image, "slot": slot, "ports": published, "container": container,
        }));
        let image = Some(image.to_owned());
        Ok(Self { version: release.version.clone(), image, spec, slot, ports, env })
    }

    /// The one that a container was made by, of which no more needs to be known than that.
    pub(super) fn kept(config: &DockerDeployConfig, container: &Seen) -> Result<Self> {
        let slot = SLOTS.iter().position(|s| container.slot.as_deref() == Some(s));
        let (version, spec) = (container.version.clone(), container.spec.clone());
        Ok(Self { version, image: None, spec, slot, ports: ports(config, slot)?, env: BTreeMap::new() })
    }

    pub(super) fn slot_name(&self) -> Option<&'static str> {
        self.slot.and_then(|s| SLOTS.get(s)).copied()
    }
}

/// Everything of it, secrets resolved. `also`: the networks that it joins before it is started.
pub(super) async fn body(
    cx: &Context,
    owner: &Owner,
    container: &ServiceContainer,
    plan: &Plan,
    image: &str,
) -> Result<ContainerCreateBody> {
    let hidden = container.secret_env.keys();
    let mut env: Vec<String> =
        plan.env.iter().filter(|(k, _)| !hidden.clone().any(|h| h == *k)).map(|(k, v)| format!("{k}={v}")).collect();
    for (variable, secret) in &container.secret_env {
        env.push(format!("{variable}={}", cx.resolve(secret).await?.expose()));
    }
    let mut labels: HashMap<String, String> = container.labels.clone().into_iter().collect();
    labels.extend(owner.labels(&plan.version, &plan.spec, plan.slot_name()));
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &plan.ports {
        let binding = PortBinding { host_ip: Some(port.address.clone()), host_port: Some(port.published.clone()) };
        bindings.entry(port.target.clone()).or_default().get_or_insert_default().push(binding);
    }
    let first = container.networks.first().cloned();
    Ok(ContainerCreateBody {
        user: container.user.clone(),
        exposed_ports: Some(plan.ports.iter().map(|p| p.target.clone()).collect()),
        env: Some(env),
        cmd: container.command.clone(),
        entrypoint: container.entrypoint.clone(),
        healthcheck: container.healthcheck.as_ref().map(health),
        image: Some(image.to_owned()),
        working_dir: container.workdir.clone(),
        labels: Some(labels),
        stop_signal: container.stop_signal.clone(),
        stop_timeout: Some(i64::from(container.stop_timeout_s)),
        host_config: Some(host_config(container, bindings, first.clone())),
        networking_config: first.map(|network| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint(owner, plan))])),
        }),
        ..ContainerCreateBody::default()
    })
}

/// Its place in a network: found under the service's name, beside another one with its slot.
pub(super) fn endpoint(owner: &Owner, plan: &Plan) -> EndpointSettings {
    let alias = match plan.slot_name() {
        Some(slot) => format!("{}-{slot}", owner.service),
        None => owner.service.clone(),
    };
    EndpointSettings { aliases: Some(vec![alias]), ..EndpointSettings::default() }
}

fn host_config(
    c: &ServiceContainer,
    bindings: HashMap<String, Option<Vec<PortBinding>>>,
    network: Option<String>,
) -> HostConfig {
    let restart = match c.restart {
        Restart::No => RestartPolicyNameEnum::NO,
        _ => RestartPolicyNameEnum::UNLESS_STOPPED,
    };
    let in_memory = c.mounts.iter().filter(|m| m.r#type == MountKind::Tmpfs);
    let tmpfs = in_memory.map(|m| {
        let given = m.options.iter().filter(|o| !o.is_empty()).map(String::as_str);
        let words: Vec<&str> = m.read_only.then_some("ro").into_iter().chain(given).collect();
        (m.target.clone(), words.join(","))
    });
    let mounts = c.mounts.iter().filter(|m| m.r#type != MountKind::Tmpfs).map(|m| Mount {
        target: Some(m.target.clone()),
        source: m.source.clone(),
        typ: Some(if m.r#type == MountKind::Volume { MountType::VOLUME } else { MountType::BIND }),
        read_only: Some(m.read_only),
        ..Mount::default()
    });
    HostConfig {
        network_mode: network,
        port_bindings: Some(bindings),
        restart_policy: Some(RestartPolicy { name: Some(restart), maximum_retry_count: None }),
        mounts: Some(mounts.collect()),
        tmpfs: Some(tmpfs.collect()),
        init: Some(c.init),
        readonly_rootfs: Some(c.read_only),
        memory: c.memory_bytes.map(|b| i64::try_from(b).unwrap_or(i64::MAX)),
        // Without it as much again may be swapped, and a limit is none.
        memory_swap: c.memory_bytes.map(|b| i64::try_from(b).unwrap_or(i64::MAX)),
        nano_cpus: c.cpus.map(|n| (n * 1e9) as i64),
        pids_limit: c.pids_limit.map(i64::from),
        cap_add: Some(c.cap_add.clone()),
        cap_drop: Some(c.cap_drop.clone()),
        security_opt: Some(c.security_opt.clone()),
        extra_hosts: Some(c.extra_hosts.clone()),
        ..HostConfig::default()
    }
}
