//! A container's spec as the engine takes it.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, Mount, MountType, NetworkingConfig, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};
use towpath_core::{Context, Result};

use super::config::{ContainerSpec, Healthcheck, MountKind, Restart};
use super::names::{CONTAINER, ONCE, Owner};
use super::spec::{Port, container_digest};

/// A million: the engine counts in nanoseconds.
const NS: u64 = 1_000_000;

/// What a container stands on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    /// Ids of the environment's networks, by name.
    pub(super) networks: &'a BTreeMap<String, String>,
    /// Volumes for what it writes where none is named, by place.
    pub(super) data: &'a BTreeMap<String, String>,
}

/// `image`: what it is made from, which may have been built a moment before.
pub(super) async fn body(
    cx: &Context,
    owner: &Owner,
    name: &str,
    spec: &ContainerSpec,
    image: &str,
    ground: Ground<'_>,
) -> Result<ContainerCreateBody> {
    let mut env: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for (variable, secret) in &spec.secret_env {
        env.push(format!("{variable}={}", cx.resolve(secret).await?.expose()));
    }
    let mut all_labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    all_labels.extend(owner.labels(CONTAINER, name, &container_digest(spec)));
    if spec.once {
        all_labels.insert(ONCE.to_owned(), "true".to_owned());
    }
    let ports: Vec<Port> = spec.ports.iter().map(|p| Port::parse(p)).collect::<Result<_>>()?;
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &ports {
        let binding = PortBinding { host_ip: Some(port.address.clone()), host_port: Some(port.published.clone()) };
        bindings.entry(port.target.clone()).or_default().get_or_insert_default().push(binding);
    }
    let first = spec.networks.first().and_then(|n| ground.networks.get(n).cloned());
    Ok(ContainerCreateBody {
        hostname: Some(spec.hostname.clone().unwrap_or_else(|| name.replace(['_', '.'], "-"))),
        user: spec.user.clone(),
        exposed_ports: Some(ports.iter().map(|p| p.target.clone()).collect()),
        env: Some(env),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        healthcheck: spec.healthcheck.as_ref().map(health),
        image: Some(image.to_owned()),
        working_dir: spec.workdir.clone(),
        labels: Some(all_labels),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_s.map(i64::from),
        host_config: Some(host_config(owner, spec, bindings, first.clone(), ground.data)),
        // The engine takes one network here; the others are joined before it starts.
        networking_config: first
            .map(|network| NetworkingConfig { endpoints_config: Some(HashMap::from([(network, endpoint(name))])) }),
        ..ContainerCreateBody::default()
    })
}

/// Its place in a network: others find it there under its own name.
pub(super) fn endpoint(name: &str) -> EndpointSettings {
    EndpointSettings { aliases: Some(vec![name.to_owned()]), ..EndpointSettings::default() }
}

fn host_config(
    owner: &Owner,
    spec: &ContainerSpec,
    bindings: HashMap<String, Option<Vec<PortBinding>>>,
    network: Option<String>,
    data: &BTreeMap<String, String>,
) -> HostConfig {
    let restart = match spec.restart {
        Restart::No => RestartPolicyNameEnum::NO,
        Restart::Always => RestartPolicyNameEnum::ALWAYS,
        Restart::UnlessStopped => RestartPolicyNameEnum::UNLESS_STOPPED,
        Restart::OnFailure => RestartPolicyNameEnum::ON_FAILURE,
    };
    let in_memory = spec.mounts.iter().filter(|m| m.r#type == MountKind::Tmpfs);
    let tmpfs: HashMap<String, String> = in_memory
        .map(|m| {
            let mut options = m.options.clone().unwrap_or_default();
            if m.read_only {
                options = if options.is_empty() { "ro".to_owned() } else { format!("ro,{options}") };
            }
            (m.target.clone(), options)
        })
        .collect();
    // A volume without a name is the container's own, and in `data`.
    let named = spec.mounts.iter().filter(|m| m.r#type != MountKind::Tmpfs && m.source.is_some());
    let mounts = named.map(|m| Mount {
        target: Some(m.target.clone()),
        source: m.source.as_ref().map(|s| match m.r#type {
            MountKind::Volume => owner.full(s),
            MountKind::Bind | MountKind::Tmpfs => s.clone(),
        }),
        typ: Some(if m.r#type == MountKind::Volume { MountType::VOLUME } else { MountType::BIND }),
        read_only: Some(m.read_only),
        ..Mount::default()
    });
    let own = |target: &str| {
        let target = target.trim_end_matches('/');
        spec.mounts.iter().find(|m| m.target.trim_end_matches('/') == target).is_some_and(|m| m.read_only)
    };
    let data = data.iter().map(|(target, volume)| Mount {
        target: Some(target.clone()),
        source: Some(volume.clone()),
        typ: Some(MountType::VOLUME),
        read_only: Some(own(target)),
        ..Mount::default()
    });
    HostConfig {
        network_mode: network,
        port_bindings: Some(bindings),
        restart_policy: Some(RestartPolicy { name: Some(restart), maximum_retry_count: None }),
        mounts: Some(mounts.chain(data).collect()),
        tmpfs: Some(tmpfs),
        init: Some(spec.init),
        cap_add: Some(spec.cap_add.clone()),
        security_opt: Some(spec.security_opt.clone()),
        privileged: Some(spec.privileged),
        extra_hosts: Some(spec.extra_hosts.clone()),
        ..HostConfig::default()
    }
}

/// A check as the engine takes it.
pub(crate) fn health(check: &Healthcheck) -> HealthConfig {
    let ns = |ms: u64| i64::try_from(ms.saturating_mul(NS)).unwrap_or(i64::MAX);
    HealthConfig {
        test: Some(check.test.clone()),
        interval: Some(ns(check.interval_ms.unwrap_or(1000))),
        timeout: check.timeout_ms.map(ns),
        retries: check.retries.map(i64::from),
        start_period: check.start_period_ms.map(ns),
        start_interval: None,
    }
}
