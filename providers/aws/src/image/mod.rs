//! The image builder `aws`: AMIs from a temporary instance that configurators work in.

mod bake;
mod base;
mod config;
mod contents;
mod finish;
mod guest;
mod known;
mod remove;
mod sweep;
mod temporary;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_core::equivalence::Contents;
use towpath_core::{
    Action, Artifact, ArtifactKind, Built, Capabilities, Change, Configurator, Connector, Context, Error, ErrorKind,
    ImageBuilder, ImageDefinition, Plan, Preflight, Result,
};

use self::bake::Bake;
use self::base::Source;
use self::known::{Found, find};
pub use config::{AwsImageConfig, TestCommand};
pub use sweep::Swept;

use crate::client::{Clients, Ec2};
use crate::tags::Maker;
use crate::{PROVIDER, tags};

/// Bakes AMIs.
///
/// An AMI carries its content key as a tag, by which it is found again, and the tag `towpath:state`, which says `ready` only when its
/// tests were passed and its copies are there.
#[derive(Debug, Clone)]
pub struct AwsImageBuilder {
    config: AwsImageConfig,
    clients: Clients,
    tests: Vec<Arc<dyn Configurator>>,
}

impl AwsImageBuilder {
    /// A builder with this config. Reaches nobody.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config is wrong; names the field.
    pub fn new(config: AwsImageConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { clients: Clients::new(&config.client), config, tests: Vec::new() })
    }

    /// Also runs these on an instance started from a new AMI, before anybody may use that. They must not fail.
    #[must_use]
    pub fn test_with(mut self, tests: impl IntoIterator<Item = Arc<dyn Configurator>>) -> Self {
        self.tests.extend(tests);
        self
    }

    /// The config.
    pub fn config(&self) -> &AwsImageConfig {
        &self.config
    }

    /// Removes what interrupted builds have left, in the config's region and those that get copies: instances, volumes, key
    /// pairs, security groups, unfinished AMIs and their snapshots. [`build`](ImageBuilder::build) does it by itself, but goes on
    /// with an unfinished AMI of its own content.
    ///
    /// # Errors
    ///
    /// What AWS refuses to remove.
    pub async fn sweep(&self, cx: &Context) -> Result<Swept> {
        cx.check(PROVIDER, "sweep")?;
        self.sweep_but(cx, "sweep", None).await
    }

    async fn sweep_but(&self, cx: &Context, operation: &'static str, key: Option<&str>) -> Result<Swept> {
        let mut swept = Swept::default();
        for ec2 in self.regions(cx, operation).await? {
            swept.extend(Box::pin(sweep::sweep(cx, &ec2, operation, &self.config, key)).await?);
        }
        Ok(swept)
    }

    /// The config's region, then those that get copies.
    async fn regions(&self, cx: &Context, operation: &'static str) -> Result<Vec<Ec2>> {
        let home = self.clients.ec2(cx, operation).await?;
        let mut all = Vec::new();
        for region in self.config.copy_to.iter().filter(|r| **r != home.region) {
            all.push(self.clients.ec2_in(cx, operation, region).await?);
        }
        all.insert(0, home);
        Ok(all)
    }

    /// Checks the definition, before anything is touched.
    fn check(&self, operation: &'static str, image: &ImageDefinition) -> Result<()> {
        if image.name.is_empty() || image.name.chars().count() > 256 || image.name.chars().any(char::is_control) {
            return Err(invalid(operation, image, "an image needs a name of 1 to 256 characters"));
        }
        if let Some(kind) = image.artifacts.iter().find(|k| **k != ArtifactKind::Ami) {
            let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            let message = format!("it makes `ami` only, not `{kind}`");
            return Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, message).with("image", &image.name));
        }
        tags::check("labels", image.labels.iter().chain(&self.config.tags))
            .map_err(|e| e.with("image", &image.name))?;
        let is_reached = !image.configure.is_empty() || self.has_tests();
        if is_reached {
            self.check_access(operation).map_err(|e| e.with("image", &image.name))?;
        }
        Ok(())
    }

    fn has_tests(&self) -> bool {
        !self.config.test.is_empty() || !self.tests.is_empty()
    }
}

fn invalid(operation: &'static str, image: &ImageDefinition, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("image", &image.name)
}

