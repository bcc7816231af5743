//! Releases as AMIs on the instances of an Auto Scaling group.

mod config;
mod group;
mod next;
mod refresh;
mod rolling;
mod suspend;
mod template;

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::types::ImageState;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{
    ArtifactKind, Capabilities, Context, Deployer, Error, ErrorKind, GroupJob, GroupState, Json, Preflight, Release,
    Result, Staged, Target, TargetGroup, TargetState, Undo,
};

pub use config::{AwsAutoScalingConfig, Protected, RefreshConfig, Replacement, RollingConfig, ScalingProcess, Standby};
use group::{Place, Seen, Template};
use rolling::Replace;
use template::Versions;

use crate::PROVIDER;
use crate::ami;
use crate::client::{Balancing, Clients, Scaling};
use crate::wait::Patience;

/// Deploys AMIs to Auto Scaling groups.
#[derive(Debug, Clone)]
pub struct AwsAutoScaling {
    config: AwsAutoScalingConfig,
    clients: Clients,
}

/// What a handle's detail says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    group: String,
    /// The version of the launch template.
    version: i64,
    /// Whether Auto Scaling does it.
    refresh: bool,
}

impl AwsAutoScaling {
    /// A deployer with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config is wrong.
    pub fn new(config: AwsAutoScalingConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { clients: Clients::new(&config.client), config })
    }

    /// The config.
    pub fn config(&self) -> &AwsAutoScalingConfig {
        &self.config
    }

    fn patience(&self) -> Patience {
        Patience { timeout_s: Some(self.config.wait.timeout_s.unwrap_or(7200)), ..self.config.wait }
    }

    fn replace<'a>(&'a self, place: Place<'a>, balancing: &'a Balancing, config: &'a RollingConfig) -> Replace<'a> {
        Replace { place, balancing, config, patience: self.patience() }
    }

    /// What the group runs.
    async fn state(&self, cx: &Context, place: Place<'_>) -> Result<GroupState> {
        let seen = place.look(cx).await?;
        let moving = place.active_refresh(cx).await?.is_some();
        let current = match &seen.template {
            Some(template) => self.current(cx, place, &seen, template).await?,
            None => None,
        };
        Ok(GroupState { current, moving, healthy: seen.is_whole() })
    }

    /// The release that all instances run; of an empty group, the one that they would.
    async fn current(
        &self,
        cx: &Context,
        place: Place<'_>,
        seen: &Seen,
        template: &Template,
    ) -> Result<Option<String>> {
        let ec2 = self.clients.ec2(cx, place.operation).await?;
        let versions = Versions::of(cx, &ec2, place.operation, &template.id).await?;
        let running: BTreeSet<Option<i64>> = seen.counted().map(|m| m.version).collect();
        let number = match running.into_iter().collect::<Vec<_>>().as_slice() {
            [] => versions.number(&template.version),
            [one] => *one,
            _ => None,
        };
        Ok(number.and_then(|n| versions.names().remove(&n)))
    }

    /// The AMI of a release.
    async fn ami<'a>(&self, cx: &Context, release: &'a Release) -> Result<&'a str> {
        let invalid = |message: &str| Error::new(ErrorKind::InvalidInput, PROVIDER, "start", message);
        let artifact = release.artifact.as_ref().filter(|a| a.kind == ArtifactKind::Ami);
        let id = artifact.map(|a| a.id.as_str()).filter(|id| id.starts_with("ami-")).ok_or_else(|| {
            invalid("Auto Scaling starts AMIs: give the release an artifact of kind `ami` whose id is `ami-...`")
                .with("release", &release.version)
        })?;
        if !release.env.is_empty() {
            let names: Vec<&str> = release.env.keys().map(String::as_str).collect();
            return Err(invalid("an AMI takes no `env`: bake it, or put it into the launch template's user data")
                .with("env", names.join(" ")));
        }
        let ec2 = self.clients.ec2(cx, "start").await?;
        let missing = || {
            Error::new(
                ErrorKind::NotFound,
                PROVIDER,
                "start",
                "there is no such AMI in this region: AMIs differ by region",
            )
            .with("ami", id)
            .with("region", &ec2.region)
        };
        let image = ami::by_id(cx, &ec2, "start", id).await?.ok_or_else(missing)?;
        match image.state() {
            None | Some(ImageState::Available) => Ok(id),
            Some(other) => {
                Err(Error::new(ErrorKind::Conflict, PROVIDER, "start", "the AMI can't be started yet, or not any more")
                    .with("ami", id)
                    .with("state", other.as_str()))
            }
        }
    }

    /// What would keep the release from reaching all instances, before anything is touched.
    fn hindrances(&self, cx: &Context, place: Place<'_>, seen: &Seen) -> Result<()> {
        let needed = ["Launch", "Terminate", "AddToLoadBalancer"];
        let off: Vec<&str> = seen.suspended.iter().map(String::as_str).filter(|s| needed.contains(s)).collect();
        let at = place.scaling.at(place.operation, "StartInstanceRefresh", place.group);
        if !off.is_empty() {
            let says = "processes that a replacement needs are suspended: resume them first";
            return Err(at.error(ErrorKind::Conflict, says).with("suspended", off.join(" ")));
        }
        let Replacement::Refresh(refresh) = &self.config.how else { return Ok(()) };
        let protected = seen.counted().filter(|m| m.protected).count();
        let standby = seen.members.iter().filter(|m| m.is_standby()).count();
        let waits = |n: usize, what: &str| {
            cx.warn(format!(
                "{n} instances of {} are {what}: the refresh waits for up to an hour for them",
                place.group
            ));
        };
        match refresh.protected {
            Some(Protected::Ignore) if protected > 0 => {
                let says = "instances that are protected from scaling in would keep the old release: take the protection away, or set `protected: refresh`";
                return Err(at.error(ErrorKind::Conflict, says).with("protected", protected));
            }
            None | Some(Protected::Wait) if protected > 0 => waits(protected, "protected from scaling in"),
            _ => {}
        }
        if standby > 0 && matches!(refresh.standby, None | Some(Standby::Wait)) {
            waits(standby, "in standby");
        }
        Ok(())
    }

    async fn begin(&self, cx: &Context, scaling: &Scaling, group: &str, release: &Release) -> Result<GroupJob> {
        let place = Place { scaling, group, operation: "start" };
        let ami = self.ami(cx, release).await?;
        let seen = place.look(cx).await?;
        let at = scaling.at("start", "DescribeAutoScalingGroups", group);
        let Some(template) = &seen.template else {
            let says = "the group starts its instances from a launch configuration: give it a launch template";
            return Err(at.error(ErrorKind::Unsupported, says));
        };
        self.hindrances(cx, place, &seen)?;
        if let Some(active) = place.active_refresh(cx).await? {
            let says = "another instance refresh of the group is under way: wait for it, or cancel it";
            return Err(at
                .error(ErrorKind::Conflict, says)
                .with("refresh", active.instance_refresh_id().unwrap_or_default())
                .retry_later());
        }
        let ec2 = self.clients.ec2(cx, "start").await?;
        let version = Versions::of(cx, &ec2, "start", &template.id).await?.publish(cx, &release.version, ami).await?;
        let (id, refresh) = match &self.config.how {
            Replacement::Refresh(config) => (place.start_refresh(cx, config, template, version).await?, true),
            Replacement::Rolling(config) => {
                let balancing = self.clients.balancing(cx, "start").await?;
                self.replace(place, &balancing, config).start(cx, &seen, template, version).await?;
                (format!("{group}/{version}"), false)
            }
        };
        let job = Job { group: group.to_owned(), version, refresh };
        Ok(GroupJob { id, detail: serde_json::to_value(job).unwrap_or(Json::Null) })
    }

    fn job(operation: &'static str, job: &GroupJob) -> Result<Job> {
        serde_json::from_value(job.detail.clone()).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, PROVIDER, operation, "this is no handle of Auto Scaling")
                .with("job", &job.id)
                .caused_by(e)
        })
    }

    /// The settings of a replacement by towpath, for one that was begun with settings that have changed since.
    fn rolling(&self) -> RollingConfig {
        match &self.config.how {
            Replacement::Rolling(config) => config.clone(),
            Replacement::Refresh(_) => RollingConfig::default(),
        }
    }
}

