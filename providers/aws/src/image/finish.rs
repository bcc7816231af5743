//! What makes a finished AMI of an available one: copies, shares, its tags, a launch template.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Image, ImageAttributeName, LaunchPermission, LaunchPermissionModifications, ResourceType};
use serde_json::json;
use towpath_core::{Action, Change, Context, ErrorKind, EventKind, ImageDefinition, Result};

use super::AwsImageBuilder;
use super::bake::wait_available;
use super::known::{all, is_broken, snapshots};
use crate::ami::id as ami_id;
use crate::client::Ec2;
use crate::instance::token;
use crate::launch_template;
use crate::tags::{BUILDING, MAKER, Maker, READY, REMOVING, SINCE, STATE, Tags, get, list, specification};

pub(super) struct Finish<'a> {
    pub(super) cx: &'a Context,
    pub(super) builder: &'a AwsImageBuilder,
    pub(super) ec2: &'a Ec2,
    pub(super) key: &'a str,
    pub(super) maker: &'a Maker,
}

/// The copy in a region that may be used, or is to become so.
async fn copy_in(cx: &Context, ec2: &Ec2, operation: &'static str, key: &str) -> Result<Option<Image>> {
    let images = all(cx, ec2, operation, key).await?;
    Ok(images.into_iter().find(|i| !is_broken(i) && get(i.tags(), STATE) != Some(REMOVING)))
}

/// Accounts that lack the permission to start an AMI.
async fn unshared(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    builder: &AwsImageBuilder,
    ami: &str,
) -> Result<Vec<String>> {
    let wanted = &builder.config.share_with;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let request =
        ec2.api.describe_image_attribute().image_id(ami).attribute(ImageAttributeName::LaunchPermission).send();
    let answer = cx.guard(crate::PROVIDER, operation, Box::pin(async { Ok(request.await) })).await?;
    let found = answer.map_err(|e| ec2.at(operation, "DescribeImageAttribute", ami).failed(e))?;
    let have: Vec<&str> = found.launch_permissions().iter().filter_map(|p| p.user_id()).collect();
    Ok(wanted.iter().filter(|a| !have.contains(&a.as_str())).cloned().collect())
}

/// What is still to be done about an AMI that is ready: the config may name more regions and accounts than it did then.
pub(super) async fn missing(
    cx: &Context,
    builder: &AwsImageBuilder,
    ec2: &Ec2,
    operation: &'static str,
    image: &ImageDefinition,
    key: &str,
    ami: &Image,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut change = |subject: String| changes.push(Change::will(&image.name, subject, Action::Update));
    let mut images = vec![(ec2.clone(), ami_id(ami).to_owned())];
    for other in builder.regions(cx, operation).await?.into_iter().skip(1) {
        match copy_in(cx, &other, operation, key).await? {
            Some(copy) => images.push((other, ami_id(&copy).to_owned())),
            None => change(format!("copy in {}", other.region)),
        }
    }
    for (place, id) in &images {
        let accounts = unshared(cx, place, operation, builder, id).await?;
        if !accounts.is_empty() {
            change(format!("share {id} with {}", accounts.join(", ")));
        }
    }
    if let Some(template) = &builder.config.launch_template
        && !launch_template::is_published(cx, ec2, operation, template, ami_id(ami)).await?
    {
        change(format!("launch template {}", template.name));
    }
    Ok(changes)
}

