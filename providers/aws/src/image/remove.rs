//! Removes AMIs together with their snapshots.

use aws_sdk_ec2::types::Image;
use serde_json::json;
use towpath_core::{Context, ErrorKind, Result};

use super::known::snapshots;
use crate::ami::{by_id, id as ami_id};
use crate::client::Ec2;
use crate::errors::is;
use crate::tags::{Maker, REMOVING, list};

/// Removes the AMI of this id. `false`: it was not there.
pub(super) async fn ami(cx: &Context, ec2: &Ec2, operation: &'static str, id: &str) -> Result<bool> {
    let Some(image) = by_id(cx, ec2, operation, id).await? else { return Ok(false) };
    Box::pin(whole(cx, ec2, operation, &image)).await?;
    Ok(true)
}

/// Removes an AMI and its snapshots.
pub(super) async fn whole(cx: &Context, ec2: &Ec2, operation: &'static str, image: &Image) -> Result<()> {
    let id = ami_id(image);
    let maker = Maker::new();
    let snapshots = snapshots(image);
    // First marked: once the AMI is gone nothing else tells that its snapshots belong to nobody.
    let at = ec2.at(operation, "CreateTags", id);
    let (tags, snaps) = (maker.tags(cx, REMOVING), &snapshots);
    let act = |_| {
        Box::pin(async move {
            let mut resources = snaps.clone();
            resources.push(id.to_owned());
            let request = ec2.api.create_tags().set_resources(Some(resources)).set_tags(Some(list(&tags)));
            match request.send().await.map_err(|e| at.failed(e)) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        })
    };
    let key = |what: &str| format!("remove/{id}/{}/{what}", maker.random());
    let intent = json!({"remove": id, "snapshots": snapshots, "region": ec2.region});
    cx.effect_idempotent(&key("mark"), intent, act).await?;
    let at = ec2.at(operation, "DeregisterImage", id);
    let act = |_| {
        Box::pin(async move {
            match ec2.api.deregister_image().image_id(id).send().await.map_err(|e| at.failed(e)) {
                Err(e) if e.kind() != ErrorKind::NotFound && !is(&e, &["InvalidAMIID.Unavailable"]) => Err(e),
                _ => Ok(()),
            }
        })
    };
    cx.effect_idempotent(&key("deregister"), json!({"deregister": id}), act).await?;
    for name in &snapshots {
        Box::pin(snapshot(cx, ec2, operation, name)).await?;
    }
    Ok(())
}

/// Deletes a snapshot. `false`: something else uses it.
pub(super) async fn snapshot(cx: &Context, ec2: &Ec2, operation: &'static str, id: &str) -> Result<bool> {
    let at = ec2.at(operation, "DeleteSnapshot", id);
    let act = |_| {
        Box::pin(async move {
            match ec2.api.delete_snapshot().snapshot_id(id).send().await.map_err(|e| at.failed(e)) {
                Err(e) if is(&e, &["InvalidSnapshot.InUse"]) => Ok(false),
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(true),
            }
        })
    };
    cx.effect_idempotent(&format!("remove/{id}"), json!({"delete_snapshot": id}), act).await
}