fn whole_groups_only<T>(operation: &'static str) -> Result<T> {
    let message = "Auto Scaling replaces the instances of a whole group: there is no single target to work on";
    Err(Error::new(ErrorKind::Unsupported, PROVIDER, operation, message))
}

#[async_trait]
impl Deployer for AwsAutoScaling {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["group"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let who = self.clients.identity(cx, "preflight").await?;
        let scaling = self.clients.scaling(cx, "preflight").await?;
        let request = scaling.api.describe_auto_scaling_groups().max_records(1).send();
        scaling.at("preflight", "DescribeAutoScalingGroups", "any group").ask(cx, request).await?;
        Ok(Preflight { ok: vec![who, format!("Auto Scaling in {}", scaling.region)], warnings: Vec::new() })
    }

    async fn stage(&self, _: &Context, _: &Target, _: &Release) -> Result<Staged> {
        whole_groups_only("stage")
    }

    async fn activate(&self, _: &Context, _: &Target, _: &Release) -> Result<()> {
        whole_groups_only("activate")
    }

    async fn deactivate(&self, _: &Context, _: &Target) -> Result<()> {
        whole_groups_only("deactivate")
    }

    async fn probe(&self, _: &Context, _: &Target) -> Result<TargetState> {
        whole_groups_only("probe")
    }

