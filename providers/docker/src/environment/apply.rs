//! Makes what is missing, replaces what differs, starts what does not run.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveVolumeOptions, RestartContainerOptions, StartContainerOptions, StopContainerOptions,
};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Result};

use super::body::{body, endpoint};
use super::config::{ContainerSpec, NetworkSpec, VolumeSpec};
use super::health;
use super::look::{Difference, Todo, World};
use super::names::{CONTAINER, NETWORK, VOLUME, full, labels};
use super::spec::{Spec, container_digest, digest};
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::{failed, status};

/// One application of a spec.
pub(super) struct Work<'a> {
    pub(super) cx: &'a Context,
    pub(super) engine: &'a Engine,
    pub(super) spec: &'a Spec,
    pub(super) world: &'a World,
    pub(super) todo: &'a Difference,
    /// Ids of images that are built, by container.
    pub(super) built: &'a BTreeMap<String, String>,
    pub(super) patience: Duration,
}

impl Work<'_> {
    /// Does all of it.
    pub(super) async fn run(&self) -> Result<()> {
        for image in &self.todo.pulls {
            crate::image::pull(self.cx, "apply", self.engine, image).await?;
        }
        let leaving = self.todo.containers.iter().filter(|(_, t)| matches!(t, Todo::Remove | Todo::Replace(_)));
        all(leaving
            .filter_map(|(name, _)| Some(self.remove_container(name, &self.world.containers.get(name)?.thing.id))))
        .await?;
        for (name, todo) in &self.todo.networks {
            if let (Todo::Remove | Todo::Replace(_), Some(there)) = (todo, self.world.networks.get(name)) {
                remove_network(self.cx, self.engine, name, &there.id).await?;
            }
        }
        self.ground(self.cx).await?;
        // A finished effect is replayed, though somebody may have removed what it made since.
        self.ground(&self.cx.scoped("again")).await?;
        for level in self.spec.levels()? {
            all(level.into_iter().filter_map(|name| Some(self.container(name, self.spec.containers.get(name)?))))
                .await?;
        }
        let containers = self.spec.containers.iter();
        all(containers.map(|(name, c)| health::settle(self.cx, self.engine, name, c.once, self.patience))).await
    }

    /// Makes the networks and volumes that are not there.
    async fn ground(&self, cx: &Context) -> Result<()> {
        let now = World::of(self.engine, "apply", cx.environment()).await?;
        for (name, network) in self.spec.networks.iter().filter(|(n, _)| !now.networks.contains_key(*n)) {
            self.create_network(cx, name, network).await?;
        }
        for (name, volume) in self.spec.volumes.iter().filter(|(n, _)| !now.volumes.contains_key(*n)) {
            self.create_volume(cx, name, volume).await?;
        }
        Ok(())
    }

    /// Makes or starts a container, once those before it are as far as it needs them.
    async fn container(&self, name: &str, spec: &ContainerSpec) -> Result<()> {
        let Some(todo) = self.todo.containers.get(name) else { return Ok(()) };
        for (other, condition) in &spec.depends_on {
            health::wait(self.cx, self.engine, other, *condition, self.patience)
                .await
                .map_err(|e| e.with("needed_by", name))?;
        }
        self.cx.check(PROVIDER, "apply")?;
        if let Todo::Start(why) = todo {
            return self.restart(name, why).await;
        }
        let full = full(self.cx.environment(), name);
        let spec_digest = container_digest(spec);
        let image = self.built.get(name).unwrap_or(&spec.image);
        let intent = json!({"create": full, "image": image, "spec": spec_digest});
        let before = self.world.containers.get(name).map_or("", |s| s.thing.id.as_str());
        // What was there before is in the key: a container that is replaced twice in a run is two effects.
        let key = format!("container/{name}/{}-{}", short(&spec_digest), short(before));
        let make = |cx: Context| self.make(cx, name, spec, image);
        let id: String = self
            .cx
            .effect(&key, intent, make, |_| async {
                // A container that was made and not started is made anew: whether all its networks were joined is not known.
                let there = World::of_one(self.engine, "apply", self.cx.environment(), name).await?;
                Ok(there.filter(|s| s.thing.spec == spec_digest && s.runs()).map(|s| s.thing.id))
            })
            .await?;
        // A finished effect is replayed, though somebody may have removed the container since.
        if self.engine.container("apply", &id).await?.is_none() {
            make(self.cx.scoped(&format!("{key}/again"))).await?;
        }
        Ok(())
    }

    async fn make(&self, cx: Context, name: &str, spec: &ContainerSpec, image: &str) -> Result<String> {
        let full = full(cx.environment(), name);
        let docker = &self.engine.docker;
        let body = body(&cx, name, spec, image).await?;
        // Left by a crash between making and starting it.
        if World::of_one(self.engine, "apply", cx.environment(), name).await?.is_some() {
            self.engine.remove_container("apply", &full).await?;
        }
        let cant = |what: &'static str| {
            move |e| failed("apply", what, e).with("container", name).with("environment", self.cx.environment())
        };
        let options = CreateContainerOptions { name: Some(full.clone()), ..CreateContainerOptions::default() };
        let made = docker.create_container(Some(options), body).await;
        let id = made.map_err(cant("the container can't be made: does another one have its name?"))?.id;
        for network in spec.networks.iter().skip(1) {
            let request = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint(name)) };
            let joined = docker.connect_network(&self::full(cx.environment(), network), request).await;
            joined.map_err(cant("the container can't join a network"))?;
        }
        let started = docker.start_container(&id, None::<StartContainerOptions>).await;
        started.map_err(cant("the container can't be started: is a port taken, a program missing?"))?;
        Ok(id)
    }

    async fn restart(&self, name: &str, why: &str) -> Result<()> {
        let full = full(self.cx.environment(), name);
        let intent = json!({"start": full, "why": why});
        // Since when it did not run is in the key: what ends again is started again by the next attempt.
        let before = self.world.containers.get(name).map(|s| &s.state);
        let since = before.and_then(|s| s.finished_at.as_deref()).unwrap_or_default();
        self.cx
            .effect_idempotent(&format!("start/{name}/{since}"), intent, |_| async {
                let docker = &self.engine.docker;
                // Not paused is what is expected.
                let _ = docker.unpause_container(&full).await;
                let done = docker.restart_container(&full, None::<RestartContainerOptions>).await;
                done.map_err(|e| failed("apply", "the container can't be started again", e).with("container", name))
            })
            .await
    }

    /// Lets a container end by itself, then removes it.
    async fn remove_container(&self, name: &str, id: &str) -> Result<()> {
        let docker = &self.engine.docker;
        let intent = json!({"remove": full(self.cx.environment(), name), "id": id});
        let key = format!("remove {CONTAINER}/{name}/{}", short(id));
        self.cx
            .effect_idempotent(&key, intent, |_| async {
                match docker.stop_container(id, None::<StopContainerOptions>).await {
                    Err(e) if status(&e) != Some(404) => {
                        return Err(failed("apply", "the container can't be stopped", e).with("container", name));
                    }
                    _ => {}
                }
                self.engine.remove_container("apply", id).await.map(drop)
            })
            .await
    }

    async fn create_network(&self, cx: &Context, name: &str, spec: &NetworkSpec) -> Result<()> {
        let environment = cx.environment();
        let full = full(environment, name);
        let digest = digest(&json!(spec));
        let mut all_labels: std::collections::HashMap<_, _> = spec.labels.clone().into_iter().collect();
        all_labels.extend(labels(environment, NETWORK, name, &digest));
        let make = |_| async {
            // An engine takes the same name twice.
            if World::of(self.engine, "apply", environment).await?.networks.contains_key(name) {
                return Ok(());
            }
            let request = NetworkCreateRequest {
                name: full.clone(),
                driver: Some(spec.driver.clone().unwrap_or_else(|| "bridge".into())),
                internal: Some(spec.internal),
                labels: Some(all_labels),
                ..NetworkCreateRequest::default()
            };
            let made = self.engine.docker.create_network(request).await;
            made.map(drop).map_err(|e| failed("apply", "the network can't be made", e).with("network", name))
        };
        let before = self.world.networks.get(name).map_or("", |t| t.id.as_str());
        let key = format!("{NETWORK}/{name}/{}-{}", short(&digest), short(before));
        cx.effect_idempotent(&key, json!({"create": full, "spec": digest}), make).await
    }

    async fn create_volume(&self, cx: &Context, name: &str, spec: &VolumeSpec) -> Result<()> {
        let environment = cx.environment();
        let full = full(environment, name);
        let digest = digest(&json!(spec));
        let mut all_labels: std::collections::HashMap<_, _> = spec.labels.clone().into_iter().collect();
        all_labels.extend(labels(environment, VOLUME, name, &digest));
        let make = |_| async {
            let request = VolumeCreateRequest {
                name: Some(full.clone()),
                driver: Some(spec.driver.clone().unwrap_or_else(|| "local".into())),
                driver_opts: Some(spec.driver_opts.clone().into_iter().collect()),
                labels: Some(all_labels),
                ..VolumeCreateRequest::default()
            };
            let made = self.engine.docker.create_volume(request).await;
            let made = made.map_err(|e| failed("apply", "the volume can't be made", e).with("volume", name))?;
            // An engine that has one of this name gives that, whatever it is.
            if made.labels.get(super::names::ENVIRONMENT).map(String::as_str) != Some(environment) {
                let message = "there is a volume of this name that is not this environment's: remove or rename it";
                return Err(Error::new(ErrorKind::AlreadyExists, PROVIDER, "apply", message).with("volume", &full));
            }
            Ok(())
        };
        let key = format!("{VOLUME}/{name}/{}", short(&digest));
        cx.effect_idempotent(&key, json!({"create": full, "spec": digest}), make).await
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Waits for all, and gives the first failure only then: none goes on behind a caller's back.
async fn all(work: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    join_all(work).await.into_iter().collect()
}

async fn remove_network(cx: &Context, engine: &Engine, name: &str, id: &str) -> Result<()> {
    let intent = json!({"remove": full(cx.environment(), name), "id": id});
    cx.effect_idempotent(&format!("remove {NETWORK}/{name}/{}", short(id)), intent, |_| async {
        match engine.docker.remove_network(id).await {
            Err(e) if status(&e) != Some(404) => {
                let what = "the network can't be removed: is a container in it that is not this environment's?";
                Err(failed("destroy", what, e).with("network", name))
            }
            _ => Ok(()),
        }
    })
    .await
}

/// Removes everything of an environment. Gives how many things that were.
pub(super) async fn destroy(cx: &Context, engine: &Engine, world: &World) -> Result<usize> {
    let containers = world.containers.iter().map(|(name, seen)| async move {
        let id = &seen.thing.id;
        let intent = json!({"remove": full(cx.environment(), name), "id": id});
        let key = format!("remove {CONTAINER}/{name}/{}", short(id));
        cx.effect_idempotent(&key, intent, |_| async { engine.remove_container("destroy", id).await.map(drop) }).await
    });
    all(containers).await?;
    try_join_all(world.networks.iter().map(|(name, there)| remove_network(cx, engine, name, &there.id))).await?;
    for (name, there) in &world.volumes {
        let intent = json!({"remove": there.id});
        // A volume has no id: its name may be used again in the same run, after which it is another one.
        let key = format!("remove {VOLUME}/{name}/{}", short(&there.spec));
        cx.effect_idempotent(&key, intent, |_| async {
            match engine.docker.remove_volume(&there.id, None::<RemoveVolumeOptions>).await {
                Err(e) if status(&e) != Some(404) => {
                    let what = "the volume can't be removed: does a container use it that is not this environment's?";
                    Err(failed("destroy", what, e).with("volume", name))
                }
                _ => Ok(()),
            }
        })
        .await?;
    }
    Ok(world.containers.len() + world.networks.len() + world.volumes.len())
}
