//! The image builder `docker`: images from a container that configurators work in, or from a Dockerfile.

mod bake;
mod base;
mod changes;
mod config;
mod container;
mod contents;
mod context;
mod dockerfile;
mod finish;
mod ignore;
mod key;
mod labels;
mod owner;
mod sweep;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Action, Artifact, ArtifactKind, Built, Capabilities, Change, Context, Error, ErrorKind, ImageBuilder,
    ImageDefinition, Plan, Preflight, Provenance, Result,
};

use self::base::Known;
use self::dockerfile::Recipe;
use self::key::Chain;
pub(crate) use base::{fetch, pull};
pub use config::{DockerImageConfig, DockerfileConfig, Pull};
pub use sweep::Swept;

use crate::PROVIDER;
use crate::engine::{Engine, Engines};

/// Bakes Docker images.
///
/// Each configurator works in a container of its own, made from what came out of the one before, and each result is kept as
/// an untagged image under a key of all that went into it. So a build starts at the first configurator that has
/// changed, and what comes out does not depend on where it started.
#[derive(Debug, Clone)]
pub struct DockerImageBuilder {
    config: Arc<DockerImageConfig>,
    engines: Engines,
}

/// Where an image comes from, and its keys.
enum Source {
    Configurators { base: Known, chain: Chain },
    Dockerfile { base: Option<Known>, recipe: Recipe, chain: Chain },
}

impl Source {
    fn chain(&self) -> &Chain {
        match self {
            Self::Configurators { chain, .. } | Self::Dockerfile { chain, .. } => chain,
        }
    }

    fn base(&self) -> Option<&Known> {
        match self {
            Self::Configurators { base, .. } => Some(base),
            Self::Dockerfile { base, .. } => base.as_ref(),
        }
    }
}

impl DockerImageBuilder {
    /// A builder with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a tag, port, variable or path that is none.
    /// [`Unsupported`](ErrorKind::Unsupported): an engine that is reached in another way than `unix://` or plain `tcp://`.
    pub fn new(config: DockerImageConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config: Arc::new(config), engines: Engines::default() })
    }

    /// A builder that shares what is known of engines.
    pub(crate) fn sharing(config: DockerImageConfig, engines: &Engines) -> Result<Self> {
        config.check()?;
        Ok(Self { config: Arc::new(config), engines: engines.clone() })
    }

    /// The image as it was built before. `None`: it is to be built.
    pub(crate) async fn existing(&self, cx: &Context, image: &ImageDefinition) -> Result<Option<String>> {
        check("plan", image)?;
        let engine = self.engine(cx, "plan").await?;
        match self.source(cx, &engine, image, false).await? {
            Some(source) => bake::find(&engine, "plan", &source.chain().image).await,
            None => Ok(None),
        }
    }

    /// The config.
    pub fn config(&self) -> &DockerImageConfig {
        &self.config
    }

    /// Removes temporary containers that a crash left. [`build`](ImageBuilder::build) does it by itself.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](ErrorKind::Unreachable): no engine answers.
    pub async fn sweep(&self, cx: &Context) -> Result<Swept> {
        let engine = self.engine(cx, "sweep").await?;
        sweep::sweep(cx, &engine).await
    }

    async fn engine(&self, cx: &Context, operation: &'static str) -> Result<Engine> {
        self.engines.get(cx, operation, self.config.host.as_deref()).await
    }

    /// Takes the keys; pulls the base if that is needed and `may_pull`. `None`: it is, and may not.
    async fn source(
        &self,
        cx: &Context,
        engine: &Engine,
        image: &ImageDefinition,
        may_pull: bool,
    ) -> Result<Option<Source>> {
        let operation = if may_pull { "build" } else { "plan" };
        let reference = base::reference(operation, image)?;
        let known = |reference: String| async move {
            match may_pull {
                true => base::get(cx, engine, &self.config, &reference).await.map(Some),
                false => base::look(operation, engine, &self.config, &reference).await,
            }
        };
        let Some(file) = &self.config.dockerfile else {
            let Some(base) = known(reference.to_owned()).await? else { return Ok(None) };
            let chain = Chain::of_configurators(cx, &self.config, image, &base).await?;
            return Ok(Some(Source::Configurators { base, chain }));
        };
        if !image.configure.is_empty() {
            return Err(invalid(operation, image, "it is built from a Dockerfile or by configurators, not by both"));
        }
        let base = match reference {
            "scratch" => None,
            named => match known(named.to_owned()).await? {
                Some(base) => Some(base),
                None => return Ok(None),
            },
        };
        let mut recipe = Recipe::read(operation, file, base.as_ref()).await?;
        for reference in recipe.froms() {
            let Some(from) = known(reference.clone()).await? else { return Ok(None) };
            recipe.starts_from(&reference, &from.id);
        }
        let chain = Chain::of_dockerfile(&self.config, &recipe.digest());
        Ok(Some(Source::Dockerfile { base, recipe, chain }))
    }

    /// Makes the finished image.
    async fn bake(&self, cx: &Context, engine: &Engine, image: &ImageDefinition, source: Source) -> Result<String> {
        let base = source.base().cloned();
        let (from, chain) = match source {
            Source::Configurators { base, chain } => {
                (bake::layers(cx, engine, &self.config, image, base, &chain).await?, chain)
            }
            Source::Dockerfile { base, recipe, chain } => {
                (recipe.build(cx, engine, base.as_ref(), self.config.network.as_deref()).await?, chain)
            }
        };
        finish::image(cx, engine, &self.config, image, (&from, base.as_ref()), &chain.image).await
    }
}

