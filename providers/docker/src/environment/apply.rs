//! Makes what is missing, replaces what differs, starts what does not run.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveVolumeOptions, RestartContainerOptions, StartContainerOptions, StopContainerOptions,
};
use futures::future::join_all;
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Result};

use super::body::{Ground, body, endpoint};
use super::config::{ContainerSpec, MountKind, NetworkSpec, VolumeSpec};
use super::difference::{Difference, Todo};
use super::health;
use super::look::{Data, World, networks, networks_called};
use super::names::{CONTAINER, DATA, NETWORK, Owner, PREFIX, VOLUME};
use super::spec::{Spec, container_digest, digest};
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::{failed, status};

/// One application of a spec.
pub(super) struct Work<'a> {
    pub(super) cx: &'a Context,
    pub(super) owner: &'a Owner,
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
        let leaving = || {
            let gone = self.todo.containers.iter().filter(|(_, t)| matches!(t, Todo::Remove | Todo::Replace(_)));
            gone.filter_map(|(name, _)| Some((name, self.world.containers.get(name)?)))
        };
        // Before anything is taken away: nobody interrupts a migration.
        let under_way = leaving().filter(|(_, seen)| seen.is_under_way());
        all(under_way.map(|(name, _)| health::ended(self.cx, self.engine, self.owner, name, self.patience))).await?;
        all(leaving().map(|(name, seen)| self.remove_container(name, &seen.thing.id))).await?;
        for (name, todo) in &self.todo.networks {
            if let (Todo::Remove | Todo::Replace(_), Some(there)) = (todo, self.world.networks.get(name)) {
                remove_network(self.cx, self.owner, self.engine, "apply", (name, &there.id)).await?;
            }
        }
        for (name, double) in &self.world.doubles {
            remove_network(self.cx, self.owner, self.engine, "apply", (name, &double.id)).await?;
        }
        self.ground(self.cx).await?;
        // A finished effect is replayed, though somebody may have removed what it made since.
        self.ground(&self.cx.scoped("again")).await?;
        // By their ids: others may give a network the same name.
        let now = networks(self.engine, "apply", self.owner).await?;
        let ids = now.into_iter().filter_map(|(name, all)| Some((name, all.into_iter().next()?.id))).collect();
        for level in self.spec.levels()? {
            let named = level.into_iter().filter_map(|name| Some((name, self.spec.containers.get(name)?)));
            all(named.map(|(name, spec)| self.container(name, spec, &ids))).await?;
        }
        let containers = self.spec.containers.iter();
        let settle = |(name, c): (&String, &ContainerSpec)| (name.clone(), c.once);
        all(containers.map(settle).map(|(name, once)| async move {
            health::settle(self.cx, self.engine, self.owner, &name, once, self.patience).await
        }))
        .await
    }

    /// Makes the networks and volumes that are not there.
    async fn ground(&self, cx: &Context) -> Result<()> {
        let now = World::of(self.engine, "apply", self.owner).await?;
        for (name, network) in self.spec.networks.iter().filter(|(n, _)| !now.networks.contains_key(*n)) {
            self.create_network(cx, name, network).await?;
        }
        for (name, volume) in self.spec.volumes.iter().filter(|(n, _)| !now.volumes.contains_key(*n)) {
            self.create_volume(cx, name, volume).await?;
        }
        Ok(())
    }

    /// Makes or starts a container, once those before it are as far as it needs them.
    async fn container(&self, name: &str, spec: &ContainerSpec, networks: &BTreeMap<String, String>) -> Result<()> {
        let Some(todo) = self.todo.containers.get(name) else { return Ok(()) };
        for (other, condition) in &spec.depends_on {
            health::wait(self.cx, self.engine, self.owner, other, *condition, self.patience)
                .await
                .map_err(|e| e.with("needed_by", name))?;
        }
        self.cx.check(PROVIDER, "apply")?;
        if let Todo::Start(why) = todo {
            return self.restart(name, why).await;
        }
        let full = self.owner.full(name);
        let spec_digest = container_digest(spec);
        let image = self.built.get(name).unwrap_or(&spec.image);
        let intent = json!({"create": full, "image": image, "spec": spec_digest});
        let before = self.world.containers.get(name).map_or("", |s| s.thing.id.as_str());
        // What was there before is in the key: a container that is replaced twice in a run is two effects.
        let key = format!("container/{name}/{}-{}", short(&spec_digest), short(before));
        let make = |cx: Context| self.make(cx, name, spec, image, networks);
        let id: String = self
            .cx
            .effect(&key, intent, make, |_| async {
                // A container that was made and not started is made anew: whether all its networks were joined is not known.
                let there = World::of_one(self.engine, "apply", self.owner, name).await?;
                Ok(there.filter(|s| s.thing.spec == spec_digest && s.was_started()).map(|s| s.thing.id))
            })
            .await?;
        // A finished effect is replayed, though somebody may have removed the container since.
        if self.engine.container("apply", &id).await?.is_none() {
            make(self.cx.scoped(&format!("{key}/again"))).await?;
        }
        Ok(())
    }

    async fn make(
        &self,
        cx: Context,
        name: &str,
        spec: &ContainerSpec,
        image: &str,
        networks: &BTreeMap<String, String>,
    ) -> Result<String> {
        let full = self.owner.full(name);
        let docker = &self.engine.docker;
        let data = self.data(name, spec, image).await?;
        let body = body(&cx, self.owner, name, spec, image, Ground { networks, data: &data }).await?;
        // Left by a crash between making and starting it.
        if World::of_one(self.engine, "apply", self.owner, name).await?.is_some() {
            self.engine.remove_container("apply", &full).await?;
        }
        let cant = |what: &'static str| {
            let environment = self.owner.environment();
            move |e| failed("apply", what, e).with("container", name).with("environment", environment)
        };
        let options = CreateContainerOptions { name: Some(full.clone()), ..CreateContainerOptions::default() };
        let made = docker.create_container(Some(options), body).await;
        let id = made
            .map_err(cant(
                "the container can't be made: if another one has its name, remove or rename that; else see what the engine says",
            ))?
            .id;
        // What is made and not started yet is told from what has ended: the next process makes it anew.
        cx.note("made", json!(id)).await?;
        for network in spec.networks.iter().skip(1) {
            let request = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint(name)) };
            let network_id = networks.get(network).ok_or_else(|| vanished(network))?;
            let joined = docker.connect_network(network_id, request).await;
            joined.map_err(cant("the container can't join a network: apply again, it is made anew then"))?;
            cx.note("joined", json!(network)).await?;
        }
        let started = docker.start_container(&id, None::<StartContainerOptions>).await;
        started
            .map_err(cant("the container can't be started: is a port taken, a program missing? Then apply again"))?;
        Ok(id)
    }

    /// The volumes in which a container keeps what it writes where no volume is named: by place. A container that is made anew
    /// finds what the one before it wrote, as with Compose.
    async fn data(&self, name: &str, spec: &ContainerSpec, image: &str) -> Result<BTreeMap<String, String>> {
        let found = self.engine.image("apply", image).await?.and_then(|i| i.config?.volumes).unwrap_or_default();
        let unnamed = spec.mounts.iter().filter(|m| m.r#type == MountKind::Volume && m.source.is_none());
        let targets = unnamed.map(|m| m.target.clone()).chain(found).filter(|target| {
            let same = |m: &&super::config::MountSpec| m.target.trim_end_matches('/') == target.trim_end_matches('/');
            spec.mounts.iter().find(same).is_none_or(|m| m.r#type == MountKind::Volume && m.source.is_none())
        });
        let mut data = BTreeMap::new();
        for target in targets {
            let target = match target.trim_end_matches('/') {
                "" => target.clone(),
                plain => plain.to_owned(),
            };
            let full = self.owner.data(name, &target);
            let resource = format!("{name} {target}");
            self.volume(&full, &VolumeSpec::default(), self.owner.labels(DATA, &resource, "")).await?;
            data.insert(target, full);
        }
        Ok(data)
    }

    async fn restart(&self, name: &str, why: &str) -> Result<()> {
        let full = self.owner.full(name);
        let intent = json!({"start": full, "why": why});
        // Since when it did not run is in the key: what ends again is started again by the next attempt.
        let before = self.world.containers.get(name).map(|s| &s.state);
        let since = before.and_then(|s| s.finished_at.as_deref()).unwrap_or_default();
        self.cx
            .effect_idempotent(&format!("start/{name}/{since}"), intent, |_| async {
                let docker = &self.engine.docker;
                let Some(now) = World::of_one(self.engine, "apply", self.owner, name).await? else {
                    let message = "a container that was to be started is gone: apply again";
                    return Err(Error::new(ErrorKind::Conflict, PROVIDER, "apply", message).retry_later());
                };
                // Only what is unhealthy is ended first: to start again what runs would do its work twice.
                let done = match &now {
                    seen if seen.is_paused() => docker.unpause_container(&full).await,
                    seen if !seen.runs() => docker.start_container(&full, None::<StartContainerOptions>).await,
                    seen if seen.once => Ok(()),
                    _ => docker.restart_container(&full, None::<RestartContainerOptions>).await,
                };
                done.map_err(|e| {
                    failed("apply", "the container can't be started again: remove it, then apply again", e)
                })
            })
            .await
            .map_err(|e| e.with("container", name).with("environment", self.owner.environment()))
    }

    /// Lets a container end by itself, then removes it.
    async fn remove_container(&self, name: &str, id: &str) -> Result<()> {
        let docker = &self.engine.docker;
        let intent = json!({"remove": self.owner.full(name), "id": id});
        let key = format!("remove {CONTAINER}/{name}/{}", short(id));
        self.cx
            .effect_idempotent(&key, intent, |_| async {
                match docker.stop_container(id, None::<StopContainerOptions>).await {
                    Err(e) if status(&e) != Some(404) => {
                        let what = "the container can't be stopped: `docker kill` it, then apply again";
                        return Err(failed("apply", what, e).with("container", name));
                    }
                    _ => {}
                }
                self.engine.remove_container("apply", id).await.map(drop)
            })
            .await
    }

    async fn create_network(&self, cx: &Context, name: &str, spec: &NetworkSpec) -> Result<()> {
        let full = self.owner.full(name);
        let digest = digest(&json!(spec));
        let mut all_labels: HashMap<_, _> = spec.labels.clone().into_iter().collect();
        all_labels.extend(self.owner.labels(NETWORK, name, &digest));
        let make = |_| async {
            // An engine takes the same name twice.
            if networks(self.engine, "apply", self.owner).await?.contains_key(name) {
                return Ok(());
            }
            if let Some(other) = networks_called(self.engine, "apply", &full).await?.first() {
                return Err(foreign("network", &full).with("id", short(other)));
            }
            let request = NetworkCreateRequest {
                name: full.clone(),
                driver: Some(spec.driver.clone().unwrap_or_else(|| "bridge".into())),
                internal: Some(spec.internal),
                labels: Some(all_labels),
                ..NetworkCreateRequest::default()
            };
            let made = self.engine.docker.create_network(request).await;
            let made = made.map_err(|e| {
                let what = "the network can't be made: see what the engine says, and whether it has too many";
                failed("apply", what, e).with("network", name)
            })?;
            // Somebody may have made one at the same moment: of two the older stays, for both.
            let now = networks(self.engine, "apply", self.owner).await?.remove(name).unwrap_or_default();
            if now.first().is_some_and(|first| first.id != made.id) {
                self.engine.docker.remove_network(&made.id).await.map_err(|e| {
                    let what = "a second network of the same name can't be removed: `docker network rm` it";
                    failed("apply", what, e).with("network", &made.id)
                })?;
            }
            Ok(())
        };
        let before = self.world.networks.get(name).map_or("", |t| t.id.as_str());
        let key = format!("{NETWORK}/{name}/{}-{}", short(&digest), short(before));
        cx.effect_idempotent(&key, json!({"create": full, "spec": digest}), make).await
    }

    async fn create_volume(&self, cx: &Context, name: &str, spec: &VolumeSpec) -> Result<()> {
        let full = self.owner.full(name);
        let digest = digest(&json!(spec));
        let mut all_labels: HashMap<_, _> = spec.labels.clone().into_iter().collect();
        all_labels.extend(self.owner.labels(VOLUME, name, &digest));
        let make = |_| self.volume(&full, spec, all_labels);
        let key = format!("{VOLUME}/{name}/{}", short(&digest));
        cx.effect_idempotent(&key, json!({"create": full, "spec": digest}), make).await
    }

    /// Makes a volume, unless it is there.
    async fn volume(&self, full: &str, spec: &VolumeSpec, labels: HashMap<String, String>) -> Result<()> {
        let request = VolumeCreateRequest {
            name: Some(full.to_owned()),
            driver: Some(spec.driver.clone().unwrap_or_else(|| "local".into())),
            driver_opts: Some(spec.driver_opts.clone().into_iter().collect()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        let made = self.engine.docker.create_volume(request).await;
        let made = made.map_err(|e| {
            let what = "the volume can't be made: are its driver and the driver's options right?";
            failed("apply", what, e).with("volume", full)
        })?;
        // An engine that has one of this name gives that, whatever it is.
        let own = labels.iter().filter(|(key, _)| key.starts_with(PREFIX)).all(|(k, v)| made.labels.get(k) == Some(v));
        if own { Ok(()) } else { Err(foreign("volume", full)) }
    }
}

fn foreign(what: &'static str, full: &str) -> Error {
    let message = format!(
        "there is a {what} of this name that is not this environment's: remove it, or give the {what} another name"
    );
    Error::new(ErrorKind::AlreadyExists, PROVIDER, "apply", message).with(what, full)
}

fn vanished(network: &str) -> Error {
    let message = "somebody removed a network while containers were made for it: apply again";
    Error::new(ErrorKind::Conflict, PROVIDER, "apply", message).with("network", network).retry_later()
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Waits for all, and gives the first failure only then: none goes on behind a caller's back.
async fn all(work: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    join_all(work).await.into_iter().collect()
}

async fn remove_network(
    cx: &Context,
    owner: &Owner,
    engine: &Engine,
    operation: &'static str,
    (name, id): (&str, &str),
) -> Result<()> {
    let intent = json!({"remove": owner.full(name), "id": id});
    cx.effect_idempotent(&format!("remove {NETWORK}/{name}/{}", short(id)), intent, |_| async {
        match engine.docker.remove_network(id).await {
            Err(e) if status(&e) != Some(404) => {
                let what = "the network can't be removed: if a container is in it that is not this environment's, \
                            `docker network disconnect` that first";
                Err(failed(operation, what, e).with("network", name).with("id", short(id)))
            }
            _ => Ok(()),
        }
    })
    .await
}

/// Removes everything of an environment. Gives how many things that were.
pub(super) async fn destroy(cx: &Context, owner: &Owner, engine: &Engine, world: &World) -> Result<usize> {
    let containers = world.containers.iter().map(|(name, seen)| async move {
        let id = &seen.thing.id;
        let intent = json!({"remove": owner.full(name), "id": id});
        let key = format!("remove {CONTAINER}/{name}/{}", short(id));
        cx.effect_idempotent(&key, intent, |_| async { engine.remove_container("destroy", id).await.map(drop) }).await
    });
    all(containers).await?;
    let networks = world.networks.iter().chain(world.doubles.iter().map(|(name, double)| (name, double)));
    all(networks.map(|(name, there)| remove_network(cx, owner, engine, "destroy", (name, &there.id)))).await?;
    let named = world.volumes.iter().map(|(name, there)| (name.clone(), &there.id, short(&there.spec)));
    let data: &Data = &world.data;
    let data = data.iter().map(|((container, target), id)| (format!("{container}{target}"), id, "data"));
    for (name, id, what) in named.chain(data) {
        let intent = json!({"remove": id});
        // A volume has no id: its name may be used again in the same run, after which it is another one.
        let key = format!("remove {VOLUME}/{name}/{what}");
        cx.effect_idempotent(&key, intent, |_| async {
            match engine.docker.remove_volume(id, None::<RemoveVolumeOptions>).await {
                Err(e) if status(&e) != Some(404) => {
                    let what = "the volume can't be removed: if a container uses it that is not this environment's, remove that \
                                first";
                    Err(failed("destroy", what, e).with("volume", &name))
                }
                _ => Ok(()),
            }
        })
        .await?;
    }
    Ok(world.count())
}
