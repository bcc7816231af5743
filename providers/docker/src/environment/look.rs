//! What is there, and how it differs from what is to be.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerState, HealthStatusEnum};
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions};
use serde_json::json;
use towpath_core::{Action, Change, Context, Error, ErrorKind, Plan, Result};

use super::names::{CONTAINER, NETWORK, SPEC, VOLUME, filter, full, own_name};
use super::spec::{Spec, container_digest, digest};
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::failed;

/// Something that an environment has made.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub(super) id: String,
    /// Digest of what it was made from.
    pub(super) spec: String,
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
}

impl Seen {
    fn of(name: &str, found: ContainerInspectResponse) -> Option<Self> {
        let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
        let published = found.network_settings.and_then(|n| n.ports).unwrap_or_default();
        let ports = published.into_iter().filter_map(|(port, bindings)| {
            let first = bindings?.into_iter().next()?;
            let address = first.host_ip.filter(|a| !a.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
            let address = if address.contains(':') { format!("[{address}]") } else { address };
            Some((port, format!("{address}:{}", first.host_port?)))
        });
        Some(Self {
            thing: Thing { id: found.id.unwrap_or_else(|| name.to_owned()), spec: labels.get(SPEC)?.clone() },
            image: found.image.unwrap_or_default(),
            state: found.state.unwrap_or_default(),
            ports: ports.collect(),
        })
    }

    pub(super) fn runs(&self) -> bool {
        self.state.running == Some(true) && self.state.paused != Some(true)
    }

    /// It has ended, and all was well.
    pub(super) fn completed(&self) -> bool {
        self.state.running != Some(true) && self.state.exit_code == Some(0) && self.was_started()
    }

    fn was_started(&self) -> bool {
        // What was never started has the zero time.
        self.state.finished_at.as_deref().is_some_and(|at| !at.is_empty() && !at.starts_with("0001-"))
    }

    pub(super) fn health(&self) -> Option<HealthStatusEnum> {
        self.state.health.as_ref()?.status.filter(|s| !matches!(s, HealthStatusEnum::NONE | HealthStatusEnum::EMPTY))
    }
}

/// Everything that is there of an environment.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) containers: BTreeMap<String, Seen>,
    pub(super) networks: BTreeMap<String, Thing>,
    pub(super) volumes: BTreeMap<String, Thing>,
}

impl World {
    pub(super) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// Looks at one container.
    pub(super) async fn of_one(
        engine: &Engine,
        operation: &'static str,
        environment: &str,
        name: &str,
    ) -> Result<Option<Seen>> {
        let full = full(environment, name);
        let Some(found) = engine.container(operation, &full).await? else { return Ok(None) };
        let labels = found.config.as_ref().and_then(|c| c.labels.clone()).unwrap_or_default();
        let own = own_name(environment, CONTAINER, &labels, &full).is_some();
        Ok(if own { Seen::of(&full, found) } else { None })
    }

    /// Looks.
    pub(super) async fn of(engine: &Engine, operation: &'static str, environment: &str) -> Result<Self> {
        let mut world = Self::default();
        let cant = |e| failed(operation, "what the environment has can't be listed", e);
        let spec = |labels: &HashMap<String, String>| labels.get(SPEC).cloned().unwrap_or_default();
        for found in engine.containers(operation, filter(environment)).await? {
            let labels = found.labels.unwrap_or_default();
            let called = found.names.iter().flatten().map(|n| n.trim_start_matches('/'));
            let own = called.filter_map(|c| own_name(environment, CONTAINER, &labels, c)).next();
            let (Some(name), Some(id)) = (own, found.id) else { continue };
            // `None`: it was removed just now.
            if let Some(seen) = engine.container(operation, &id).await?.and_then(|c| Seen::of(&id, c)) {
                world.containers.insert(name, seen);
            }
        }
        let options = ListNetworksOptions { filters: Some(filter(environment)) };
        for found in engine.docker.list_networks(Some(options)).await.map_err(cant)? {
            let labels = found.labels.unwrap_or_default();
            let (called, id) = (found.name.unwrap_or_default(), found.id.unwrap_or_default());
            if let Some(name) = own_name(environment, NETWORK, &labels, &called) {
                world.networks.insert(name, Thing { id, spec: spec(&labels) });
            }
        }
        let options = ListVolumesOptions { filters: Some(filter(environment)) };
        for found in engine.docker.list_volumes(Some(options)).await.map_err(cant)?.volumes.unwrap_or_default() {
            if let Some(name) = own_name(environment, VOLUME, &found.labels, &found.name) {
                world.volumes.insert(name, Thing { id: found.name, spec: spec(&found.labels) });
            }
        }
        Ok(world)
    }
}

/// What is to be done about a thing, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    Create,
    /// It is removed and made anew.
    Replace(&'static str),
    /// A container is started, or started again.
    Start(&'static str),
    Remove,
    /// It is there, is wanted no more, and keeps its data.
    Keep,
    /// It would have to be made anew, and its data would be lost.
    Refuse,
}

/// How what is there differs from what is to be. What is as it should be is not in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Difference {
    pub(super) containers: BTreeMap<String, Todo>,
    pub(super) networks: BTreeMap<String, Todo>,
    pub(super) volumes: BTreeMap<String, Todo>,
    /// Images that the engine does not have.
    pub(super) pulls: BTreeSet<String>,
    /// Containers whose images are to be built.
    pub(super) builds: BTreeSet<String>,
    pub(super) plan: Plan,
}

