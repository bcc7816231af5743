//! Temporary containers, in which images are made.

use std::collections::HashMap;

use bollard::models::{ContainerConfig, ContainerCreateBody, HealthConfig, HostConfig};
use bollard::query_parameters::{
    CommitContainerOptions, CreateContainerOptions, StartContainerOptions, StopContainerOptions,
};
use serde_json::{Value as Json, json};
use towpath_core::{Context, Error, ErrorKind, Result};

use super::base::Known;
use super::changes::changes;
use super::labels::{BUILD, comment};
use super::{DockerImageConfig, owner};
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::{failed, status};

/// Does nothing until it is asked to end, and collects children that others have left.
const SLEEPER: &str = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done";

/// The note of an effect that names its temporary container.
const NOTE: &str = "container";

/// A temporary container: removed with its last value, at the latest by the next sweep.
pub(super) struct Temporary {
    engine: Engine,
    pub(super) name: String,
    cx: Context,
    there: bool,
}

impl Temporary {
    /// Makes one from an image, for the thing of this key. Its name is in the journal before it is there.
    pub(super) async fn create(
        cx: &Context,
        engine: &Engine,
        config: &DockerImageConfig,
        from: &Known,
        key: &str,
        host: &str,
    ) -> Result<Self> {
        let name = owner::name();
        cx.note(NOTE, json!(name)).await?;
        owner::enter(&name);
        let this = Self { engine: engine.clone(), name, cx: cx.clone(), there: true };
        let has_check = from.config.healthcheck.as_ref().and_then(|h| h.test.as_ref()).is_some_and(|t| !t.is_empty());
        let body = ContainerCreateBody {
            hostname: Some(host.to_owned()),
            image: Some(from.id.clone()),
            // All of it in the entrypoint: a command would stay in an image that has none of its own.
            entrypoint: Some(["/bin/sh", "-c", SLEEPER].map(str::to_owned).into()),
            cmd: Some(Vec::new()),
            healthcheck: has_check.then(|| HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
            labels: Some(HashMap::from([(BUILD.to_owned(), key.to_owned())])),
            host_config: Some(HostConfig { network_mode: config.network.clone(), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions { name: Some(this.name.clone()), ..CreateContainerOptions::default() };
        let intent = json!({"create": this.name, "from": from.id, "for": key});
        let (effect, docker) = (format!("create/{}", this.name), &engine.docker);
        cx.effect_idempotent(&effect, intent, |_| async {
            let made = docker.create_container(Some(options), body).await;
            made.map(|made| made.id).map_err(|e| {
                let what = "a temporary container can't be made: see what the engine says, then build again";
                failed("build", what, e).with("container", &this.name).with("from", &from.reference)
            })
        })
        .await?;
        Ok(this)
    }

    pub(super) async fn start(&self) -> Result<()> {
        self.engine.docker.start_container(&self.name, None::<StartContainerOptions>).await.map_err(|e| {
            let what = match status(&e) {
                // What the engine says where it has found no program.
                Some(400) => "a container of the base can't be started: has it a /bin/sh? Take a base that has one",
                _ => "a container of the base can't be started: see what the engine says, then build again",
            };
            failed("build", what, e).with("container", &self.name)
        })
    }

    /// Ends all that runs in it, so that what is committed does not change under the engine's hands.
    pub(super) async fn stop(&self) -> Result<()> {
        let options = StopContainerOptions { t: Some(10), ..StopContainerOptions::default() };
        let stopped = self.engine.docker.stop_container(&self.name, Some(options)).await;
        stopped.map_err(|e| {
            let what = "a temporary container can't be stopped: see what the engine says, then build again";
            failed("build", what, e).with("container", &self.name)
        })
    }

    /// Makes an image of it, for this key. Gives its id.
    pub(super) async fn commit(&self, key: &str, mut config: ContainerConfig) -> Result<String> {
        config.labels.get_or_insert_default().insert(BUILD.to_owned(), key.to_owned());
        let options = CommitContainerOptions {
            container: Some(self.name.clone()),
            comment: Some(comment(key)),
            pause: false,
            // Podman does not read the config, only changes.
            changes: if self.engine.is_podman { Some(changes(&config)?) } else { None },
            ..CommitContainerOptions::default()
        };
        let made = self.engine.docker.commit_container(options, config).await;
        let id = made
            .map_err(|e| {
                let what = "a container can't be made an image: has the engine room for it? Then build again";
                failed("build", what, e).with("container", &self.name)
            })?
            .id;
        Ok(if id.contains(':') { id } else { format!("sha256:{id}") })
    }

    /// Removes it, and takes it out of the journal.
    pub(super) async fn remove(mut self) -> Result<()> {
        self.engine.remove_container("build", &self.name).await?;
        self.there = false;
        owner::leave(&self.name);
        self.cx.note(NOTE, Json::Null).await
    }

    /// Removes it after `result`, of which the failure counts more than that of removing.
    pub(super) async fn remove_after<T>(self, result: Result<T>) -> Result<T> {
        let name = self.name.clone();
        match (result, self.remove().await) {
            (Ok(done), Ok(())) => Ok(done),
            (Ok(_), Err(e)) => Err(e.with("container", name)),
            (Err(e), Ok(())) => Err(e),
            // The next build sweeps it away.
            (Err(e), Err(_)) => Err(e.with("left", name)),
        }
    }
}

impl Drop for Temporary {
    /// A build that was dropped leaves nothing behind, as far as that can be helped.
    fn drop(&mut self) {
        if !self.there {
            return;
        }
        owner::leave(&self.name);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (engine, name) = (self.engine.clone(), self.name.clone());
        runtime.spawn(async move {
            let _ = engine.remove_container("build", &name).await;
        });
    }
}

/// Removes the container that an interrupted effect had noted, whoever lives still: this run is its owner.
pub(super) async fn forget(cx: &Context, engine: &Engine) -> Result<()> {
    let Some(noted) = cx.recall(NOTE) else { return Ok(()) };
    let name = noted.as_str().filter(|n| owner::maker(n).is_some()).ok_or_else(|| {
        Error::new(ErrorKind::Storage, PROVIDER, "build", "the journal notes a container of another kind")
            .with("container", &noted)
    })?;
    engine.remove_container("build", name).await?;
    owner::leave(name);
    cx.note(NOTE, Json::Null).await
}
