//! How what is there differs from what is to be.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::HealthStatusEnum;
use serde_json::json;
use towpath_core::{Action, Change, Error, ErrorKind, Plan, Result};

use super::look::{Seen, World};
use super::names::{CONTAINER, NETWORK, Owner, VOLUME};
use super::spec::{Spec, container_digest, digest};
use crate::PROVIDER;
use crate::engine::Engine;

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
    /// How many networks are there once too often.
    doubles: usize,
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
        all.filter(|todo| **todo != Todo::Keep).count() + self.builds.len() + self.doubles
    }

    /// Compares. `built`: the images of containers that are built, by container, as far as they are there.
    pub(super) async fn of(
        owner: &Owner,
        engine: &Engine,
        operation: &'static str,
        (spec, built): (&Spec, &BTreeMap<String, Option<String>>),
        world: &World,
    ) -> Result<Self> {
        let mut it = Self::default();
        for (name, id) in built {
            let (target, subject) = (owner.environment(), format!("image {name}"));
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
            it.note(owner, NETWORK, name, todo);
        }
        for (name, volume) in &spec.volumes {
            let todo = match world.volumes.get(name) {
                None => Some(Todo::Create),
                Some(there) if there.spec != digest(&json!(volume)) => Some(Todo::Refuse),
                Some(_) => None,
            };
            it.note(owner, VOLUME, name, todo);
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
                Some(there) if !there.was_started() => Some(Todo::Replace("it was made and never started")),
                Some(there) if container.networks.iter().any(|n| !world.joined(owner, there, n)) => {
                    Some(Todo::Replace("it is not in all of its networks"))
                }
                Some(there) => state(container.once, there).map(Todo::Start),
            };
            it.note(owner, CONTAINER, name, todo);
        }
        for name in world.containers.keys().filter(|n| !spec.containers.contains_key(*n)) {
            it.note(owner, CONTAINER, name, Some(Todo::Remove));
        }
        for name in world.networks.keys().filter(|n| !spec.networks.contains_key(*n)) {
            it.note(owner, NETWORK, name, Some(Todo::Remove));
        }
        for (name, seen) in world.containers.iter().filter(|(_, seen)| seen.is_under_way()) {
            if let Some(Todo::Replace(_) | Todo::Remove) = it.containers.get(name) {
                let id = seen.thing.id.get(..12).unwrap_or_default();
                it.plan.warnings.push(format!(
                    "the container `{name}` ({id}) runs once and has not come to its end: that is waited for before anything is \
                     replaced"
                ));
            }
        }
        for (name, double) in &world.doubles {
            it.doubles += 1;
            it.plan.changes.push(Change {
                reason: Some("the engine has two networks of this name".into()),
                ..Change::will(owner.environment(), format!("{NETWORK} {name} ({})", double.id), Action::Delete)
            });
        }
        for ((container, target), _) in world.data.iter().filter(|((c, _), _)| !spec.containers.contains_key(c)) {
            let message = format!(
                "what the container `{container}` wrote below {target} is kept until `destroy`, though it is not in the spec any more"
            );
            it.plan.warnings.push(message);
        }
        for name in world.volumes.keys().filter(|n| !spec.volumes.contains_key(*n)) {
            it.note(owner, VOLUME, name, Some(Todo::Keep));
            let message = format!("the volume `{name}` is not in the spec any more; it keeps its data until `destroy`");
            it.plan.warnings.push(message);
        }
        Ok(it)
    }

    fn note(&mut self, owner: &Owner, kind: &str, name: &str, todo: Option<Todo>) {
        let (target, subject) = (owner.environment(), format!("{kind} {name}"));
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

/// Why a container that is what it should be is to be started. `None`: it works, or did what it was to do.
fn state(once: bool, there: &Seen) -> Option<&'static str> {
    if there.is_paused() {
        return Some("it is paused");
    }
    // One that runs once is never started again while it runs: its end is waited for.
    match once {
        true if there.runs() || there.completed() => None,
        true => Some("it has not come to its end"),
        false if !there.runs() => Some("it does not run"),
        false => (there.health() == Some(HealthStatusEnum::UNHEALTHY)).then_some("it is unhealthy"),
    }
}
