//! The deployer `docker`: a service's container on each host, without an orchestrator.

mod before;
mod body;
mod check;
mod config;
mod converge;
mod image;
mod ledger;
mod look;
mod names;
mod next;
mod reach;
mod ready;

use async_trait::async_trait;
use towpath_core::{
    Capabilities, Context, Deployer, Deployment, Error, ErrorKind, GroupJob, GroupState, Preflight, Release, Result,
    Staged, Target, TargetGroup, TargetState,
};

pub use config::*;

use self::converge::Work;
use self::image::Wanted;
use self::look::World;
use self::names::{Owner, check_version};
use self::reach::Place;
use crate::PROVIDER;
use crate::engine::Engines;

/// Runs a service's containers on hosts, by the digest of their image.
///
/// The engine of each host is all that is needed there: it is reached through the connection of the host, whose socket that opens.
#[derive(Debug, Clone)]
pub struct DockerDeploy {
    config: DockerDeployConfig,
    engines: Engines,
}

impl DockerDeploy {
    /// A deployer with this config; touches nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config is wrong; names it.
    pub fn new(config: DockerDeployConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, engines: Engines::default() })
    }

    /// The config.
    pub fn config(&self) -> &DockerDeployConfig {
        &self.config
    }

    /// Removes what processes that were killed have left on a target: containers that were never started, and containers that run beside
    /// the one that serves. Gives their names. Nobody may deploy the service to this target meanwhile.
    ///
    /// What a kill has stopped is not started: an activate of the version that shall run does that.
    ///
    /// # Errors
    ///
    /// Those of reaching the target and its engine.
    pub async fn sweep(&self, cx: &Context, target: &Target) -> Result<Vec<String>> {
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "sweep", &self.engines, &config, target).await?;
        let work = Work { place: &place, owner: &owner, config: &config };
        work.sweep(cx).await.map_err(|e| e.with_missing("host", &target.host.name))
    }

    /// Removes all that the service has on a target: its containers, the one that serves included, what is staged with those images
    /// that nothing else needs, and the ledger. Nothing there is a success.
    ///
    /// # Errors
    ///
    /// Those of reaching the target and its engine; called again it goes on.
    pub async fn forget(&self, cx: &Context, target: &Target) -> Result<()> {
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "forget", &self.engines, &config, target).await?;
        let work = Work { place: &place, owner: &owner, config: &config };
        let done = async {
            work.remove_all(cx).await?;
            ledger::forget(&place.engine, &owner).await
        };
        done.await.map_err(|e| e.with_missing("host", place.host()))
    }

    fn on(&self, cx: &Context, target: &Target) -> Result<(DockerDeployConfig, Owner)> {
        let config = self.config.on(&target.host)?;
        let owner = Owner::of(cx, &config, &target.host.name);
        Ok((config, owner))
    }

    /// The image of a release; `None`: it names none, so what is kept on the target is meant.
    fn check(&self, operation: &'static str, release: &Release) -> Result<Option<Wanted>> {
        check_version(operation, &release.version)?;
        if release.service != self.config.service {
            let message = "the release is of another service than this deployer is for: set `service`";
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message)
                .with("service", &self.config.service)
                .with("release_of", &release.service));
        }
        if let Some(bad) = release.env.keys().find(|n| n.is_empty() || n.contains(['=', '\0'])) {
            let message = format!("the release has {bad:?}, which is no name of an environment variable");
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message));
        }
        release.artifact.is_some().then(|| Wanted::of(operation, release)).transpose()
    }
}

fn per_target_only<T>(operation: &'static str) -> Result<T> {
    let message = "containers are moved target by target, not as a group";
    Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, message))
}

