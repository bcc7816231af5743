use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Action, Artifact, ArtifactKind, Base, Built, Capabilities, Change, Context, Error, ErrorKind, ImageBuilder,
    ImageDefinition, Json, Plan, Preflight, Result, digest_json,
};

use crate::artifact::{kind_name, of_file, unreadable};
use crate::build::Image;
use crate::docker::{self, Images};
use crate::files::{blocking, remove, storage};
use crate::program;
use crate::record::{Holder, Records, once};
use crate::vars::check_files;
use crate::work;
use crate::{Definition, PackerConfig};

/// Name of the image builder in the registry and in errors.
pub(crate) const PACKER: &str = "packer";

/// Bakes images with the real `packer`: a template of yours, or a typed definition.
///
/// See the crate's documentation for what is reused, what is looked at, and what a cancel or a crash leaves.
#[derive(Debug, Clone)]
pub struct Packer {
    config: Arc<PackerConfig>,
}

impl Packer {
    /// A builder with this config. Relative paths start at the working directory of this process.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): neither a template nor a definition, or both; a variable that is set twice; a
    /// definition with parts that contradict each other.
    pub fn new(mut config: PackerConfig) -> Result<Self> {
        config.check()?;
        let absolute = |path: &mut PathBuf| -> Result<()> {
            *path = std::path::absolute(&*path).map_err(|e| {
                Error::new(ErrorKind::InvalidInput, PACKER, "config", "a path of the config can't be made absolute")
                    .with("path", path.display())
                    .caused_by(e)
            })?;
            Ok(())
        };
        config.template.iter_mut().try_for_each(absolute)?;
        config.var_files.iter_mut().try_for_each(absolute)?;
        absolute(&mut config.working_dir)?;
        absolute(&mut config.state_dir)?;
        Ok(Self { config: Arc::new(config) })
    }

    /// The config, its paths absolute.
    pub fn config(&self) -> &PackerConfig {
        &self.config
    }

    /// Every artifact of an image that is known: of builds that succeeded, of the finished part of those that failed, and of
    /// those that later ones replaced.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): this can't be the name of an image.
    /// [`Storage`](ErrorKind::Storage): the store can't be read.
    pub async fn recorded(&self, cx: &Context, image: &str) -> Result<Vec<Artifact>> {
        check_name(image, "recorded")?;
        let all = self.records(image).all(cx).await?;
        Ok(once(all.into_iter().flat_map(|(_, record)| record.artifacts).collect()))
    }

    /// How a source names an artifact: that of an AMI is its id alone, without the region. A Docker image that is not pulled is here,
    /// and has an id that never means another one.
    fn reference(&self, artifact: &Artifact) -> String {
        let local = self.config.definition.as_ref().is_some_and(Definition::pulls_no_base);
        match artifact.kind {
            ArtifactKind::Ami => artifact.id.rsplit(':').next().unwrap_or_default().to_owned(),
            ArtifactKind::DockerImage if local && docker::check("build", artifact).is_ok() => artifact.digest.clone(),
            _ => artifact.id.clone(),
        }
    }

    fn records(&self, image: &str) -> Records {
        Records::new(self.config.state_dir.join(image), image)
    }

    /// The kinds that it can make. Of a template only Packer knows, so it may be any.
    fn kinds(&self) -> Vec<ArtifactKind> {
        match &self.config.definition {
            Some(definition) => definition.kinds().into_iter().collect(),
            None => vec![
                ArtifactKind::Ami,
                ArtifactKind::VagrantBox,
                ArtifactKind::DockerImage,
                ArtifactKind::Disk,
                ArtifactKind::Archive,
                ArtifactKind::File,
            ],
        }
    }

