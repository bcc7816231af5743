//! Brings images to a target's engine, by digest, and marks them as staged versions.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::{ImportImageOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use towpath_core::{Artifact, ArtifactKind, Context, Error, ErrorKind, EventKind, Release, Result};

use super::config::DockerDeployConfig;
use super::look::{Seen, World};
use super::names::Owner;
use crate::engine::{Engine, Engines, check_reference};
use crate::errors::{failed, let_go, status};
use crate::image::{Pull, fetch};
use crate::{PROVIDER, reference};

const STAGE: &str = "stage";

/// The image of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `registry/path`, if it has a name.
    name: Option<String>,
    tag: Option<String>,
    /// Of its manifest or, where it was built on an engine, its id.
    pub(super) digest: String,
}

impl Wanted {
    /// Reads a release's artifact; refuses what does not say exactly which image is meant.
    pub(super) fn of(operation: &'static str, release: &Release) -> Result<Self> {
        let refuse = |message: String| {
            Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("version", &release.version)
        };
        let artifact: &Artifact = release
            .artifact
            .as_ref()
            .filter(|a| a.kind == ArtifactKind::DockerImage)
            .ok_or_else(|| refuse("a release for containers has an artifact of the kind `docker_image`".into()))?;
        check_reference(operation, &artifact.id)?;
        let digest = artifact.digest.as_str();
        if !digest.starts_with("sha256:") || reference::parse(digest).is_err() {
            return Err(refuse(format!(
                "the artifact's `digest` says which image is meant: `sha256:` and 64 hexadecimal digits, not {digest:?}"
            ))
            .with("image", &artifact.id));
        }
        let read =
            reference::parse(&artifact.id).map_err(|why| refuse(format!("this is no reference of an image: {why}")))?;
        if let Some(other) = read.digest.filter(|d| *d != digest) {
            return Err(refuse("the artifact's `id` and its `digest` name two images".into())
                .with("image", other)
                .with("digest", digest));
        }
        let name = Some(read.name.to_owned()).filter(|n| !n.is_empty());
        Ok(Self { name, tag: read.tag.map(str::to_owned), digest: digest.to_owned() })
    }

    /// How an engine that has it may know it.
    fn references(&self) -> Vec<String> {
        let pinned = self.name.as_ref().map(|name| format!("{name}@{}", self.digest));
        pinned.into_iter().chain([self.digest.clone()]).collect()
    }

    fn shown(&self) -> String {
        self.references().swap_remove(0)
    }

    /// Whether the engine says that an image is this one.
    pub(super) fn is(&self, found: &ImageInspect) -> bool {
        let id = found.id.as_deref().unwrap_or_default();
        let pinned = found.repo_digests.iter().flatten().filter_map(|d| d.split_once('@'));
        whole_id(id) == self.digest || pinned.map(|(_, digest)| digest).any(|d| d == self.digest)
    }

    /// Looks for it on an engine, and gives its id there.
    async fn find(&self, engine: &Engine) -> Result<Option<String>> {
        for reference in self.references() {
            if let Some(found) = engine.image(STAGE, &reference).await?.filter(|f| self.is(f)) {
                return Ok(found.id.map(|id| whole_id(&id)));
            }
        }
        Ok(None)
    }
}

