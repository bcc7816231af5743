//! The suite of image builders, with Packer's own `file` builder.

use std::sync::Arc;

use towpath_core::testkit::image_builder::ImageBuilderFixture;
use towpath_core::{Artifact, ArtifactKind, Context};
use towpath_packer::{Definition, File, Packer, PackerConfig, Source};

use crate::support::{image, packer};

async fn fixture() -> Option<ImageBuilderFixture> {
    if !packer() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = Source::File(File {
        target: "out/{{user `towpath_image`}}.txt".into(),
        content: Some("this is {{user `towpath_image`}}\n".into()),
        ..File::default()
    });
    let config =
        PackerConfig::definition(Definition::new([source])).working_dir(dir.path()).state_dir(dir.path().join("state"));
    let corrupt = |artifact: Artifact| {
        std::fs::write(&artifact.id, "torn").unwrap();
        Box::pin(async {}) as _
    };
    Some(ImageBuilderFixture {
        provider: Arc::new(Packer::new(config).unwrap()),
        image: image("web", &[ArtifactKind::File]),
        other: image("other", &[ArtifactKind::File]),
        cx: Context::new(),
        corrupt: Some(Box::new(corrupt)),
        keep: Box::new(dir),
    })
}

mod suite {
    towpath_core::image_builder_behaviour!(super::fixture);
}