impl Difference {
    /// Fails if something would be lost that no plan may lose by the way.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        let refused = self.volumes.iter().find(|(_, todo)| **todo == Todo::Refuse);
        refused.map_or(Ok(()), |(name, _)| {
            Err(Error::new(
                ErrorKind::Conflict,
                PROVIDER,
                operation,
                "the spec of a volume has changed, and making it anew would lose its data: give the new one another name, or \
                 destroy the environment first",
            )
            .with("volume", name))
        })
    }

    /// How many things are made, changed or removed.
    pub(super) fn count(&self) -> usize {
        let all = self.containers.values().chain(self.networks.values()).chain(self.volumes.values());
        all.filter(|todo| **todo != Todo::Keep).count() + self.builds.len()
    }

    /// Compares. `built`: the images of containers that are built, by container, as far as they are there.
    pub(super) async fn of(
        cx: &Context,
        engine: &Engine,
        operation: &'static str,
        (spec, built): (&Spec, &BTreeMap<String, Option<String>>),
        world: &World,
    ) -> Result<Self> {
        let mut it = Self::default();
        for (name, id) in built {
            let (target, subject) = (cx.environment(), format!("image {name}"));
            it.plan.changes.push(match id {
                Some(_) => Change::will_not(target, subject),
                None => Change::will(target, subject, Action::Create),
            });
        }
        it.builds = built.iter().filter(|(_, id)| id.is_none()).map(|(name, _)| name.clone()).collect();
        for (name, network) in &spec.networks {
            let todo = match world.networks.get(name) {
                None => Some(Todo::Create),
                Some(there) if there.spec != digest(&json!(network)) => Some(Todo::Replace("its spec has changed")),
                Some(_) => None,
            };
            it.note(cx, NETWORK, name, todo);
        }
        for (name, volume) in &spec.volumes {
            let todo = match world.volumes.get(name) {
                None => Some(Todo::Create),
                Some(there) if there.spec != digest(&json!(volume)) => Some(Todo::Refuse),
                Some(_) => None,
            };
            it.note(cx, VOLUME, name, todo);
        }
        let mut images: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for (name, container) in &spec.containers {
            let image = match (built.get(name), images.get(container.image.as_str())) {
                (Some(known), _) | (None, Some(known)) => known.clone(),
                (None, None) => {
                    let found = engine.image(operation, &container.image).await?.and_then(|i| i.id);
                    images.insert(&container.image, found.clone());
                    found
                }
            };
            if image.is_none() && !built.contains_key(name) {
                it.pulls.insert(container.image.clone());
            }
            let todo = match world.containers.get(name) {
                None => Some(Todo::Create),
                Some(there) if there.thing.spec != container_digest(container) => {
                    Some(Todo::Replace("its spec has changed"))
                }
                Some(_) if it.builds.contains(name) => Some(Todo::Replace("its image is built anew")),
                Some(there) if image.as_ref().is_some_and(|i| *i != there.image) => {
                    Some(Todo::Replace("its image is another one by now"))
                }
                Some(_) if container.networks.iter().any(|n| it.networks.contains_key(n)) => {
                    Some(Todo::Replace("a network of it is made anew"))
                }
                Some(there) if container.once => {
                    (!there.completed()).then_some(Todo::Start("it has not come to its end"))
                }
                Some(there) if !there.runs() => Some(Todo::Start("it does not run")),
                Some(there) if there.health() == Some(HealthStatusEnum::UNHEALTHY) => {
                    Some(Todo::Start("it is unhealthy"))
                }
                Some(_) => None,
            };
            it.note(cx, CONTAINER, name, todo);
        }
        for name in world.containers.keys().filter(|n| !spec.containers.contains_key(*n)) {
            it.note(cx, CONTAINER, name, Some(Todo::Remove));
        }
        for name in world.networks.keys().filter(|n| !spec.networks.contains_key(*n)) {
            it.note(cx, NETWORK, name, Some(Todo::Remove));
        }
        for name in world.volumes.keys().filter(|n| !spec.volumes.contains_key(*n)) {
            it.note(cx, VOLUME, name, Some(Todo::Keep));
            let message = format!("the volume `{name}` is not in the spec any more; it keeps its data until `destroy`");
            it.plan.warnings.push(message);
        }
        Ok(it)
    }

    fn note(&mut self, cx: &Context, kind: &str, name: &str, todo: Option<Todo>) {
        let (target, subject) = (cx.environment(), format!("{kind} {name}"));
        let with =
            |action, why: &str| Change { reason: Some(why.to_owned()), ..Change::will(target, &subject, action) };
        self.plan.changes.push(match todo {
            None | Some(Todo::Keep) => Change::will_not(target, &subject),
            Some(Todo::Create) => Change::will(target, &subject, Action::Create),
            Some(Todo::Remove) => with(Action::Delete, "it is not in the spec any more"),
            Some(Todo::Replace(why)) => with(Action::Replace, why),
            Some(Todo::Refuse) => with(Action::Replace, "its spec has changed; refused, since its data would be lost"),
            Some(Todo::Start(why)) => with(Action::Update, why),
        });
        let things = match kind {
            CONTAINER => &mut self.containers,
            NETWORK => &mut self.networks,
            _ => &mut self.volumes,
        };
        if let Some(todo) = todo {
            things.insert(name.to_owned(), todo);
        }
    }
}
