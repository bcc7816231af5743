//! The behaviour suite that every image builder runs.

use std::sync::Arc;

use towpath_core::testkit::image_builder::ImageBuilderFixture;
use towpath_core::{Artifact, Base, Context};
use towpath_vagrant::{BoxProvider, VagrantBox, VagrantBoxConfig};

use crate::support::image;

/// With boxes that name an image: those of a tree have the same folder and catalogue, and take a minute each.
async fn image_builder_fixture() -> Option<ImageBuilderFixture> {
    let dir = tempfile::tempdir().unwrap();
    let config = VagrantBoxConfig::new(dir.path().join("boxes")).provider(BoxProvider::Docker);
    let base = |c: &str| Base::Image(format!("sha256:{}", c.repeat(64)));
    let corrupt = |artifact: Artifact| {
        std::fs::write(&artifact.id, "something else").unwrap();
        Box::pin(async {}) as _
    };
    Some(ImageBuilderFixture {
        provider: Arc::new(VagrantBox::new(config).unwrap()),
        image: image("web", base("a")),
        other: image("web", base("b")),
        cx: Context::new(),
        corrupt: Some(Box::new(corrupt)),
        keep: Box::new(dir),
    })
}

mod image_builder {
    towpath_core::image_builder_behaviour!(super::image_builder_fixture);
}
