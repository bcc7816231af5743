//! The provisioner `docker`: development environments of containers, networks and volumes.

mod apply;
mod body;
mod compose;
mod config;
mod difference;
mod env_file;
mod health;
mod healthcheck;
mod interpolate;
mod logs;
mod look;
mod names;
mod service;
mod spec;
mod variables;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use indexmap::IndexMap;
use serde_json::json;
use towpath_core::{
    Applied, ArtifactKind, Base, Capabilities, Certainty, ConnectionSpec, Context, Destroyed, Environment, Error,
    ErrorKind, EventKind, Group, Host, ImageBuilder as _, ImageDefinition, Inventory, Json, Plan, Preflight, Probed,
    Provisioner, Resource, Result,
};

use self::apply::Work;
use self::difference::Difference;
use self::look::World;
use self::names::{CONTAINER, NETWORK, Owner, VOLUME};
use self::spec::{Spec, builder_config};
pub(crate) use body::health;
pub use config::*;
pub(crate) use logs::logs as last_logs;
pub(crate) use spec::{Port, check_healthcheck};

use crate::PROVIDER;
use crate::connector::DockerConnector;
use crate::engine::{Engine, Engines};
use crate::image::{DockerImageBuilder, Pull};

/// Makes development environments on an engine.
///
/// Its containers are hosts of the inventory, reached by the connector `docker`, so that the same playbooks configure them as configure
/// any other host.
#[derive(Clone)]
pub struct DockerEnvironment {
    config: DockerEnvironmentConfig,
    spec: Spec,
    engines: Engines,
}

impl fmt::Debug for DockerEnvironment {
    /// Without values of variables, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEnvironment").field("config", &self.config).field("spec", &self.spec).finish()
    }
}

impl DockerEnvironment {
    /// A provisioner with this config; reads its Compose file.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config or the Compose file is wrong or not understood; names it, with
    /// file and line where it stands in a file.
    pub fn new(config: DockerEnvironmentConfig) -> Result<Self> {
        Self::in_folder(config, None)
    }

    /// A provisioner with this config, which stands in a pipeline file in this folder.
    pub(crate) fn in_folder(config: DockerEnvironmentConfig, folder: Option<&Path>) -> Result<Self> {
        let spec = Spec::of(&config, folder)?;
        Ok(Self { config, spec, engines: Engines::default() })
    }

    /// The config.
    pub fn config(&self) -> &DockerEnvironmentConfig {
        &self.config
    }

    /// The last lines that a container of the environment logged, secrets masked.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the environment has no such container.
    pub async fn logs(&self, cx: &Context, container: &str, lines: u32) -> Result<Vec<String>> {
        let engine = self.engine(cx, "logs").await?;
        let id = self.logged(cx, &engine, container).await?;
        let lines = cx.guard(PROVIDER, "logs", logs::logs(&engine, "logs", &id, lines)).await?;
        Ok(lines.into_iter().map(|l| cx.masker().mask(&l).into_owned()).collect())
    }

    /// Tells the listeners what containers of the environment log, as output of their hosts: the last lines, then what comes.
    /// Returns when all of them have ended, or with [`Cancelled`](ErrorKind::Cancelled).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the environment has no such container.
    pub async fn follow_logs(&self, cx: &Context, containers: &[&str], lines: u32) -> Result<()> {
        let engine = self.engine(cx, "logs").await?;
        let mut all = Vec::new();
        for name in containers {
            all.push((cx.for_host(name), self.logged(cx, &engine, name).await?));
        }
        let engine = &engine;
        let follow = all.iter().map(|(cx, id)| logs::follow(cx, engine, id, lines));
        let followed = async { join_all(follow).await.into_iter().collect() };
        cx.guard(PROVIDER, "logs", followed).await
    }

    /// The id of a container that is there.
    async fn logged(&self, cx: &Context, engine: &Engine, container: &str) -> Result<String> {
        let there = World::of_one(engine, "logs", &self.owner(cx), container).await?;
        there.map(|t| t.thing.id).ok_or_else(|| {
            let message = "the environment has no such container: is it made yet, is its name right?";
            Error::new(ErrorKind::NotFound, PROVIDER, "logs", message)
                .with("container", container)
                .with("environment", cx.environment())
        })
    }

    fn owner(&self, cx: &Context) -> Owner {
        Owner::of(cx, &self.spec.project)
    }

    async fn engine(&self, cx: &Context, operation: &'static str) -> Result<Engine> {
        self.spec.learn_secrets(cx);
        self.engines.get(cx, operation, self.config.host.as_deref()).await
    }

    async fn look(&self, cx: &Context, engine: &Engine, operation: &'static str) -> Result<(World, Difference)> {
        let owner = self.owner(cx);
        let world = World::of(engine, operation, &owner).await?;
        let mut built = BTreeMap::new();
        for name in self.spec.containers.keys() {
            if let Some((builder, image)) = self.builder(cx, name)? {
                built.insert(name.clone(), builder.existing(cx, &image).await?);
            }
        }
        let mut todo = Difference::of(&owner, engine, operation, (&self.spec, &built), &world).await?;
        for image in &todo.pulls {
            if self.config.pull == Pull::Never {
                let message =
                    "the engine does not have an image, and may not pull it: `docker pull` or `docker load` it";
                return Err(Error::new(ErrorKind::NotFound, PROVIDER, operation, message).with("image", image));
            }
            todo.plan.warnings.push(format!("the image {image} is pulled first"));
        }
        Ok((world, todo))
    }

