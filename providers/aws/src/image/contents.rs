//! Reads what is in an AMI, from an instance that is started for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_ec2::types::Image;
use towpath_core::equivalence::Contents;
use towpath_core::{Artifact, ArtifactKind, Base, Connector, Context, ImageDefinition, Result};

use super::AwsImageBuilder;
use super::bake::Bake;
use super::base::Source;
use super::guest::Guest;
use super::sweep;
use super::temporary::Bench;
use crate::client::Ec2;
use crate::tags::Maker;
use crate::user_data::Resolved;

/// Starts an instance, reads it, and removes everything that was needed for it.
pub(super) async fn contents(
    cx: &Context,
    builder: &AwsImageBuilder,
    ec2: &Ec2,
    artifact: &Artifact,
    ami: Image,
    connector: &Arc<dyn Connector>,
) -> Result<Contents> {
    let image = ImageDefinition {
        name: artifact.name.clone(),
        base: Base::Artifact(Box::new(artifact.clone())),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Ami],
        connector: Arc::clone(connector),
        labels: BTreeMap::new(),
    };
    // Without user data: that is for hosts, and would change what is read.
    let user_data = Resolved { encoded: None, digest: "none".into() };
    let key = artifact.provenance.content_key.clone();
    let source = Source { named: artifact.id.clone(), base: ami, user_data, key };
    let maker = Maker::new();
    let bake = Bake { cx, builder, ec2, image: &image, source: &source, maker: &maker };
    let bench = bake.bench();
    let read = Box::pin(async {
        let access = Box::pin(bench.access(cx)).await?;
        read(cx, &bake, &bench, &access).await
    })
    .await;
    let cleaned = Box::pin(sweep::of_maker(&cx.shielded(), ec2, &builder.config, &maker)).await;
    match (read, cleaned) {
        (Ok(read), cleaned) => cleaned.map(|()| read),
        (Err(first), Ok(())) => Err(first),
        // A sweep removes it.
        (Err(first), Err(e)) => Err(first.with("left", bench.name()).with("why_left", e.message())),
    }
}

async fn read(cx: &Context, bake: &Bake<'_>, bench: &Bench<'_>, access: &super::temporary::Access) -> Result<Contents> {
    let instance = Box::pin(bench.launch(cx, "read", &bake.source.base, access)).await?;
    let guest = Box::pin(Guest::enter(cx, bake, bench, &instance, access)).await?;
    // The temporary key is in no AMI.
    guest.forget_key(cx).await?;
    guest.contents(cx).await
}
