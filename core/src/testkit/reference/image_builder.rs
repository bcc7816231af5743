use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Nowhere, Shared, error};
use crate::testkit::image_builder::ImageBuilderFixture;
use crate::{
    Action, Artifact, ArtifactKind, Base, Built, Capabilities, Change, Context, ErrorKind, ImageBuilder,
    ImageDefinition, Plan, Preflight, Provenance, Result, digest_json,
};

/// Makes archives that exist in memory only. An image's name is all its content.
#[derive(Debug, Clone, Default)]
pub struct MemoryImageBuilder {
    /// Content by id.
    world: Shared<BTreeMap<String, String>>,
}

/// An image builder that has built nothing.
pub fn image_builder() -> ImageBuilderFixture {
    let provider = MemoryImageBuilder::default();
    let world = provider.world.clone();
    let corrupt = move |artifact: Artifact| {
        world.lock().insert(artifact.id, "torn".into());
        Box::pin(async {}) as _
    };
    let image = |name: &str| ImageDefinition {
        name: name.into(),
        base: Base::Image("debian".into()),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Archive],
        connector: Arc::new(Nowhere),
        labels: BTreeMap::from([("commit".to_owned(), "c0ffee".to_owned())]),
    };
    ImageBuilderFixture {
        provider: Arc::new(provider),
        image: image("web"),
        other: image("other"),
        cx: Context::new(),
        corrupt: Some(Box::new(corrupt)),
        keep: Box::new(()),
    }
}

fn digest(content: &str) -> String {
    format!("sha256:{}", digest_json(&content.into()))
}

fn artifact(image: &ImageDefinition) -> Artifact {
    let digest = digest(&image.name);
    Artifact {
        name: image.name.clone(),
        kind: ArtifactKind::Archive,
        id: format!("memory:{}", image.name),
        provenance: Provenance { content_key: digest.clone(), base: "debian".into(), labels: image.labels.clone() },
        digest,
    }
}

#[async_trait]
impl ImageBuilder for MemoryImageBuilder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "build", "probe", "remove", "archive"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        cx.check("memory", "plan")?;
        let change = match self.world.lock().contains_key(&artifact(image).id) {
            true => Change::will_not(&image.name, "archive"),
            false => Change::will(&image.name, "archive", Action::Create),
        };
        Ok(Plan { changes: vec![change], ..Plan::default() })
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        cx.check("memory", "build")?;
        if let Some(other) = image.artifacts.iter().find(|k| **k != ArtifactKind::Archive) {
            let name = serde_json::to_value(other).unwrap();
            return Err(error(ErrorKind::Unsupported, "build", "it makes archives only").with("kind", name));
        }
        let artifact = artifact(image);
        let before = self.world.lock().insert(artifact.id.clone(), image.name.clone());
        let changed = if before.is_none() { image.artifacts.len() } else { 0 };
        Ok(Built { artifacts: vec![artifact; image.artifacts.len()], changed })
    }

    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        cx.check("memory", "probe")?;
        match self.world.lock().get(&artifact.id) {
            None => Ok(None),
            Some(content) if digest(content) == artifact.digest => Ok(Some(artifact.clone())),
            Some(_) => Err(error(ErrorKind::Conflict, "probe", "its content is not what its digest says")),
        }
    }

    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        cx.check("memory", "remove")?;
        Ok(self.world.lock().remove(&artifact.id).is_some())
    }
}