fn invalid(operation: &'static str, image: &ImageDefinition, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("image", &image.name)
}

/// Checks the definition, before anything is touched.
fn check(operation: &'static str, image: &ImageDefinition) -> Result<()> {
    if image.name.is_empty() || image.name.chars().any(char::is_control) {
        return Err(invalid(operation, image, "an image needs a name"));
    }
    if let Some(kind) = image.artifacts.iter().find(|k| **k != ArtifactKind::DockerImage) {
        let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let message = format!("it makes `docker_image` only, not `{kind}`");
        return Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, message).with("image", &image.name));
    }
    if let Some(label) = image.labels.keys().find(|l| l.is_empty() || l.starts_with(labels::PREFIX)) {
        let message =
            format!("the label {label:?} is not for definitions: take a name that does not start with `towpath.`");
        return Err(invalid(operation, image, message));
    }
    Ok(())
}

fn artifact(image: &ImageDefinition, source: (&Chain, Option<&Known>), id: &str) -> Artifact {
    let (chain, base) = source;
    let mut labels = image.labels.clone();
    if let Some(base) = base {
        labels.insert("base-digest".into(), base.id.clone());
    }
    Artifact {
        name: image.name.clone(),
        kind: ArtifactKind::DockerImage,
        id: id.to_owned(),
        digest: id.to_owned(),
        provenance: Provenance {
            content_key: chain.image.clone(),
            base: base.map_or_else(|| "scratch".to_owned(), |b| b.reference.clone()),
            labels,
        },
    }
}

