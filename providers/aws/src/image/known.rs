//! AMIs that are there: by content key, as artifacts, and whether they are whole.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Image, ImageState};
use serde_json::json;
use towpath_core::{
    Artifact, ArtifactKind, Context, Error, ErrorKind, ImageDefinition, Provenance, Result, digest_json,
};

use super::AwsImageConfig;
use super::base::Source;
use crate::PROVIDER;
use crate::ami::id;
use crate::client::Ec2;
use crate::tags::{BUILDING, KEY, READY, REMOVING, STATE, get, lives, tagged};

/// Label of an artifact: its region.
pub(super) const REGION: &str = "region";
/// Starts labels of an artifact's copies; the region follows.
pub(super) const COPY: &str = "copy:";
/// Label of an artifact: the id of its base.
const BASE_AMI: &str = "base-ami";

/// What there is for a content key.
pub(super) enum Found {
    /// It was built.
    Ready(Box<Image>),
    /// A build that is gone had begun it.
    Unfinished(Box<Image>),
    Nothing,
}

/// Own AMIs of a content key, the oldest first.
pub(super) async fn all(cx: &Context, ec2: &Ec2, operation: &'static str, key: &str) -> Result<Vec<Image>> {
    let request = ec2.api.describe_images().owners("self").filters(tagged(KEY, &[key])).send();
    let answer = cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.await) })).await?;
    let found = answer.map_err(|e| ec2.at(operation, "DescribeImages", key).failed(e))?;
    let mut images = found.images.unwrap_or_default();
    images.sort_by(|a, b| (a.creation_date(), id(a)).cmp(&(b.creation_date(), id(b))));
    Ok(images)
}

pub(super) fn is_broken(image: &Image) -> bool {
    use ImageState as S;
    matches!(image.state(), Some(S::Failed | S::Error | S::Invalid | S::Deregistered | S::Disabled))
}

/// Looks for the AMI of a content key.
///
/// # Errors
///
/// [`Conflict`](ErrorKind::Conflict): somebody builds it at this very time.
pub(super) async fn find(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    config: &AwsImageConfig,
    key: &str,
) -> Result<Found> {
    let images = all(cx, ec2, operation, key).await?;
    let state = |i: &Image| get(i.tags(), STATE).unwrap_or_default().to_owned();
    if let Some(ready) = images.iter().find(|i| state(i) == READY && !is_broken(i)) {
        return Ok(Found::Ready(Box::new(ready.clone())));
    }
    let unfinished = images.into_iter().find(|i| state(i) == BUILDING && !is_broken(i));
    match unfinished {
        // A plan says what would be so if that build did not come to its end.
        Some(image) if operation != "plan" && lives(cx, image.tags(), config.stale_s()) => {
            let message = "another process builds this AMI now: try again later, and it is reused";
            Err(Error::new(ErrorKind::Conflict, PROVIDER, operation, message)
                .with("ami", id(&image))
                .with("region", &ec2.region)
                .retry_later())
        }
        Some(image) => Ok(Found::Unfinished(Box::new(image))),
        None => Ok(Found::Nothing),
    }
}

/// Whether a state tag says that an AMI is not to be used.
pub(super) fn is_unfinished(state: Option<&str>) -> bool {
    matches!(state, Some(BUILDING | REMOVING))
}

/// Ids of an AMI's snapshots, sorted.
pub(super) fn snapshots(image: &Image) -> Vec<String> {
    let mut ids: Vec<String> = image
        .block_device_mappings()
        .iter()
        .filter_map(|m| m.ebs().and_then(|e| e.snapshot_id()).map(str::to_owned))
        .collect();
    ids.sort();
    ids
}

fn digest(region: &str, image: &Image) -> String {
    format!("sha256:{}", digest_json(&json!({"region": region, "ami": id(image), "snapshots": snapshots(image)})))
}

/// The AMI as an artifact; `copies` by region.
pub(super) fn artifact(
    image: &ImageDefinition,
    source: &Source,
    ec2: &Ec2,
    ami: &Image,
    copies: BTreeMap<String, String>,
) -> Artifact {
    let mut labels = image.labels.clone();
    labels.insert(REGION.into(), ec2.region.clone());
    labels.insert(BASE_AMI.into(), id(&source.base).to_owned());
    labels.extend(copies.into_iter().map(|(region, id)| (format!("{COPY}{region}"), id)));
    Artifact {
        name: image.name.clone(),
        kind: ArtifactKind::Ami,
        id: id(ami).to_owned(),
        digest: digest(&ec2.region, ami),
        provenance: Provenance { content_key: source.key.clone(), base: source.named.clone(), labels },
    }
}

/// Refuses an AMI that is not what an artifact says.
pub(super) fn check(ec2: &Ec2, artifact: &Artifact, ami: &Image) -> Result<()> {
    let conflict = |message: &str| {
        Error::new(ErrorKind::Conflict, PROVIDER, "probe", message).with("ami", id(ami)).with("region", &ec2.region)
    };
    if is_broken(ami) || ami.state() == Some(&ImageState::Pending) {
        let state = ami.state().map_or("unknown", |s| s.as_str());
        return Err(
            conflict("the AMI can't be used now; if it stays so, remove it and build it again").with("state", state)
        );
    }
    if is_unfinished(get(ami.tags(), STATE)) {
        return Err(conflict("the AMI was not finished, or is half removed: build it again"));
    }
    let found = digest(&ec2.region, ami);
    if found != artifact.digest {
        return Err(conflict("the AMI is not what its digest says; remove it and build it again")
            .with("expected", &artifact.digest)
            .with("found", found));
    }
    Ok(())
}
