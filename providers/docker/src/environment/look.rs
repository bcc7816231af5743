//! What is there of an environment.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerState, HealthStatusEnum};
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions};
use towpath_core::Result;

use super::names::{CONTAINER, NETWORK, ONCE, Owner, SPEC, VOLUME};
use crate::engine::Engine;
use crate::errors::failed;

/// Something that an environment has made.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub(super) id: String,
    /// Digest of what it was made from.
    pub(super) spec: String,
    /// When it was made, if the engine tells.
    created: String,
}

/// A container that an environment has made.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) thing: Thing,
    /// Id of its image.
    pub(super) image: String,
    pub(super) state: ContainerState,
    /// Where its ports are published: `80/tcp` at `127.0.0.1:8080`.
    pub(super) ports: BTreeMap<String, String>,
    /// It runs to its end once.
    pub(super) once: bool,
    /// The networks that it is in, as the engine calls them, and their ids.
    networks: BTreeMap<String, String>,
}

impl Seen {
    fn of(name: &str, found: ContainerInspectResponse) -> Option<Self> {
        let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
        let settings = found.network_settings.unwrap_or_default();
        let ports = settings.ports.unwrap_or_default().into_iter().filter_map(|(port, bindings)| {
            let first = bindings?.into_iter().next()?;
            let address = first.host_ip.filter(|a| !a.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
            let address = if address.contains(':') { format!("[{address}]") } else { address };
            Some((port, format!("{address}:{}", first.host_port?)))
        });
        let joined = settings.networks.unwrap_or_default().into_iter();
        Some(Self {
            thing: Thing {
                id: found.id.unwrap_or_else(|| name.to_owned()),
                spec: labels.get(SPEC)?.clone(),
                created: String::new(),
            },
            image: found.image.unwrap_or_default(),
            state: found.state.unwrap_or_default(),
            ports: ports.collect(),
            once: labels.contains_key(ONCE),
            networks: joined.map(|(name, n)| (name, n.network_id.unwrap_or_default())).collect(),
        })
    }

    pub(super) fn runs(&self) -> bool {
        self.state.running == Some(true) && !self.is_paused()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.paused == Some(true)
    }

    /// It runs once, and has not come to its end: who ends it now interrupts a migration.
    pub(super) fn is_under_way(&self) -> bool {
        self.once && self.state.running == Some(true)
    }

    /// It has ended, and all was well.
    pub(super) fn completed(&self) -> bool {
        self.state.running != Some(true) && self.state.exit_code == Some(0) && self.was_started()
    }

    /// `false`: it was made only. Whether it is in all its networks is not known then.
    pub(super) fn was_started(&self) -> bool {
        // What never started, or never ended, has the zero time.
        let at = |time: &Option<String>| time.as_deref().is_some_and(|at| !at.is_empty() && !at.starts_with("0001-"));
        self.state.running == Some(true) || at(&self.state.started_at) || at(&self.state.finished_at)
    }

    pub(super) fn health(&self) -> Option<HealthStatusEnum> {
        self.state.health.as_ref()?.status.filter(|s| !matches!(s, HealthStatusEnum::NONE | HealthStatusEnum::EMPTY))
    }

    /// Whether it is in the network of this id, which the engine calls `full`.
    fn is_in(&self, id: &str, full: &str) -> bool {
        self.networks.iter().any(|(called, of)| match of.as_str() {
            // Before its first start.
            "" => called == full || called == id,
            // Podman's networks have their names as ids here.
            of => of == id || (of == full && called == full),
        })
    }
}

/// Volumes in which containers keep what they write where no volume is named: by container and place.
pub(super) type Data = BTreeMap<(String, String), String>;

/// Everything that is there of an environment.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) containers: BTreeMap<String, Seen>,
    pub(super) networks: BTreeMap<String, Thing>,
    /// More networks of the same names, which engines allow.
    pub(super) doubles: Vec<(String, Thing)>,
    pub(super) volumes: BTreeMap<String, Thing>,
    pub(super) data: Data,
}

impl World {
    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many things are there.
    pub(super) fn count(&self) -> usize {
        let volumes = self.volumes.len() + self.data.len();
        self.containers.len() + self.networks.len() + self.doubles.len() + volumes
    }