#[async_trait]
impl ImageBuilder for DockerImageBuilder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["build", "contents", "docker_image", "plan", "probe", "remove"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let engine = self.engine(cx, "preflight").await?;
        let mut found =
            Preflight { ok: vec![format!("{} at {}", engine.version, engine.address)], warnings: Vec::new() };
        if let Some(file) = &self.config.dockerfile {
            let path = file.context.join(&file.path);
            if !path.is_file() {
                return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "preflight", "there is no Dockerfile")
                    .with("file", path.display()));
            }
            found.ok.push(format!("Dockerfile {}", path.display()));
        }
        Ok(found)
    }

    /// Starts no container: what would be built is told by its key.
    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        cx.check(PROVIDER, "plan")?;
        check("plan", image)?;
        base::reference("plan", image)?;
        let engine = self.engine(cx, "plan").await?;
        let subject = format!("docker image {}", image.name);
        let mut plan = Plan::default();
        let change = match self.source(cx, &engine, image, false).await? {
            None => Change::cannot_know(&image.name, &subject, Action::Create, "its base is pulled first"),
            Some(source) => {
                let chain = source.chain();
                match bake::find(&engine, "plan", &chain.image).await? {
                    Some(id) => {
                        for tag in finish::missing_tags(&engine, "plan", &self.config, image, &chain.image, &id).await?
                        {
                            plan.changes.push(Change::will(&image.name, format!("tag {tag}"), Action::Update));
                        }
                        Change::will_not(&image.name, &subject).from_to(Some(json!({"id": id})), None)
                    }
                    None => {
                        let kept = match &source {
                            Source::Configurators { .. } => bake::kept(&engine, "plan", chain).await?.0,
                            Source::Dockerfile { .. } => 0,
                        };
                        let after = json!({"content_key": chain.image, "layers": chain.layers.len(), "reused": kept});
                        Change::will(&image.name, &subject, Action::Create).from_to(None, Some(after))
                    }
                }
            }
        };
        // One image per wanted artifact, all the same one.
        plan.changes.extend(image.artifacts.iter().map(|_| change.clone()));
        Ok(plan)
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        cx.check(PROVIDER, "build")?;
        check("build", image)?;
        base::reference("build", image)?;
        if image.artifacts.is_empty() {
            return Ok(Built { artifacts: Vec::new(), changed: 0 });
        }
        let engine = self.engine(cx, "build").await?;
        sweep::sweep(cx, &engine).await?;
        let source = self
            .source(cx, &engine, image, true)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Internal, PROVIDER, "build", "a base that was pulled is not there"))?;
        let (chain, base) = (source.chain().clone(), source.base().cloned());
        let (id, changed) = match bake::find(&engine, "build", &chain.image).await? {
            Some(id) => (id, 0),
            None => (self.bake(cx, &engine, image, source).await?, image.artifacts.len()),
        };
        finish::tag(cx, &engine, &self.config, image, &chain.image, &id).await?;
        let artifact = artifact(image, (&chain, base.as_ref()), &id);
        Ok(Built { artifacts: vec![artifact; image.artifacts.len()], changed })
    }

    /// The engine names an image by the digest of its config, which holds the digests of all its layers.
    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        cx.check(PROVIDER, "probe")?;
        let engine = self.engine(cx, "probe").await?;
        let Some(found) = engine.image("probe", &artifact.id).await? else { return Ok(None) };
        let found = Known::of(&artifact.id, found)?;
        if found.id == artifact.digest {
            return Ok(Some(artifact.clone()));
        }
        Err(Error::new(
            ErrorKind::Conflict,
            PROVIDER,
            "probe",
            "the image is not what its digest says; remove it and build it again",
        )
        .with("image", &artifact.id)
        .with("expected", &artifact.digest)
        .with("found", &found.id))
    }

    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        cx.check(PROVIDER, "remove")?;
        let engine = self.engine(cx, "remove").await?;
        sweep::sweep(cx, &engine).await?;
        finish::remove(cx, &engine, &self.config, artifact).await
    }

    /// Starts nothing: it reads the exported tree of a container that is only made.
    async fn contents(
        &self,
        cx: &Context,
        artifact: &Artifact,
        _connector: &Arc<dyn towpath_core::Connector>,
    ) -> Result<towpath_core::equivalence::Contents> {
        cx.check(PROVIDER, "contents")?;
        let engine = self.engine(cx, "contents").await?;
        sweep::sweep(cx, &engine).await?;
        contents::contents(cx, &engine, &self.config, artifact).await
    }
}
