//! Removes what builds have left, found by its names and tags.

use std::path::PathBuf;

use aws_sdk_ec2::types::Tag;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, ErrorKind, EventKind, Result};

use super::temporary::{PREFIX, key_folder};
use super::{AwsImageConfig, remove};
use crate::PROVIDER;
use crate::client::Ec2;
use crate::environment::{describe, end, wait_ended};
use crate::errors::is;
use crate::tags::{BUILDING, KEY, MAKER, Maker, REMOVING, STATE, TEMPORARY, Tags, filter, get, list, lives, tagged};
use crate::wait::{Look, Wait};

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Swept {
    /// Ids of what was removed: instances, volumes, key pairs, security groups, AMIs, snapshots.
    pub removed: Vec<String>,
    /// Ids of what is left, since a living build works with it, or since it is not old enough and was made on another machine.
    pub left: Vec<String>,
}

impl Swept {
    pub(super) fn extend(&mut self, other: Self) {
        self.removed.extend(other.removed);
        self.left.extend(other.left);
    }
}

/// Something temporary.
struct Thing {
    id: String,
    tags: Vec<Tag>,
}

/// All temporary resources of a region.
#[derive(Default)]
struct Things {
    instances: Vec<Thing>,
    volumes: Vec<Thing>,
    keys: Vec<Thing>,
    groups: Vec<Thing>,
}

macro_rules! ask {
    ($cx:expr, $ec2:expr, $operation:expr, $api:literal, $request:expr) => {{
        let request = $request.send();
        let answer = $cx.guard(PROVIDER, $operation, Box::pin(async { Ok(request.await) })).await?;
        answer.map_err(|e| $ec2.at($operation, $api, "what builds have left").failed(e))?
    }};
}

impl Things {
    async fn of(cx: &Context, ec2: &Ec2, operation: &'static str) -> Result<Self> {
        let all = format!("{PREFIX}*");
        let instances = Box::pin(async {
            let states = filter("instance-state-name", &["pending", "running", "stopping", "stopped", "shutting-down"]);
            let found =
                describe(cx, ec2, operation, |r| r.filters(tagged(STATE, &[TEMPORARY])).filters(states)).await?;
            Ok(things(found.into_iter().map(|i| (i.instance_id, i.tags))))
        });
        let volumes = Box::pin(async {
            let request = ec2.api.describe_volumes().filters(tagged(STATE, &[TEMPORARY]));
            let found = ask!(cx, ec2, operation, "DescribeVolumes", request.filters(filter("status", &["available"])));
            Ok(things(found.volumes.unwrap_or_default().into_iter().map(|v| (v.volume_id, v.tags))))
        });
        let keys = Box::pin(async {
            let request = ec2.api.describe_key_pairs().filters(filter("key-name", &[&all]));
            let found = ask!(cx, ec2, operation, "DescribeKeyPairs", request);
            let found = found.key_pairs.unwrap_or_default().into_iter();
            Ok(things(found.map(|k| (k.key_name.filter(|n| n.starts_with(PREFIX)), k.tags))))
        });
        let groups = Box::pin(async {
            let request = ec2.api.describe_security_groups().filters(filter("group-name", &[&all]));
            let found = ask!(cx, ec2, operation, "DescribeSecurityGroups", request);
            let found = found.security_groups.unwrap_or_default().into_iter();
            Ok(things(found.map(|g| (g.group_id, g.tags))))
        });
        let (instances, volumes, keys, groups) = futures::future::try_join4(instances, volumes, keys, groups).await?;
        Ok(Self { instances, volumes, keys, groups })
    }

    /// Keeps what `pick` says; gives the ids of the rest.
    fn keep(&mut self, pick: impl Fn(&[Tag]) -> bool) -> Vec<String> {
        let mut rest = Vec::new();
        for things in [&mut self.instances, &mut self.volumes, &mut self.keys, &mut self.groups] {
            things.retain(|t| {
                let keep = pick(&t.tags);
                if !keep {
                    rest.push(t.id.clone());
                }
                keep
            });
        }
        rest
    }

    fn ids(&self) -> Vec<String> {
        let all = [&self.instances, &self.volumes, &self.keys, &self.groups];
        all.into_iter().flatten().map(|t| t.id.clone()).collect()
    }
}

fn things(found: impl Iterator<Item = (Option<String>, Option<Vec<Tag>>)>) -> Vec<Thing> {
    found.filter_map(|(id, tags)| Some(Thing { id: id?, tags: tags.unwrap_or_default() })).collect()
}