impl Finish<'_> {
    /// Makes the copies that are missing, and waits until all are available, shared and marked. Gives their ids by region.
    pub(super) async fn copies(&self, ami: &Image) -> Result<BTreeMap<String, String>> {
        let mut waiting = Vec::new();
        for other in self.builder.regions(self.cx, "build").await?.into_iter().skip(1) {
            let id = match copy_in(self.cx, &other, "build", self.key).await? {
                Some(copy) => ami_id(&copy).to_owned(),
                None => self.copy(ami, &other).await?,
            };
            waiting.push((other, id));
        }
        let mut copies = BTreeMap::new();
        for (other, id) in waiting {
            let copy = wait_available(self.cx, &other, self.builder, &id).await?;
            self.share_in(&other, &copy).await?;
            self.mark(&other, &copy, ami).await?;
            copies.insert(other.region, id);
        }
        Ok(copies)
    }

    async fn copy(&self, ami: &Image, to: &Ec2) -> Result<String> {
        let (id, region) = (ami_id(ami), &to.region);
        let name = ami.name().unwrap_or(id).to_owned();
        let message = format!("copying {id} to {region}");
        self.cx.emit(EventKind::Progress { message, done: None, total: None });
        let own = |t: &&aws_sdk_ec2::types::Tag| !t.key().unwrap_or_default().starts_with("aws:");
        let mut tags: Tags = ami
            .tags()
            .iter()
            .filter(own)
            .filter_map(|t| Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned())))
            .collect();
        tags.extend(self.maker.tags(self.cx, BUILDING));
        let at = to.at("build", "CopyImage", id);
        let request = to
            .api
            .copy_image()
            .name(&name)
            .source_image_id(id)
            .source_region(&self.ec2.region)
            .set_description(ami.description().filter(|d| !d.is_empty()).map(str::to_owned))
            .tag_specifications(specification(ResourceType::Image, &tags))
            .tag_specifications(specification(ResourceType::Snapshot, &tags))
            // AWS remembers tokens of copies that were removed since.
            .client_token(token(&["copy", id, region, &self.maker.0]));
        let act = |_| {
            Box::pin(async move {
                let made = request.send().await.map_err(|e| at.failed(e))?;
                made.image_id.ok_or_else(|| at.error(ErrorKind::Protocol, "AWS tells no id of the copy"))
            })
        };
        let intent = json!({"copy_image": id, "from": self.ec2.region, "to": region, "name": name});
        self.cx.effect_idempotent(&format!("copy/{id}/{region}/{}", self.maker.random()), intent, act).await
    }

    /// Lets the given accounts start the AMI.
    pub(super) async fn share(&self, ami: &Image) -> Result<()> {
        self.share_in(self.ec2, ami).await
    }

    async fn share_in(&self, ec2: &Ec2, ami: &Image) -> Result<()> {
        let id = ami_id(ami);
        let accounts = unshared(self.cx, ec2, "build", self.builder, id).await?;
        if accounts.is_empty() {
            return Ok(());
        }
        let at = ec2.at("build", "ModifyImageAttribute", id);
        let add = accounts.iter().map(|a| LaunchPermission::builder().user_id(a).build()).collect();
        let change = LaunchPermissionModifications::builder().set_add(Some(add)).build();
        let act = |_| {
            Box::pin(async move {
                let request = ec2.api.modify_image_attribute().image_id(id).launch_permission(change);
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let key = format!("share/{id}/{}", self.maker.random());
        self.cx.effect_idempotent(&key, json!({"share": id, "with": accounts}), act).await
    }

    /// Says that the AMI may be used.
    pub(super) async fn ready(&self, ami: &Image) -> Result<()> {
        self.mark(self.ec2, ami, ami).await
    }

    /// Marks an AMI and its snapshots, which are known only now, as ready; `like` has the tags that tell where it came from.
    async fn mark(&self, ec2: &Ec2, ami: &Image, like: &Image) -> Result<()> {
        if get(ami.tags(), STATE) == Some(READY) {
            return Ok(());
        }
        let id = ami_id(ami);
        let own = |name: &str| !name.starts_with("aws:") && ![STATE, MAKER, SINCE].contains(&name);
        let mut tags: Tags = like
            .tags()
            .iter()
            .filter_map(|t| Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned())))
            .filter(|(name, _)| own(name))
            .collect();
        tags.extend(self.builder.config.tags.clone());
        tags.extend(self.maker.tags(self.cx, READY));
        let at = ec2.at("build", "CreateTags", id);
        let act = |_| {
            Box::pin(async move {
                let mut resources = snapshots(ami);
                resources.push(id.to_owned());
                let request = ec2.api.create_tags().set_resources(Some(resources)).set_tags(Some(list(&tags)));
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let key = format!("ready/{id}/{}", self.maker.random());
        self.cx.effect_idempotent(&key, json!({"ready": id, "region": ec2.region}), act).await
    }

    /// What a ready AMI may still lack, and the launch template.
    pub(super) async fn publish(&self, ami: &Image) -> Result<()> {
        self.copies(ami).await?;
        self.share(ami).await?;
        if let Some(template) = &self.builder.config.launch_template {
            launch_template::publish(self.cx, self.ec2, "build", template, ami_id(ami)).await?;
        }
        Ok(())
    }
}