    /// Looks at one container.
    pub(super) async fn of_one(
        engine: &Engine,
        operation: &'static str,
        owner: &Owner,
        name: &str,
    ) -> Result<Option<Seen>> {
        let full = owner.full(name);
        let Some(found) = engine.container(operation, &full).await? else { return Ok(None) };
        let labels = found.config.as_ref().and_then(|c| c.labels.clone()).unwrap_or_default();
        let own = owner.own_name(CONTAINER, &labels, &full).is_some();
        Ok(if own { Seen::of(&full, found) } else { None })
    }

    /// Looks.
    pub(super) async fn of(engine: &Engine, operation: &'static str, owner: &Owner) -> Result<Self> {
        let mut world = Self::default();
        for found in engine.containers(operation, owner.filter()).await? {
            let labels = found.labels.unwrap_or_default();
            let called = found.names.iter().flatten().map(|n| n.trim_start_matches('/'));
            let own = called.filter_map(|c| owner.own_name(CONTAINER, &labels, c)).next();
            let (Some(name), Some(id)) = (own, found.id) else { continue };
            // `None`: it was removed just now.
            if let Some(seen) = engine.container(operation, &id).await?.and_then(|c| Seen::of(&id, c)) {
                world.containers.insert(name, seen);
            }
        }
        for (name, mut all) in networks(engine, operation, owner).await? {
            let full = owner.full(&name);
            let used = |t: &Thing| world.containers.values().filter(|c| c.is_in(&t.id, &full)).count();
            // The one that is used stays; else the first, as everywhere.
            let most = all.iter().map(used).max().unwrap_or_default();
            let kept = all.iter().position(|t| used(t) == most).unwrap_or_default();
            if kept < all.len() {
                world.networks.insert(name.clone(), all.remove(kept));
            }
            world.doubles.extend(all.into_iter().map(|t| (name.clone(), t)));
        }
        let options = ListVolumesOptions { filters: Some(owner.filter()) };
        let found = engine.docker.list_volumes(Some(options)).await.map_err(|e| cant_list(operation, owner, e))?;
        for found in found.volumes.unwrap_or_default() {
            if let Some(name) = owner.own_name(VOLUME, &found.labels, &found.name) {
                let spec = found.labels.get(SPEC).cloned().unwrap_or_default();
                world.volumes.insert(name, Thing { id: found.name, spec, created: String::new() });
            } else if let Some(place) = owner.own_data(&found.labels, &found.name) {
                world.data.insert(place, found.name);
            }
        }
        Ok(world)
    }

    /// Whether a container is in a network of the environment; nothing is said of one that is not there.
    pub(super) fn joined(&self, owner: &Owner, container: &Seen, network: &str) -> bool {
        self.networks.get(network).is_none_or(|there| container.is_in(&there.id, &owner.full(network)))
    }
}

fn cant_list(operation: &'static str, owner: &Owner, e: bollard::errors::Error) -> towpath_core::Error {
    failed(operation, "what the environment has can't be listed: look at the engine's own log", e)
        .with("environment", owner.environment())
}

/// The environment's networks by name, the oldest first: engines take the same name twice.
pub(super) async fn networks(
    engine: &Engine,
    operation: &'static str,
    owner: &Owner,
) -> Result<BTreeMap<String, Vec<Thing>>> {
    let options = ListNetworksOptions { filters: Some(owner.filter()) };
    let mut all: BTreeMap<String, Vec<Thing>> = BTreeMap::new();
    for found in engine.docker.list_networks(Some(options)).await.map_err(|e| cant_list(operation, owner, e))? {
        let labels: HashMap<String, String> = found.labels.unwrap_or_default();
        let (called, id) = (found.name.unwrap_or_default(), found.id.unwrap_or_default());
        if let Some(name) = owner.own_name(NETWORK, &labels, &called) {
            let spec = labels.get(SPEC).cloned().unwrap_or_default();
            let created = found.created.map(|at| at.to_string()).unwrap_or_default();
            all.entry(name).or_default().push(Thing { id, spec, created });
        }
    }
    for things in all.values_mut() {
        things.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    }
    Ok(all)
}

/// Ids of networks of exactly this name, whoever made them.
pub(super) async fn networks_called(engine: &Engine, operation: &'static str, full: &str) -> Result<Vec<String>> {
    let filters = HashMap::from([("name".to_owned(), vec![full.to_owned()])]);
    let found = engine.docker.list_networks(Some(ListNetworksOptions { filters: Some(filters) })).await;
    let found =
        found.map_err(|e| failed(operation, "the engine's networks can't be listed", e).with("network", full))?;
    // The filter also finds parts of names.
    Ok(found.into_iter().filter(|n| n.name.as_deref() == Some(full)).filter_map(|n| n.id).collect())
}