    /// Who builds a container's image, and from what. `None`: it is not built.
    fn builder(&self, cx: &Context, name: &str) -> Result<Option<(DockerImageBuilder, ImageDefinition)>> {
        let Some(container) = self.spec.containers.get(name) else { return Ok(None) };
        let Some(dockerfile) = &container.build else { return Ok(None) };
        let mut config = builder_config(self.config.host.as_deref(), container, dockerfile);
        config.pull = self.config.pull;
        let image = ImageDefinition {
            name: format!("{}-{name}", cx.environment()),
            base: Base::Image("scratch".into()),
            configure: Vec::new(),
            artifacts: vec![ArtifactKind::DockerImage],
            connector: Arc::new(DockerConnector::default()),
            labels: BTreeMap::new(),
        };
        Ok(Some((DockerImageBuilder::sharing(config, &self.engines)?, image)))
    }

    /// Builds what has changed, and gives the ids of all images that are built.
    async fn build(&self, cx: &Context) -> Result<BTreeMap<String, String>> {
        let mut built = BTreeMap::new();
        for name in self.spec.containers.keys() {
            if let Some((builder, image)) = self.builder(cx, name)? {
                let scoped = cx.scoped(&format!("build/{name}"));
                let made = builder.build(&scoped, &image).await.map_err(|e| e.with("container", name))?;
                built.extend(made.artifacts.into_iter().map(|a| (name.clone(), a.id)));
            }
        }
        Ok(built)
    }

    /// What is there, as others see it.
    fn environment(&self, cx: &Context, world: &World) -> Environment {
        let owner = self.owner(cx);
        let mut groups: IndexMap<String, Group> = IndexMap::new();
        let mut hosts = Vec::new();
        let there =
            self.spec.containers.iter().filter(|(name, c)| world.containers.contains_key(*name) && !c.not_a_host);
        for (name, container) in there {
            let mut options = towpath_core::Vars::new();
            if let Some(engine) = &self.config.host {
                options.insert("host".into(), engine.as_str().into());
            }
            hosts.push(Host {
                name: name.clone(),
                connection: ConnectionSpec {
                    kind: PROVIDER.into(),
                    address: Some(owner.full(name)),
                    options,
                    ..ConnectionSpec::default()
                },
                labels: container.labels.clone(),
                vars: container.vars.clone(),
            });
            for group in &container.groups {
                groups.entry(group.clone()).or_default().hosts.push(name.clone());
            }
        }
        let containers = world.containers.iter().map(|(n, s)| (CONTAINER, n, &s.thing.id));
        let networks = world.networks.iter().map(|(n, t)| (NETWORK, n, &t.id));
        let volumes = world.volumes.iter().map(|(n, t)| (VOLUME, n, &t.id));
        let resource = |(kind, name, id): (&str, &String, &String)| Resource {
            address: format!("{kind} {name}"),
            id: id.clone(),
            detail: Json::Null,
        };
        let data = world.data.iter().map(|((container, target), id)| Resource {
            address: format!("{VOLUME} of {container} at {target}"),
            id: id.clone(),
            detail: Json::Null,
        });
        let ports: BTreeMap<&String, Json> =
            world.containers.iter().filter(|(_, s)| !s.ports.is_empty()).map(|(n, s)| (n, json!(s.ports))).collect();
        Environment {
            name: cx.environment().to_owned(),
            inventory: Inventory { hosts, groups, ..Inventory::default() },
            outputs: BTreeMap::from([("ports".to_owned(), json!(ports))]),
            resources: containers.chain(networks).chain(volumes).map(resource).chain(data).collect(),
            ..Environment::default()
        }
    }
}

#[async_trait]
impl Provisioner for DockerEnvironment {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let engine = self.engine(cx, "preflight").await?;
        Ok(Preflight { ok: vec![format!("{} at {}", engine.version, engine.address)], warnings: Vec::new() })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        cx.check(PROVIDER, "plan")?;
        let engine = self.engine(cx, "plan").await?;
        Ok(self.look(cx, &engine, "plan").await?.1.plan)
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        cx.check(PROVIDER, "apply")?;
        let engine = self.engine(cx, "apply").await?;
        let (world, todo) = self.look(cx, &engine, "apply").await?;
        todo.check("apply")?;
        for note in &todo.plan.warnings {
            cx.emit(EventKind::Progress { message: note.clone(), done: None, total: None });
        }
        let patience = Duration::from_secs(self.config.health_timeout_s.unwrap_or(60).into());
        // First, so that what runs is down for a moment only.
        let built = self.build(cx).await?;
        let owner = self.owner(cx);
        let (engine, spec) = (&engine, &self.spec);
        Work { cx, owner: &owner, engine, spec, world: &world, todo: &todo, built: &built, patience }.run().await?;
        let world = World::of(engine, "apply", &owner).await?;
        Ok(Applied { environment: self.environment(cx, &world), changed: todo.count() })
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        cx.check(PROVIDER, "probe")?;
        let engine = self.engine(cx, "probe").await?;
        let (world, todo) = self.look(cx, &engine, "probe").await?;
        let environment = (!world.is_empty()).then(|| self.environment(cx, &world));
        let mut drift = todo.plan;
        drift.changes.retain(|c| c.certainty != Certainty::WillNot);
        Ok(Probed { environment, drift })
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        cx.check(PROVIDER, "destroy")?;
        let engine = self.engine(cx, "destroy").await?;
        let owner = self.owner(cx);
        let world = World::of(&engine, "destroy", &owner).await?;
        Ok(Destroyed { changed: apply::destroy(cx, &owner, &engine, &world).await? })
    }
}
