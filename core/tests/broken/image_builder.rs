use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use towpath_core::testkit::image_builder::{ImageBuilderFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{
    Artifact, ArtifactKind, Built, Capabilities, Context, ErrorKind, ImageBuilder, ImageDefinition, Plan, Preflight,
    Result,
};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn ImageBuilder>,
    defect: Defect,
    built: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl ImageBuilder for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        let plan = self.real.plan(cx, image).await?;
        if self.defect.is("plan_builds_nothing") {
            self.real.build(cx, image).await?;
        }
        Ok(plan)
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        let mut image = image.clone();
        let mut cx = cx.clone();
        match self.defect.name {
            "a_kind_that_it_cannot_make_is_unsupported" => image.artifacts.retain(|k| *k == ArtifactKind::Archive),
            "a_cancelled_build_makes_nothing" => cx = cx.shielded(),
            _ => {}
        }
        let mut built = self.real.build(&cx, &image).await?;
        let fresh = self.built.lock().unwrap().insert(image.name.clone());
        match self.defect.name {
            "build_makes_the_artifacts_wanted" => built.artifacts.iter_mut().for_each(|a| a.provenance.labels.clear()),
            "an_equal_image_is_reused" => built.changed = image.artifacts.len(),
            "another_content_is_another_artifact" => {
                built.artifacts.iter_mut().for_each(|a| a.digest = "sha256:0".into());
            }
            "a_removed_image_is_built_again" if !fresh => built.changed = 0,
            _ => {}
        }
        Ok(built)
    }

    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        let found = self.real.probe(cx, artifact).await;
        match (self.defect.name, found) {
            ("probe_finds_what_was_built", Ok(_)) => Ok(None),
            ("probe_of_nothing_is_none", Ok(None)) => Err(error(ErrorKind::NotFound)),
            ("probe_refuses_a_changed_artifact", Err(_)) => Ok(Some(artifact.clone())),
            (_, found) => found,
        }
    }

    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        let was_there = self.real.remove(cx, artifact).await?;
        Ok(was_there || self.defect.is("remove_says_whether_it_was_there"))
    }
}

#[tokio::test]
async fn image_builder() {
    trial(
        behaviours(),
        async || reference::image_builder(),
        async |defect| {
            let f = reference::image_builder();
            let provider = Broken { real: f.provider, defect: Defect::new(defect), built: Mutex::default() };
            ImageBuilderFixture { provider: Arc::new(provider), ..f }
        },
    )
    .await;
}