    /// Checks the definition of the image. Nothing is touched before this succeeded.
    fn image<'a>(&'a self, operation: &'static str, image: &'a ImageDefinition) -> Result<Image<'a>> {
        check_name(&image.name, operation)?;
        let unsupported = |message: String| {
            Err(Error::new(ErrorKind::Unsupported, PACKER, operation, message).with("image", &image.name))
        };
        if !image.configure.is_empty() {
            return unsupported(
                "`configure` must be empty: packer has provisioners of its own, which the template or `definition` names".into(),
            );
        }
        let can = self.kinds();
        if let Some(kind) = image.artifacts.iter().find(|k| !can.contains(k)) {
            let can: Vec<String> = can.into_iter().map(kind_name).collect();
            let can = if can.is_empty() { "nothing".to_owned() } else { can.join(", ") };
            return unsupported(format!("the definition makes no `{}`; it makes {can}", kind_name(*kind)));
        }
        let (base, key) = match &image.base {
            Base::Image(name) => (name.clone(), json!(name)),
            Base::Artifact(artifact) => (self.reference(artifact), json!([artifact.id, artifact.digest])),
            Base::Host(_) => {
                return unsupported("packer starts from images, not from hosts: name an image as the base".into());
            }
        };
        let needs_base = self.config.definition.as_ref().is_some_and(|d| d.sources.iter().any(|s| s.needs_base()));
        if needs_base && base.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                PACKER,
                operation,
                "a source of the definition names no image to start from, and the image has an empty base: give one",
            )
            .with("image", &image.name));
        }
        check_files(&self.config, operation)?;
        if let Some(template) = self.config.template.as_ref().filter(|t| !t.exists()) {
            return Err(Error::new(ErrorKind::NotFound, PACKER, operation, "there is no such template")
                .with("template", template.display()));
        }
        if !self.config.working_dir.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, PACKER, operation, "`working_dir` is no folder")
                .with("working_dir", self.config.working_dir.display()));
        }
        Ok(Image { config: &self.config, image, base, base_key: key, records: self.records(&image.name) })
    }
}

fn check_name(name: &str, operation: &'static str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(plain) {
        return Ok(());
    }
    let what = "an image's name is a folder's: letters, digits and `._+-`, not `.` or `-` first";
    Err(Error::new(ErrorKind::InvalidInput, PACKER, operation, what).with("image", name))
}

/// An AMI: Packer makes them, and has no verb that looks at them.
fn beyond(operation: &'static str, artifact: &Artifact) -> Error {
    let what = "packer has no command that looks at or removes an `ami`: use the provider `aws`";
    Error::new(ErrorKind::Unsupported, PACKER, operation, what).with("artifact", &artifact.id)
}

/// What an artifact is, to those who look at it.
enum Place {
    /// A file of this machine.
    File(PathBuf),
    /// An image of the Docker engine.
    Docker,
}

fn place(operation: &'static str, artifact: &Artifact) -> Result<Place> {
    match artifact.kind {
        ArtifactKind::Ami => Err(beyond(operation, artifact)),
        ArtifactKind::DockerImage => docker::check(operation, artifact).map(|()| Place::Docker),
        _ => Ok(Place::File(PathBuf::from(&artifact.id))),
    }
}

#[async_trait]
impl ImageBuilder for Packer {
    fn capabilities(&self) -> Capabilities {
        let kinds = self.kinds();
        let mut verbs = vec!["plan".to_owned(), "build".to_owned()];
        if kinds.iter().any(|k| *k != ArtifactKind::Ami) {
            verbs.extend(["probe".to_owned(), "remove".to_owned()]);
        }
        verbs.extend(kinds.into_iter().map(kind_name));
        Capabilities::of(&verbs.iter().map(String::as_str).collect::<Vec<_>>())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        cx.check(PACKER, "preflight")?;
        check_files(&self.config, "preflight")?;
        let mut found = program::preflight(cx, &self.config).await?;
        match &self.config.template {
            Some(template) if template.exists() => found.ok.push(format!("template {}", template.display())),
            Some(template) => {
                return Err(Error::new(ErrorKind::NotFound, PACKER, "preflight", "there is no such template")
                    .with("template", template.display()));
            }
            None => {}
        }
        Ok(found)
    }

