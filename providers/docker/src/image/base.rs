//! What an image starts from.

use bollard::auth::DockerCredentials;
use bollard::models::{ContainerConfig, HealthConfig, ImageConfig, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt as _;
use serde_json::json;
use towpath_core::{Artifact, ArtifactKind, Base, Context, Error, ErrorKind, EventKind, ImageDefinition, Result};

use super::{DockerImageConfig, Pull};
use crate::engine::{Engine, check_reference};
use crate::errors::{failed, let_go};
use crate::{PROVIDER, random_name};

/// An image that the engine has.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// As it was named.
    pub(super) reference: String,
    pub(super) id: String,
    pub(super) config: ImageConfig,
}

impl Known {
    pub(super) fn of(reference: &str, found: ImageInspect) -> Result<Self> {
        let id = found.id.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, PROVIDER, "build", "the engine tells no id of an image")
                .with("image", reference)
        })?;
        // Podman leaves the algorithm out.
        let id = if id.contains(':') { id } else { format!("sha256:{id}") };
        Ok(Self { reference: reference.to_owned(), id, config: found.config.unwrap_or_default() })
    }

    /// Whom its containers run as is somebody else than root.
    pub(super) fn is_for_another_user(&self) -> bool {
        let user = self.config.user.as_deref().unwrap_or_default();
        let name = user.split(':').next().unwrap_or_default();
        !matches!(name, "" | "0" | "root")
    }
}

/// The reference of the base; refuses what can't be one.
pub(super) fn reference<'a>(operation: &'static str, image: &'a ImageDefinition) -> Result<&'a str> {
    match &image.base {
        Base::Image(reference) => {
            check_reference(operation, reference).map_err(|e| e.with("base_of", &image.name))?;
            Ok(reference)
        }
        Base::Artifact(artifact) if artifact.kind == ArtifactKind::DockerImage => Ok(&artifact.id),
        Base::Artifact(artifact) => {
            let Artifact { name, .. } = artifact.as_ref();
            Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, "the base must be a `docker_image`")
                .with("image", &image.name)
                .with("base", name))
        }
        Base::Host(host) => Err(Error::new(
            ErrorKind::Unsupported,
            PROVIDER,
            operation,
            "it bakes images, not hosts: name an image as the base",
        )
        .with("image", &image.name)
        .with("base", &host.name)),
    }
}

/// Looks for an image. `None`: the engine does not have it, and it would be pulled.
pub(super) async fn look(
    operation: &'static str,
    engine: &Engine,
    config: &DockerImageConfig,
    reference: &str,
) -> Result<Option<Known>> {
    match engine.image(operation, reference).await? {
        Some(found) => Known::of(reference, found).map(Some),
        // An id names no place to pull it from.
        None if config.pull == Pull::Never || reference.starts_with("sha256:") => Err(Error::new(
            ErrorKind::NotFound,
            PROVIDER,
            operation,
            "the engine does not have the base image: `docker pull` or `docker load` it",
        )
        .with("base", reference)),
        None => Ok(None),
    }
}

/// Looks for an image, and pulls it if the engine does not have it.
pub(super) async fn get(cx: &Context, engine: &Engine, config: &DockerImageConfig, reference: &str) -> Result<Known> {
    if let Some(known) = look("build", engine, config, reference).await? {
        return Ok(known);
    }
    pull(cx, "build", engine, reference).await?;
    look("build", engine, config, reference).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, PROVIDER, "build", "an image is not there after it was pulled")
            .with("base", reference)
    })
}

/// Pulls an image, without credentials.
pub(crate) async fn pull(cx: &Context, operation: &'static str, engine: &Engine, reference: &str) -> Result<()> {
    check_reference(operation, reference)?;
    let key = format!("pull/{}", reference.replace('/', "_"));
    let intent = json!({"pull": reference});
    let get = |cx: Context| fetch(cx, operation, engine, reference, None);
    cx.effect_idempotent(&key, &intent, get).await?;
    if engine.image(operation, reference).await?.is_some() {
        return Ok(());
    }
    // A finished effect is replayed, though somebody may have removed the image since. Under a key of its own each time, so that
    // this one is not replayed, too.
    cx.effect_idempotent(&format!("{key}/again-{}", random_name()), &intent, get).await?;
    match engine.image(operation, reference).await? {
        Some(_) => Ok(()),
        None => Err(Error::new(
            ErrorKind::Conflict,
            PROVIDER,
            operation,
            "an image is not there after it was pulled: did somebody remove it? Try again",
        )
        .with("image", reference)
        .retry_later()),
    }
}

/// Pulls an image, with `login` where the registry asks for one.
pub(crate) async fn fetch(
    cx: Context,
    operation: &'static str,
    engine: &Engine,
    reference: &str,
    login: Option<DockerCredentials>,
) -> Result<()> {
    cx.emit(EventKind::Progress { message: format!("pulling {reference}"), done: None, total: None });
    // A name without tag or digest means all tags.
    let last = reference.rsplit('/').next().unwrap_or_default();
    let whole = if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") };
    let options = CreateImageOptions { from_image: Some(whole), ..CreateImageOptions::default() };
    let mut stream = engine.docker.create_image(Some(options), None, login);
    let all = async {
        while let Some(said) = stream.next().await {
            said.map_err(|e| {
                let what = "the image can't be pulled: is its name right, does the registry ask for credentials \
                            (then `docker pull` it)?";
                failed(operation, what, e).with("image", reference)
            })?;
        }
        Ok(())
    };
    // When nobody reads its answer any more, the engine ends the pull; not before the next piece of a layer that it reads.
    let what = "the engine was told to end the pull by closing its connection: it ends a download when its next data comes, goes on for \
                others who pull the same image, and keeps layers that are whole";
    cx.guard(PROVIDER, operation, all).await.map_err(|e| let_go(e, what).with_missing("image", reference))
}

/// The config of an image, as a commit takes it.
pub(super) fn as_container(config: &ImageConfig) -> ContainerConfig {
    let c = config.clone();
    ContainerConfig {
        user: c.user,
        exposed_ports: c.exposed_ports,
        env: c.env,
        // An empty list is said, or the engine would take those of the temporary container.
        cmd: Some(c.cmd.unwrap_or_default()),
        entrypoint: Some(c.entrypoint.unwrap_or_default()),
        healthcheck: c.healthcheck.filter(|h: &HealthConfig| h.test.as_ref().is_some_and(|t| !t.is_empty())),
        volumes: c.volumes,
        working_dir: c.working_dir,
        labels: c.labels,
        stop_signal: c.stop_signal,
        shell: c.shell,
        // Without ONBUILD, as a build from it would be.
        ..ContainerConfig::default()
    }
}