    async fn start(&self, cx: &Context, group: &TargetGroup, release: &Release) -> Result<GroupJob> {
        cx.check(PROVIDER, "start")?;
        let scaling = self.clients.scaling(cx, "start").await?;
        self.begin(cx, &scaling, &group.name, release).await
    }

    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState> {
        let Job { group, version, refresh } = Self::job("follow", job)?;
        let scaling = self.clients.scaling(cx, "follow").await?;
        let place = Place { scaling: &scaling, group: &group, operation: "follow" };
        if refresh {
            place.follow_refresh(cx, &job.id, self.patience()).await?;
        } else {
            let balancing = self.clients.balancing(cx, "follow").await?;
            self.replace(place, &balancing, &self.rolling()).follow(cx, version).await?;
        }
        self.state(cx, place).await
    }

    async fn cancel(&self, cx: &Context, job: &GroupJob) -> Result<()> {
        let Job { group, refresh, .. } = Self::job("cancel", job)?;
        let scaling = self.clients.scaling(cx, "cancel").await?;
        let place = Place { scaling: &scaling, group: &group, operation: "cancel" };
        if refresh {
            return place.cancel_refresh(cx, &job.id).await;
        }
        let balancing = self.clients.balancing(cx, "cancel").await?;
        self.replace(place, &balancing, &self.rolling()).withdraw(cx).await
    }

    async fn probe_group(&self, cx: &Context, group: &TargetGroup) -> Result<GroupState> {
        let scaling = self.clients.scaling(cx, "probe").await?;
        self.state(cx, Place { scaling: &scaling, group: &group.name, operation: "probe" }).await
    }

    fn suspends(&self, cx: &Context, group: &str) -> Option<Undo> {
        if self.config.suspended().is_empty() {
            return None;
        }
        Some(Undo {
            provider: PROVIDER.to_owned(),
            config: serde_json::to_value(&self.config).unwrap_or(Json::Null),
            verb: "resume".to_owned(),
            arguments: json!(group),
            environment: cx.environment().to_owned(),
        })
    }

    async fn suspend(&self, cx: &Context, group: &str) -> Result<()> {
        let scaling = self.clients.scaling(cx, "suspend").await?;
        Place { scaling: &scaling, group, operation: "suspend" }.suspend(cx, &self.config.suspended()).await
    }

    async fn resume(&self, cx: &Context, group: &str) -> Result<()> {
        let scaling = self.clients.scaling(cx, "resume").await?;
        Place { scaling: &scaling, group, operation: "resume" }.resume(cx).await
    }
}