    /// Says `will not` for what would be reused. Has Packer check the template if something would be built, except where plugins
    /// would have to be installed first.
    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        cx.check(PACKER, "plan")?;
        let this = self.image("plan", image)?;
        let program = program::packer(cx, &self.config, "plan").await?;
        let content = this.content("plan", &program).await?;
        let mut plan = Plan { warnings: content.warnings(), ..Plan::default() };
        if work::has_abandoned(&this.dir()) {
            plan.warnings.push(
                "a run of packer whose towpath is gone is left: the build ends it first, or takes what it has finished"
                    .into(),
            );
        }
        let subjects: Vec<String> = match image.artifacts.as_slice() {
            [] => vec![format!("image {}", image.name)],
            kinds => kinds.iter().map(|k| format!("{} {}", kind_name(*k), image.name)).collect(),
        };
        let found = this.reusable(cx, &content).await?.map(|record| record.artifacts);
        if let Some(artifacts) = &found {
            this.wanted("plan", artifacts)?;
        } else if let Some(warning) = this.check_template(cx, &program, &content).await? {
            plan.warnings.push(warning);
        }
        for (n, subject) in subjects.into_iter().enumerate() {
            plan.changes.push(match &found {
                Some(artifacts) => {
                    let kind = image.artifacts.get(n);
                    let of_kind = artifacts.iter().filter(|a| kind.is_none_or(|k| a.kind == *k));
                    let before: Vec<Json> = of_kind.map(|a| json!({"id": a.id, "digest": a.digest})).collect();
                    let mut change = Change::will_not(&image.name, subject).from_to(Some(before.into()), None);
                    if artifacts.iter().any(|a| !self.config.reuse.looks_at(a.kind)) {
                        let what = "it is recorded; whether AMIs and Docker images exist still was not looked at";
                        change.reason = Some(what.into());
                    }
                    change
                }
                None => Change::will(&image.name, subject, Action::Create)
                    .from_to(None, Some(json!({"content_key": content.key}))),
            });
        }
        Ok(plan)
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        cx.check(PACKER, "build")?;
        let this = self.image("build", image)?;
        let program = program::packer(cx, &self.config, "build").await?;
        let mut content = this.content("build", &program).await?;
        for warning in content.warnings() {
            cx.warn(warning);
        }
        let mut found = this.reusable(cx, &content).await?;
        if found.is_none() {
            let key = content.key.clone();
            content = this.with_plugins(cx, &program, content).await?;
            if content.key != key {
                found = this.reusable(cx, &content).await?;
            }
        }
        // What an earlier process of this run has built is not reused, but finished: by the journal, with its events.
        if let Some(record) = found.filter(|record| !record.is_of_run(cx)) {
            this.tidy(cx, &content).await?;
            return Ok(Built { artifacts: this.wanted("build", &record.artifacts)?, changed: 0 });
        }
        let outcome = this.build(cx, &program, &content).await?;
        let artifacts = this.wanted("build", &outcome.artifacts)?;
        let changed = match outcome.built {
            // A run without artifacts, of the source `null`, did something all the same.
            true => artifacts.len().max(1),
            false => 0,
        };
        Ok(Built { artifacts, changed })
    }

    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        cx.check(PACKER, "probe")?;
        let path = match place("probe", artifact)? {
            Place::File(path) => path,
            Place::Docker => {
                return match Images::list(cx, &self.config, "probe").await?.look(artifact) {
                    Ok(there) => Ok(there.then(|| artifact.clone())),
                    Err(other) => Err(Error::new(
                        ErrorKind::Conflict,
                        PACKER,
                        "probe",
                        "the name means another image now; build the image again, or remove that name",
                    )
                    .with("image", &artifact.id)
                    .with("expected", &artifact.digest)
                    .with("found", other)),
                };
            }
        };
        let at = path.clone();
        let found = blocking(move || of_file(&at)).await.and_then(|r| r).map_err(|e| unreadable("probe", &path, e))?;
        match found {
            None => Ok(None),
            Some(found) if found == artifact.digest => Ok(Some(artifact.clone())),
            Some(found) => Err(Error::new(
                ErrorKind::Conflict,
                PACKER,
                "probe",
                "the file is not what its digest says; remove it and build the image again",
            )
            .with("path", path.display())
            .with("expected", &artifact.digest)
            .with("found", found)),
        }
    }

    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        cx.check(PACKER, "remove")?;
        let place = place("remove", artifact)?;
        check_name(&artifact.name, "remove")?;
        let records = self.records(&artifact.name);
        let dir = self.config.state_dir.join(&artifact.name);
        // A build would write its records at the same time.
        let _lock = if dir.is_dir() { Some(work::lock(cx, &dir, "remove").await?) } else { None };
        match place {
            Place::Docker => self.remove_image(cx, &records, artifact).await,
            Place::File(path) => remove_file(cx, &records, artifact, &path).await,
        }
    }
}