#[async_trait]
impl ImageBuilder for AwsImageBuilder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["ami", "build", "contents", "plan", "probe", "remove"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let ec2 = self.clients.ec2(cx, "preflight").await?;
        let who = self.clients.identity(cx, "preflight").await?;
        let mut found = Preflight { ok: vec![format!("{who} in {}", ec2.region)], warnings: Vec::new() };
        if self.config.is_open() {
            found.warnings.push("`ssh_from` lets the whole world reach port 22 of the temporary instance".into());
        }
        Ok(found)
    }

    /// Starts no instance: what would be built is told by its key.
    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        cx.check(PROVIDER, "plan")?;
        self.check("plan", image)?;
        let ec2 = self.clients.ec2(cx, "plan").await?;
        let source = Box::pin(Source::of(cx, self, &ec2, "plan", image)).await?;
        let subject = format!("ami {}", image.name);
        let mut plan = Plan::default();
        let change = match Box::pin(find(cx, &ec2, "plan", &self.config, &source.key)).await? {
            Found::Ready(ami) => {
                let id = crate::ami::id(&ami).to_owned();
                let missing = finish::missing(cx, self, &ec2, "plan", image, &source.key, &ami);
                plan.changes.extend(Box::pin(missing).await?);
                Change::will_not(&image.name, subject).from_to(Some(json!({"id": id})), None)
            }
            Found::Unfinished(ami) => {
                let mut change = Change::will(&image.name, subject, Action::Update);
                change.reason = Some("an interrupted build had begun it".into());
                change.from_to(Some(json!({"id": crate::ami::id(&ami)})), Some(json!({"content_key": source.key})))
            }
            Found::Nothing => {
                let after =
                    json!({"content_key": source.key, "base": crate::ami::id(&source.base), "region": ec2.region});
                Change::will(&image.name, subject, Action::Create).from_to(None, Some(after))
            }
        };
        // One AMI for every artifact wanted, all the same one.
        plan.changes.extend(image.artifacts.iter().map(|_| change.clone()));
        Ok(plan)
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        cx.check(PROVIDER, "build")?;
        self.check("build", image)?;
        if image.artifacts.is_empty() {
            return Ok(Built { artifacts: Vec::new(), changed: 0 });
        }
        let ec2 = self.clients.ec2(cx, "build").await?;
        let source = Box::pin(Source::of(cx, self, &ec2, "build", image)).await?;
        Box::pin(self.sweep_but(cx, "build", Some(&source.key))).await?;
        let found = Box::pin(find(cx, &ec2, "build", &self.config, &source.key)).await?;
        let is_new = !matches!(found, Found::Ready(_));
        let maker = Maker::new();
        let bake = Bake { cx, builder: self, ec2: &ec2, image, source: &source, maker: &maker };
        let ami = Box::pin(bake.run(found)).await?;
        let artifact = known::artifact(image, &source, &ec2, &ami, Box::pin(bake.copies(&ami)).await?);
        let count = image.artifacts.len();
        Ok(Built { artifacts: vec![artifact; count], changed: if is_new { count } else { 0 } })
    }

    /// AMIs and snapshots can't be changed: the ids of the snapshots are what the digest is taken over.
    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        cx.check(PROVIDER, "probe")?;
        let (ec2, id) = self.place(cx, "probe", artifact).await?;
        let Some(ami) = crate::ami::by_id(cx, &ec2, "probe", &id).await? else { return Ok(None) };
        known::check(&ec2, artifact, &ami)?;
        Ok(Some(artifact.clone()))
    }

    /// Removes the AMI, its copies, and the snapshots of all of them.
    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        cx.check(PROVIDER, "remove")?;
        let (ec2, id) = self.place(cx, "remove", artifact).await?;
        let mut there = false;
        for (name, copy) in &artifact.provenance.labels {
            if let Some(region) = name.strip_prefix(known::COPY) {
                let other = self.clients.ec2_in(cx, "remove", region).await?;
                there |= Box::pin(remove::ami(cx, &other, "remove", copy)).await?;
            }
        }
        there |= Box::pin(remove::ami(cx, &ec2, "remove", &id)).await?;
        Ok(there)
    }

    /// Reads it on an instance that is started for it and ended again.
    async fn contents(&self, cx: &Context, artifact: &Artifact, connector: &Arc<dyn Connector>) -> Result<Contents> {
        cx.check(PROVIDER, "contents")?;
        self.check_access("contents")?;
        let (ec2, id) = self.place(cx, "contents", artifact).await?;
        let ami = crate::ami::by_id(cx, &ec2, "contents", &id).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, PROVIDER, "contents", "there is no such AMI: build it again")
                .with("ami", &id)
                .with("region", &ec2.region)
        })?;
        Box::pin(contents::contents(cx, self, &ec2, artifact, ami, connector)).await
    }
}

impl AwsImageBuilder {
    /// Whether temporary instances may be reached: without a group of its own, only whom the config names.
    fn check_access(&self, operation: &'static str) -> Result<()> {
        if self.config.instance.security_groups.is_empty() && self.config.ssh_from.is_empty() {
            let message = "say who may reach the temporary instance: `ssh_from` with your address as `203.0.113.7/32`, or \
                           `instance.security_groups`";
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message));
        }
        Ok(())
    }

    /// Where an artifact is, and its id there.
    async fn place(&self, cx: &Context, operation: &'static str, artifact: &Artifact) -> Result<(Ec2, String)> {
        if artifact.kind != ArtifactKind::Ami {
            let message = "it knows artifacts of the kind `ami` only";
            return Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, message).with("artifact", &artifact.id));
        }
        let label = artifact.provenance.labels.get(known::REGION).map(String::as_str);
        let (region, id) = match artifact.id.split_once(':') {
            Some((region, id)) => (Some(region), id),
            None => (label, artifact.id.as_str()),
        };
        let ec2 = match region {
            Some(region) => self.clients.ec2_in(cx, operation, region).await?,
            None => self.clients.ec2(cx, operation).await?,
        };
        Ok((ec2, id.to_owned()))
    }
}
