//! An Auto Scaling group as it is now.

use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::{
    AutoScalingGroup, Instance, LaunchTemplateSpecification, LifecycleState, MixedInstancesPolicy, Tag,
};
use serde_json::json;
use towpath_core::{Context, ErrorKind, Result};

use crate::client::Scaling;

/// Auto Scaling's name of the kind of resource that its tags belong to.
const KIND: &str = "auto-scaling-group";

/// One group in one region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) scaling: &'a Scaling,
    pub(super) group: &'a str,
    /// towpath's verb, for errors.
    pub(super) operation: &'static str,
}

/// The group.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) desired: i32,
    pub(super) max: i32,
    /// What new instances start from; `None`: a launch configuration.
    pub(super) template: Option<Template>,
    pub(super) members: Vec<Member>,
    /// Processes that are suspended, by AWS's names.
    pub(super) suspended: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// ARNs of the target groups that its instances serve in.
    pub(super) target_groups: Vec<String>,
}

/// The launch template of a group.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) id: String,
    /// A number, `$Default` or `$Latest`.
    pub(super) version: String,
    /// Whose template it is, if the group mixes instance types.
    mixed: Option<MixedInstancesPolicy>,
}

/// One of its instances.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) state: LifecycleState,
    pub(super) healthy: bool,
    /// The version of the launch template that it was started from.
    pub(super) version: Option<i64>,
    pub(super) protected: bool,
}

impl Member {
    fn of(instance: &Instance, template: Option<&Template>) -> Self {
        let from = instance.launch_template();
        // Versions of another template than the group's are no releases.
        let same = from.and_then(|t| t.launch_template_id()).is_none_or(|id| template.is_none_or(|t| t.id == id));
        Self {
            id: instance.instance_id().unwrap_or_default().to_owned(),
            state: instance.lifecycle_state().cloned().unwrap_or(LifecycleState::Pending),
            healthy: instance.health_status() == Some("Healthy"),
            version: from.filter(|_| same).and_then(|t| t.version()).and_then(|v| v.parse().ok()),
            protected: instance.protected_from_scale_in().unwrap_or_default(),
        }
    }

    /// Whether it takes part: not on its way out, in standby or in a warm pool.
    pub(super) fn counts(&self) -> bool {
        let state = self.state.as_str();
        !["Terminat", "Detach", "Standby", "EnteringStandby", "Warmed"].iter().any(|s| state.starts_with(s))
    }

    pub(super) fn is_standby(&self) -> bool {
        matches!(self.state, LifecycleState::Standby | LifecycleState::EnteringStandby)
    }

    /// In service, and not called unhealthy.
    pub(super) fn serves(&self) -> bool {
        self.state == LifecycleState::InService && self.healthy
    }
}

impl Seen {
    fn of(group: &AutoScalingGroup) -> Self {
        let spec = |t: &LaunchTemplateSpecification, mixed: Option<&MixedInstancesPolicy>| {
            Some(Template {
                id: t.launch_template_id()?.to_owned(),
                version: t.version().unwrap_or("$Default").to_owned(),
                mixed: mixed.cloned(),
            })
        };
        let mixed = group.mixed_instances_policy();
        let of_mixed = || spec(mixed?.launch_template()?.launch_template_specification()?, mixed);
        let template = group.launch_template().and_then(|t| spec(t, None)).or_else(of_mixed);
        let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
        Self {
            desired: group.desired_capacity().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
            members: group.instances().iter().map(|i| Member::of(i, template.as_ref())).collect(),
            template,
            suspended: group.suspended_processes().iter().map(|p| text(p.process_name())).collect(),
            tags: group.tags().iter().map(|t| (text(t.key()), text(t.value()))).collect(),
            target_groups: group.target_group_arns().to_vec(),
        }
    }

    /// Its instances, without those that are going.
    pub(super) fn counted(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.counts())
    }

    /// Whether as many as wanted serve, and nothing else is there.
    pub(super) fn is_whole(&self) -> bool {
        self.counted().all(Member::serves) && i32::try_from(self.counted().count()).is_ok_and(|n| n >= self.desired)
    }
}

impl Template {
    fn spec(&self, version: i64) -> LaunchTemplateSpecification {
        LaunchTemplateSpecification::builder().launch_template_id(&self.id).version(version.to_string()).build()
    }

    /// The same with another version: the plain form, or that of a group that mixes instance types.
    pub(super) fn at(&self, version: i64) -> (Option<LaunchTemplateSpecification>, Option<MixedInstancesPolicy>) {
        let Some(mixed) = &self.mixed else { return (Some(self.spec(version)), None) };
        let mut mixed = mixed.clone();
        if let Some(template) = mixed.launch_template.as_mut() {
            template.launch_template_specification = Some(self.spec(version));
        }
        (None, Some(mixed))
    }
}