impl Packer {
    async fn remove_image(&self, cx: &Context, records: &Records, artifact: &Artifact) -> Result<bool> {
        let all = records.of_image(cx, &artifact.digest).await?;
        if all.is_empty() {
            return match Images::list(cx, &self.config, "remove").await?.is_there(&artifact.digest) {
                true => Err(foreign("image").with("image", &artifact.id)),
                false => Ok(false),
            };
        }
        let ours: Vec<String> = all.iter().map(|a| a.id.clone()).collect();
        let there = docker::remove(cx, &self.config, artifact, &ours).await?;
        // The image is gone under all of its names.
        for gone in &all {
            records.forget(cx, gone).await?;
        }
        Ok(there)
    }
}

async fn remove_file(cx: &Context, records: &Records, artifact: &Artifact, path: &Path) -> Result<bool> {
    match records.holder(cx, artifact).await? {
        Holder::Nobody if path.exists() => Err(foreign("file").with("path", path.display())),
        Holder::Nobody => Ok(false),
        // A later build has written there: the artifact that was to go is gone, and what is there is not meant.
        Holder::Another => records.forget_replaced(cx, artifact).await.map(|()| false),
        Holder::Given => {
            let there = path.exists();
            let key = format!("remove/{}", digest_json(&json!([artifact.id, artifact.digest])));
            let gone = |_| async { remove(path).map_err(|e| storage("remove", path, e)) };
            cx.effect_idempotent(&key, json!({"remove": artifact.id}), gone).await?;
            // It may have been built again since an earlier removal by the same run.
            remove(path).map_err(|e| storage("remove", path, e))?;
            records.forget(cx, artifact).await?;
            Ok(there)
        }
    }
}

fn foreign(what: &str) -> Error {
    let what = format!(
        "the {what} is none that this builder made, as far as its records say; remove it by hand if it is to go"
    );
    Error::new(ErrorKind::InvalidInput, PACKER, "remove", what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Docker, Source};

    #[test]
    fn an_artifact_is_named_as_sources_name_it() {
        let image = format!("sha256:{}", "a1".repeat(32));
        let pulling = |pull| {
            let source = Source::Docker(Docker { pull, ..Docker::default() });
            Packer::new(PackerConfig::definition(Definition::new([source]))).unwrap()
        };
        let of = |packer: &Packer, kind, id: &str| {
            let (name, id) = (String::new(), id.to_owned());
            let provenance = towpath_core::Provenance::default();
            packer.reference(&Artifact { name, kind, id, digest: image.clone(), provenance })
        };
        let (remote, local) = (pulling(None), pulling(Some(false)));
        assert_eq!(of(&remote, ArtifactKind::Ami, "eu-west-1:ami-1"), "ami-1");
        assert_eq!(of(&remote, ArtifactKind::Ami, "ami-1"), "ami-1");
        assert_eq!(of(&remote, ArtifactKind::DockerImage, "web:1"), "web:1");
        assert_eq!(of(&local, ArtifactKind::DockerImage, "web:1"), image, "the tag may mean another one by now");
    }
}