/// Removes things in the order in which they let go of each other: instances, then volumes, groups and keys.
async fn remove_all(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    config: &AwsImageConfig,
    things: &Things,
) -> Result<()> {
    let ids: Vec<String> = things.instances.iter().map(|t| t.id.clone()).collect();
    end(cx, ec2, operation, &ids).await?;
    // A key is no longer needed once nobody starts an instance with it.
    for key in &things.keys {
        let (name, at) = (&key.id, ec2.at(operation, "DeleteKeyPair", &key.id));
        let act = |_| {
            Box::pin(async move {
                ec2.api.delete_key_pair().key_name(name).send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        cx.effect_idempotent(&format!("remove/{name}"), json!({"delete_key_pair": name}), act).await?;
        forget_file(name);
    }
    wait_ended(cx, ec2, operation, config.wait, &ids).await?;
    for volume in &things.volumes {
        let (id, at) = (&volume.id, ec2.at(operation, "DeleteVolume", &volume.id));
        let act = |_| {
            Box::pin(async move {
                match ec2.api.delete_volume().volume_id(id).send().await.map_err(|e| at.failed(e)) {
                    Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                    _ => Ok(()),
                }
            })
        };
        cx.effect_idempotent(&format!("remove/{id}"), json!({"delete_volume": id}), act).await?;
    }
    for group in &things.groups {
        let (id, at) = (&group.id, ec2.at(operation, "DeleteSecurityGroup", &group.id));
        // AWS needs a moment to see that no instance uses it any longer.
        let goal = format!("the security group {id} to be free");
        let wait = Wait { cx, region: &ec2.region, operation, goal, patience: config.wait };
        let act = |_| {
            Box::pin(async move {
                wait.until(|| async move {
                    match ec2.api.delete_security_group().group_id(id).send().await.map_err(|e| at.failed(e)) {
                        Err(e) if is(&e, &["DependencyViolation", "InvalidGroup.InUse"]) => {
                            Ok(Look::NotYet("in use".into()))
                        }
                        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                        _ => Ok(Look::Done(())),
                    }
                })
                .await
            })
        };
        cx.effect_idempotent(&format!("remove/{id}"), json!({"delete_security_group": id}), act).await?;
    }
    Ok(())
}

fn forget_file(name: &str) {
    let file: PathBuf = key_folder().join(name);
    // Another machine's, or removed before.
    let _ = std::fs::remove_file(file);
}

/// Removes the temporary resources of one build, at its end.
pub(super) async fn of_maker(cx: &Context, ec2: &Ec2, config: &AwsImageConfig, maker: &Maker) -> Result<()> {
    let mut things = Box::pin(Things::of(cx, ec2, "build")).await?;
    things.keep(|tags| get(tags, MAKER) == Some(maker.0.as_str()));
    forget_file(&format!("{PREFIX}{}", maker.0));
    Box::pin(remove_all(cx, ec2, "build", config, &things)).await?;
    // Volumes that outlive their instance are free only now.
    let mut rest = Box::pin(Things::of(cx, ec2, "build")).await?;
    rest.keep(|tags| get(tags, MAKER) == Some(maker.0.as_str()));
    rest.instances.clear();
    remove_all(cx, ec2, "build", config, &rest).await
}

/// Removes what builds that are gone have left in a region. An unfinished AMI of the content `key` is left for who asks.
pub(super) async fn sweep(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    config: &AwsImageConfig,
    key: Option<&str>,
) -> Result<Swept> {
    let stale = config.stale_s();
    let mut swept = Swept::default();
    let mut things = Box::pin(Things::of(cx, ec2, operation)).await?;
    swept.left = things.keep(|tags| !lives(cx, tags, stale));
    Box::pin(remove_all(cx, ec2, operation, config, &things)).await?;
    swept.removed = things.ids();
    let unfinished = || tagged(STATE, &[BUILDING, REMOVING]);
    let request = ec2.api.describe_images().owners("self").filters(unfinished());
    let images = ask!(cx, ec2, operation, "DescribeImages", request).images.unwrap_or_default();
    let is_wanted = |tags: &[Tag]| key.is_some_and(|k| get(tags, KEY) == Some(k)) && get(tags, STATE) == Some(BUILDING);
    for image in images {
        let id = crate::ami::id(&image).to_owned();
        if is_wanted(image.tags()) && !super::known::is_broken(&image) {
            continue;
        }
        if lives(cx, image.tags(), stale) {
            swept.left.push(id);
            continue;
        }
        Box::pin(remove::whole(cx, ec2, operation, &image)).await?;
        swept.removed.push(id);
        swept.removed.extend(super::known::snapshots(&image));
    }
    // Those of AMIs that are gone; one that an AMI uses is left by AWS itself.
    let request = ec2.api.describe_snapshots().owner_ids("self").filters(unfinished());
    let snapshots = ask!(cx, ec2, operation, "DescribeSnapshots", request).snapshots.unwrap_or_default();
    for snapshot in snapshots {
        let tags = snapshot.tags();
        let Some(id) = snapshot.snapshot_id().filter(|_| !is_wanted(tags)) else { continue };
        if lives(cx, tags, stale) {
            swept.left.push(id.to_owned());
        } else if Box::pin(remove::snapshot(cx, ec2, operation, id)).await? {
            swept.removed.push(id.to_owned());
        }
    }
    forget_files(cx);
    for id in &swept.removed {
        let message = format!("removed {id}, which an interrupted build had left");
        cx.emit(EventKind::Progress { message, done: None, total: None });
    }
    swept.removed.sort();
    swept.left.sort();
    Ok(swept)
}

/// Removes private keys on this machine whose build is gone.
fn forget_files(cx: &Context) {
    for entry in std::fs::read_dir(key_folder()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(maker) = name.strip_prefix(PREFIX) else { continue };
        if !lives(cx, &list(&Tags::from([(MAKER.to_owned(), maker.to_owned())])), 0) {
            forget_file(&name);
        }
    }
}