#[async_trait]
impl Deployer for DockerDeploy {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["per_target"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let mut found = Preflight::default();
        match self.config.host.as_deref() {
            Some(host) if !host.contains("{{") => {
                let engine = self.engines.get(cx, "preflight", Some(host)).await?;
                found.ok.push(format!("{} at {}", engine.version, engine.address));
            }
            Some(host) => found.ok.push(format!("engines are reached at {host}")),
            None => found.ok.push(format!("engines are reached at {} of each target", self.config.socket)),
        }
        if self.config.transfer {
            let from = self.engines.get(cx, "preflight", self.config.transfer_from.as_deref()).await?;
            found.ok.push(format!("images are copied from {} at {}", from.version, from.address));
        }
        Ok(found)
    }

    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged> {
        let wanted = self.check("stage", release)?;
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "stage", &self.engines, &config, target).await?;
        let done = async {
            let Some(wanted) = wanted else {
                let world = World::of(&place.engine, "stage", &owner).await?;
                return image::kept("stage", &world, release).map(|_| false);
            };
            image::stage(cx, &self.engines, &place.engine, &owner, &config, &wanted, &release.version).await
        };
        let changed = done.await.map_err(|e| e.with_missing("host", &target.host.name))?;
        Ok(Staged { changed })
    }

    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()> {
        let wanted = self.check("activate", release)?;
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "activate", &self.engines, &config, target).await?;
        let done = async {
            let work = Work { place: &place, owner: &owner, config: &config };
            let Some(wanted) = wanted else { return work.activate(cx, release, None).await };
            let image = image::staged("activate", &place.engine, &owner, &wanted, &release.version).await?;
            let image = image.ok_or_else(|| {
                let message = "the release is not staged on the target: stage it first";
                Error::new(ErrorKind::NotFound, PROVIDER, "activate", message).with("version", &release.version)
            })?;
            work.activate(cx, release, Some(&image)).await
        };
        done.await.map_err(|e| e.with_missing("host", place.host()))
    }

    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()> {
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "deactivate", &self.engines, &config, target).await?;
        let work = Work { place: &place, owner: &owner, config: &config };
        work.deactivate(cx).await.map_err(|e| e.with_missing("host", place.host()))
    }

    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState> {
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "probe", &self.engines, &config, target).await?;
        let named = |e: Error| e.with_missing("host", place.host());
        let world = World::of(&place.engine, "probe", &owner).await.map_err(named)?;
        let marks = image::marks("probe", &place.engine, &owner).await.map_err(named)?;
        let mut staged: Vec<String> = marks.into_iter().map(|(_, version)| version).collect();
        staged.sort();
        staged.dedup();
        let current = world.current(&owner);
        Ok(TargetState {
            current: current.map(|c| c.version.clone()),
            // Without the name it was not seen working yet: an activate that was interrupted, which the next one finishes.
            running: current.is_some_and(|c| c.name == owner.name && c.works()),
            staged,
        })
    }

    async fn record(&self, cx: &Context, target: &Target, entry: &Deployment) -> Result<()> {
        let (config, owner) = self.on(cx, target)?;
        let place = Place::reach(cx, "record", &self.engines, &config, target).await?;
        ledger::record(&place.engine, &owner, entry).await.map_err(|e| e.with_missing("host", place.host()))
    }

    async fn recorded(&self, cx: &Context, target: &Target, service: &str) -> Result<Vec<Deployment>> {
        let (config, owner) = self.on(cx, target)?;
        if owner.service != service {
            return Ok(Vec::new());
        }
        let place = Place::reach(cx, "recorded", &self.engines, &config, target).await?;
        ledger::recorded(&place.engine, &owner).await.map_err(|e| e.with_missing("host", place.host()))
    }

    async fn start(&self, _cx: &Context, _group: &TargetGroup, _release: &Release) -> Result<GroupJob> {
        per_target_only("start")
    }

    async fn follow(&self, _cx: &Context, _job: &GroupJob) -> Result<GroupState> {
        per_target_only("follow")
    }

    async fn cancel(&self, _cx: &Context, _job: &GroupJob) -> Result<()> {
        per_target_only("cancel")
    }

    async fn probe_group(&self, _cx: &Context, _group: &TargetGroup) -> Result<GroupState> {
        per_target_only("probe_group")
    }
}
