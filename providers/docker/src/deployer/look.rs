//! What is there of a service on a target.

use bollard::models::{ContainerInspectResponse, ContainerState, HealthStatusEnum};
use towpath_core::Result;

use super::names::{Owner, SLOT, SPEC, VERSION};
use crate::engine::Engine;

/// A container of the service.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    /// Digest of what it was made from.
    pub(super) spec: String,
    pub(super) slot: Option<String>,
    pub(super) state: ContainerState,
    /// How often the engine has started it again.
    pub(super) restarts: i64,
    /// Its address in the first of its networks.
    pub(super) address: Option<String>,
    /// Where its ports are published: `80/tcp`, address, port of the host.
    pub(super) published: Vec<(String, String, u16)>,
    pub(super) created: String,
}

impl Seen {
    fn of(found: ContainerInspectResponse) -> Self {
        let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
        let settings = found.network_settings.unwrap_or_default();
        let ports = settings.ports.unwrap_or_default().into_iter().flat_map(|(port, bindings)| {
            let all = bindings.unwrap_or_default().into_iter();
            all.filter_map(move |b| Some((port.clone(), b.host_ip.unwrap_or_default(), b.host_port?.parse().ok()?)))
        });
        let mut networks: Vec<_> = settings.networks.unwrap_or_default().into_iter().collect();
        networks.sort_by(|a, b| a.0.cmp(&b.0));
        Self {
            id: found.id.unwrap_or_default(),
            name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            version: labels.get(VERSION).cloned().unwrap_or_default(),
            spec: labels.get(SPEC).cloned().unwrap_or_default(),
            slot: labels.get(SLOT).cloned(),
            state: found.state.unwrap_or_default(),
            restarts: found.restart_count.unwrap_or_default(),
            address: networks.into_iter().find_map(|(_, n)| n.ip_address.filter(|a| !a.is_empty())),
            published: ports.collect(),
            created: found.created.map(|at| at.to_string()).unwrap_or_default(),
        }
    }

    /// Its process is there, also while the engine starts it again and again.
    pub(super) fn runs(&self) -> bool {
        self.state.running == Some(true)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.paused == Some(true)
    }

    pub(super) fn health(&self) -> Option<HealthStatusEnum> {
        self.state.health.as_ref()?.status.filter(|s| !matches!(s, HealthStatusEnum::NONE | HealthStatusEnum::EMPTY))
    }

    /// It runs, and nothing says that it does not work.
    pub(super) fn works(&self) -> bool {
        self.runs()
            && !self.is_paused()
            && self.state.restarting != Some(true)
            && !matches!(self.health(), Some(HealthStatusEnum::UNHEALTHY | HealthStatusEnum::STARTING))
    }

    /// `false`: it was made only.
    pub(super) fn was_started(&self) -> bool {
        // What never started has the zero time.
        self.runs() || self.started().is_some_and(|at| !at.is_empty() && !at.starts_with("0001-"))
    }

    fn started(&self) -> Option<&str> {
        self.state.started_at.as_deref()
    }
}

/// All containers of the service, the newest first: by their last start, then by when they were made.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) all: Vec<Seen>,
}

impl World {
    pub(super) async fn of(engine: &Engine, operation: &'static str, owner: &Owner) -> Result<Self> {
        let mut all = Vec::new();
        for found in engine.containers(operation, owner.filter()).await? {
            let labels = found.labels.unwrap_or_default();
            let called = found.names.iter().flatten().any(|n| owner.owns(n.trim_start_matches('/'), &labels));
            let Some(id) = found.id.filter(|_| called) else { continue };
            // `None`: it was removed just now.
            all.extend(engine.container(operation, &id).await?.map(Seen::of));
        }
        Ok(Self::sorted(all))
    }

    pub(super) fn sorted(mut all: Vec<Seen>) -> Self {
        all.sort_by(|a, b| (b.started(), &b.created, &b.id).cmp(&(a.started(), &a.created, &a.id)));
        Self { all }
    }

    /// The container of this name.
    pub(super) fn called(&self, name: &str) -> Option<&Seen> {
        self.all.iter().find(|c| c.name == name)
    }

    /// The container of a version that was made exactly so.
    pub(super) fn made(&self, version: &str, spec: &str) -> Option<&Seen> {
        self.all.iter().find(|c| c.version == version && c.spec == spec)
    }

    /// The container of a version that ran last.
    pub(super) fn kept(&self, version: &str) -> Option<&Seen> {
        self.all.iter().find(|c| c.version == version && c.was_started())
    }

    /// The container that serves, or would: the one that has the service's name and runs, else the one that was started last of those
    /// that run, else the one that has the name.
    pub(super) fn current(&self, owner: &Owner) -> Option<&Seen> {
        let holder = self.called(&owner.name);
        holder.filter(|h| h.runs()).or_else(|| self.all.iter().find(|c| c.runs())).or(holder)
    }
}