/// Podman leaves the algorithm out.
fn whole_id(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

/// What is kept of a release that names no image, as the ledger of a host knows it.
pub(super) fn kept<'a>(operation: &'static str, world: &'a World, release: &Release) -> Result<&'a Seen> {
    world.kept(&release.version).ok_or_else(|| {
        let message = "a release for containers has an artifact of the kind `docker_image`: without one only a version is known whose \
                       container is kept on the target, and there is none of this one";
        Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("version", &release.version)
    })
}

/// Brings the image of a release to a target's engine. Gives whether anything had to be done.
pub(super) async fn stage(
    cx: &Context,
    engines: &Engines,
    engine: &Engine,
    owner: &Owner,
    config: &DockerDeployConfig,
    wanted: &Wanted,
    version: &str,
) -> Result<bool> {
    if staged(STAGE, engine, owner, wanted, version).await?.is_some() {
        return Ok(false);
    }
    let id = match wanted.find(engine).await? {
        Some(id) => id,
        None if config.transfer => transfer(cx, engines, engine, config, wanted).await?,
        None => pull(cx, engine, config, wanted).await?,
    };
    let (repo, tag) = owner.mark(&wanted.digest, version);
    let intent = json!({"mark": id, "version": version});
    cx.effect_idempotent("mark", intent, |_| async {
        let options = TagImageOptions { repo: Some(repo), tag: Some(tag) };
        let done = engine.docker.tag_image(&id, Some(options)).await;
        done.map_err(|e| {
            failed(STAGE, "an image can't be marked as staged: did somebody remove it?", e).with("image", &id)
        })
    })
    .await?;
    // Finished effects are replayed in a run that goes on, though somebody may have removed the mark since.
    if staged(STAGE, engine, owner, wanted, version).await?.is_none() {
        let message = "the image was staged in this run, and somebody removed it since: start a new run";
        return Err(Error::new(ErrorKind::Conflict, PROVIDER, STAGE, message).with("image", wanted.shown()));
    }
    // The same version with another content: the former one is no longer what it means.
    for (digest, marked) in marks(STAGE, engine, owner).await? {
        if marked == version && digest != wanted.digest {
            unmark(STAGE, engine, owner, &digest, version).await?;
        }
    }
    Ok(true)
}

/// The id of the image that is staged as this version.
pub(super) async fn staged(
    operation: &'static str,
    engine: &Engine,
    owner: &Owner,
    wanted: &Wanted,
    version: &str,
) -> Result<Option<String>> {
    let (repository, tag) = owner.mark(&wanted.digest, version);
    let mark = format!("{repository}:{tag}");
    let Some(found) = engine.image(operation, &mark).await? else { return Ok(None) };
    // A copied image has no manifest's digest, and its id is that of its config: it was checked when it was copied.
    let tells = found.repo_digests.iter().flatten().any(|d| !d.starts_with(&repository));
    if tells && !wanted.is(&found) {
        let message = "an image has the mark of a staged one and is another one: somebody moved the mark, remove it";
        return Err(Error::new(ErrorKind::Conflict, PROVIDER, operation, message).with("image", mark));
    }
    Ok(found.id.map(|id| whole_id(&id)))
}

/// What is staged: digests and versions.
pub(super) async fn marks(operation: &'static str, engine: &Engine, owner: &Owner) -> Result<Vec<(String, String)>> {
    let filters = HashMap::from([("reference".to_owned(), vec![format!("{}*", owner.marks())])]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let found = engine.docker.list_images(Some(options)).await;
    let found = found.map_err(|e| failed(operation, "the engine's images can't be listed", e))?;
    let mut all: Vec<_> = found.iter().flat_map(|i| &i.repo_tags).filter_map(|t| owner.read_mark(t)).collect();
    all.sort();
    Ok(all)
}

/// Takes a mark away, and with it an image that nothing else names or uses.
pub(super) async fn unmark(
    operation: &'static str,
    engine: &Engine,
    owner: &Owner,
    digest: &str,
    version: &str,
) -> Result<()> {
    let (repository, tag) = owner.mark(digest, version);
    let mark = format!("{repository}:{tag}");
    let Some(found) = engine.image(operation, &mark).await? else { return Ok(()) };
    let remove = async |name: &str| {
        let done = engine.docker.remove_image(name, None::<RemoveImageOptions>, None).await;
        match done {
            Ok(_) => Ok(()),
            // It is gone, or a container needs it.
            Err(e) if matches!(status(&e), Some(404 | 409)) => Ok(()),
            Err(e) => Err(failed(operation, "an old image can't be removed", e).with("image", name)),
        }
    };
    remove(&mark).await?;
    if found.repo_tags.iter().flatten().all(|t| *t == mark) {
        // What was pulled by digest is named by that alone.
        for pinned in found.repo_digests.iter().flatten().filter(|d| d.ends_with(digest)) {
            remove(pinned).await?;
        }
    }
    Ok(())
}

async fn pull(cx: &Context, engine: &Engine, config: &DockerDeployConfig, wanted: &Wanted) -> Result<String> {
    let missing =
        |message: &str| Error::new(ErrorKind::NotFound, PROVIDER, STAGE, message).with("image", wanted.shown());
    let Some(name) = wanted.name.as_ref().filter(|_| config.pull == Pull::Missing) else {
        return Err(missing(match config.pull {
            Pull::Never => {
                "the target's engine does not have the image, and may not pull it: `docker load` it, or set `transfer`"
            }
            Pull::Missing => {
                "the target's engine does not have the image, and its id names no registry to pull it from: set `transfer`, or push it \
                 and name it as `registry/name`"
            }
        }));
    };
    let login = match &config.registry {
        None => None,
        Some(login) => Some(DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(cx.resolve(&login.password).await?.expose().to_owned()),
            serveraddress: name.split_once('/').map(|(registry, _)| registry.to_owned()),
            ..DockerCredentials::default()
        }),
    };
    let pinned = format!("{name}@{}", wanted.digest);
    let get = |cx: Context, reference: String| {
        let login = login.clone();
        async move { fetch(cx, STAGE, engine, &reference, login).await }
    };
    let intent = json!({"pull": pinned});
    let first = cx.effect_idempotent("pull", intent, |cx| get(cx, pinned.clone())).await;
    match (first, &wanted.tag) {
        (Ok(()), _) => {}
        // The digest may be the image's id, which registries don't know: then the tag must still mean that image.
        (Err(e), Some(tag)) if e.kind() == ErrorKind::NotFound => {
            let named = format!("{name}:{tag}");
            get(cx.clone(), named.clone()).await?;
            if wanted.find(engine).await?.is_none() {
                let message = "the registry has another image under this name than the release names: nothing was activated; release \
                               what is there now, or push that image again";
                return Err(Error::new(ErrorKind::Conflict, PROVIDER, STAGE, message)
                    .with("image", named)
                    .with("digest", &wanted.digest));
            }
        }
        (Err(e), _) => return Err(e),
    }
    if wanted.find(engine).await?.is_none() {
        // A finished pull is replayed, though somebody may have removed the image since.
        get(cx.clone(), pinned).await?;
    }
    let found = wanted.find(engine).await?;
    found.ok_or_else(|| {
        missing("the image is not there after it was pulled: did somebody remove it? Try again").retry_later()
    })
}

/// Copies an image from an engine that this machine reaches: what one saves, the other loads, and nothing is kept in between.
async fn transfer(
    cx: &Context,
    engines: &Engines,
    engine: &Engine,
    config: &DockerDeployConfig,
    wanted: &Wanted,
) -> Result<String> {
    let from = engines.get(cx, STAGE, config.transfer_from.as_deref()).await?;
    let at = |e: Error| e.with("image", wanted.shown()).with("from", &from.address).with("engine", &engine.address);
    let id = wanted.find(&from).await?.ok_or_else(|| {
        let message =
            "neither the target's engine nor the one to copy from has the image: build, pull or load it there";
        at(Error::new(ErrorKind::NotFound, PROVIDER, STAGE, message))
    })?;
    let message = format!("copying {} from {}", wanted.shown(), from.address);
    cx.emit(EventKind::Progress { message, done: None, total: None });
    let copy = async {
        let source = from.clone();
        let name = id.clone();
        // The request's body must live as long as the request, which is its own task's.
        let saved = async_stream(source, name);
        let mut loading = Box::pin(engine.docker.import_image_stream(ImportImageOptions::default(), saved, None));
        while let Some(said) = loading.next().await {
            said.map_err(|e| at(failed(STAGE, "the image can't be copied: is there room on the target?", e)))?;
        }
        Ok(())
    };
    let what = "the target's engine was told to end the load by closing its connection; it keeps layers that are whole";
    cx.guard(PROVIDER, STAGE, copy).await.map_err(|e| let_go(e, what))?;
    wanted_after(engine, &id).await.map_err(at)
}

type Saved = futures::stream::BoxStream<'static, Result<bytes::Bytes, std::io::Error>>;

/// What an engine saves of an image.
fn async_stream(engine: Engine, id: String) -> Saved {
    let (sender, receiver) = futures::channel::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(4);
    tokio::spawn(async move {
        let mut sender = sender;
        let mut saved = Box::pin(engine.docker.export_image(&id).map_err(std::io::Error::other));
        while let Some(piece) = saved.next().await {
            // Nobody reads any more: the copy was given up.
            if futures::SinkExt::send(&mut sender, piece).await.is_err() {
                return;
            }
        }
    });
    receiver.boxed()
}

async fn wanted_after(engine: &Engine, id: &str) -> Result<String> {
    match engine.image(STAGE, id).await? {
        Some(_) => Ok(id.to_owned()),
        None => Err(Error::new(
            ErrorKind::Conflict,
            PROVIDER,
            STAGE,
            "the copied image has another id on the target, so it can't be told whether it is the same: the two engines keep images in \
             different ways (the containerd image store); use a registry",
        )),
    }
}