impl Place<'_> {
    /// Looks at the group. `None`: there is none.
    pub(super) async fn find(&self, cx: &Context) -> Result<Option<Seen>> {
        let request = self.scaling.api.describe_auto_scaling_groups().auto_scaling_group_names(self.group).send();
        let at = self.scaling.at(self.operation, "DescribeAutoScalingGroups", self.group);
        let found = at.ask(cx, request).await?;
        Ok(found.auto_scaling_groups().first().map(Seen::of))
    }

    /// Looks at the group.
    pub(super) async fn look(&self, cx: &Context) -> Result<Seen> {
        let missing = || {
            self.scaling.at(self.operation, "DescribeAutoScalingGroups", self.group).error(
                ErrorKind::NotFound,
                "there is no such Auto Scaling group in this region and account: check the rollout's `group` and `client.region`",
            )
        };
        self.find(cx).await?.ok_or_else(missing)
    }

    fn tag(&self, key: &str, value: Option<&str>) -> Tag {
        Tag::builder()
            .resource_id(self.group)
            .resource_type(KIND)
            .key(key)
            .set_value(value.map(str::to_owned))
            .propagate_at_launch(false)
            .build()
    }

    /// Writes a note on the group.
    pub(super) async fn mark(&self, key: &str, value: &str) -> Result<()> {
        let at = self.scaling.at(self.operation, "CreateOrUpdateTags", self.group);
        let request = self.scaling.api.create_or_update_tags().tags(self.tag(key, Some(value))).send();
        request.await.map(drop).map_err(|e| at.failed(e))
    }

    /// Takes a note off. Not there is a success.
    pub(super) async fn unmark(&self, key: &str) -> Result<()> {
        let at = self.scaling.at(self.operation, "DeleteTags", self.group);
        let request = self.scaling.api.delete_tags().tags(self.tag(key, None)).send();
        request.await.map(drop).map_err(|e| at.failed(e))
    }

    /// Has new instances start from this version.
    pub(super) async fn set_template(&self, cx: &Context, template: &Template, version: i64) -> Result<()> {
        let at = self.scaling.at(self.operation, "UpdateAutoScalingGroup", self.group);
        let act = |_| {
            Box::pin(async move {
                let (plain, mixed) = template.at(version);
                let request = self
                    .scaling
                    .api
                    .update_auto_scaling_group()
                    .auto_scaling_group_name(self.group)
                    .set_launch_template(plain)
                    .set_mixed_instances_policy(mixed);
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let intent = json!({"group": self.group, "launch_template": template.id, "version": version});
        cx.effect_idempotent(&format!("scaling/{}/template/{version}", self.group), intent, act).await
    }

    /// Wants so many instances.
    pub(super) async fn set_desired(&self, desired: i32) -> Result<()> {
        let at = self.scaling.at(self.operation, "SetDesiredCapacity", self.group);
        let request =
            self.scaling.api.set_desired_capacity().auto_scaling_group_name(self.group).desired_capacity(desired);
        request.send().await.map(drop).map_err(|e| at.failed(e))
    }

    /// Ends an instance; `shrink`: without another one in its place. Gone already is a success.
    pub(super) async fn end(&self, id: &str, shrink: bool) -> Result<()> {
        let at = self.scaling.at(self.operation, "TerminateInstanceInAutoScalingGroup", id);
        let request = self
            .scaling
            .api
            .terminate_instance_in_auto_scaling_group()
            .instance_id(id)
            .should_decrement_desired_capacity(shrink);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) => {
                // AWS calls an instance that it does not know a wrong setting; the look that follows tells what is there.
                let gone = e.as_service_error().is_some_and(|e| {
                    use aws_sdk_autoscaling::error::ProvideErrorMetadata as _;
                    e.code() == Some("ValidationError") && e.message().is_some_and(|m| m.contains("not found"))
                });
                if gone { Ok(()) } else { Err(at.failed(e)) }
            }
        }
    }

    /// Why Auto Scaling failed to do something last, in its words.
    pub(super) async fn last_failure(&self, cx: &Context) -> Option<String> {
        let at = self.scaling.at(self.operation, "DescribeScalingActivities", self.group);
        let request =
            self.scaling.api.describe_scaling_activities().auto_scaling_group_name(self.group).max_records(20).send();
        let found = at.ask(cx, request).await.ok()?;
        let failed = found.activities().iter().find(|a| a.status_code().is_some_and(|s| s.as_str() == "Failed"))?;
        failed.status_message().or(failed.description()).map(str::to_owned)
    }
}
