//! Instance refreshes: Auto Scaling replaces the instances by itself, towpath follows.

use aws_sdk_autoscaling::types::{
    AlarmSpecification, DesiredConfiguration, InstanceRefresh, InstanceRefreshStatus as Status, RefreshPreferences,
    RefreshStrategy, ScaleInProtectedInstances, StandbyInstances,
};
use towpath_core::{Context, ErrorKind, EventKind, Result};

use super::config::{Protected, RefreshConfig, Standby};
use super::group::{Place, Template};
use crate::errors::is;
use crate::wait::{Look, Patience, Wait};

impl RefreshConfig {
    fn preferences(&self) -> RefreshPreferences {
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let percentages = || self.checkpoints.iter().map(|p| i32::from(*p)).collect();
        let alarms = || AlarmSpecification::builder().set_alarms(Some(self.alarms.clone())).build();
        RefreshPreferences::builder()
            .min_healthy_percentage(self.min_healthy_percent.into())
            .max_healthy_percentage(self.max_healthy_percent.into())
            .set_instance_warmup(self.warmup_s.map(number))
            .set_checkpoint_percentages((!self.checkpoints.is_empty()).then(percentages))
            .set_checkpoint_delay(self.checkpoint_delay_s.map(number))
            .set_bake_time((self.bake_s > 0).then(|| number(self.bake_s)))
            .set_alarm_specification((!self.alarms.is_empty()).then(alarms))
            .set_scale_in_protected_instances(self.protected.map(|p| match p {
                Protected::Refresh => ScaleInProtectedInstances::Refresh,
                Protected::Ignore => ScaleInProtectedInstances::Ignore,
                Protected::Wait => ScaleInProtectedInstances::Wait,
            }))
            .set_standby_instances(self.standby.map(|s| match s {
                Standby::Terminate => StandbyInstances::Terminate,
                Standby::Ignore => StandbyInstances::Ignore,
                Standby::Wait => StandbyInstances::Wait,
            }))
            // What runs the release already stays: a start that is repeated replaces nothing twice.
            .skip_matching(true)
            // The way back is the rollout's: it knows which release was seen healthy.
            .auto_rollback(false)
            .build()
    }
}

fn is_active(refresh: &InstanceRefresh) -> bool {
    use Status::{Baking, Cancelling, InProgress, Pending, RollbackInProgress};
    matches!(refresh.status(), Some(Pending | InProgress | Cancelling | RollbackInProgress | Baking))
}

/// The version of the launch template that a refresh moves to.
fn version(refresh: &InstanceRefresh) -> Option<&str> {
    let to = refresh.desired_configuration()?;
    let mixed = || to.mixed_instances_policy()?.launch_template()?.launch_template_specification();
    to.launch_template().or_else(mixed)?.version()
}

impl Place<'_> {
    /// The refresh of this id, or the group's newest one. `None`: AWS knows none.
    async fn refresh(&self, cx: &Context, id: Option<&str>) -> Result<Option<InstanceRefresh>> {
        let request = self
            .scaling
            .api
            .describe_instance_refreshes()
            .auto_scaling_group_name(self.group)
            .set_instance_refresh_ids(id.map(|id| vec![id.to_owned()]))
            .max_records(1);
        let at = self.scaling.at(self.operation, "DescribeInstanceRefreshes", self.group);
        let found = at.ask(cx, request.send()).await?;
        Ok(found.instance_refreshes.unwrap_or_default().into_iter().next())
    }

    /// The refresh that is under way.
    pub(super) async fn active_refresh(&self, cx: &Context) -> Result<Option<InstanceRefresh>> {
        Ok(self.refresh(cx, None).await?.filter(is_active))
    }

    /// Starts a refresh. Gives its id.
    pub(super) async fn start_refresh(
        &self,
        cx: &Context,
        config: &RefreshConfig,
        template: &Template,
        to: i64,
    ) -> Result<String> {
        let at = self.scaling.at(self.operation, "StartInstanceRefresh", self.group);
        let (plain, mixed) = template.at(to);
        let request = self
            .scaling
            .api
            .start_instance_refresh()
            .auto_scaling_group_name(self.group)
            .strategy(RefreshStrategy::Rolling)
            .desired_configuration(
                DesiredConfiguration::builder().set_launch_template(plain).set_mixed_instances_policy(mixed).build(),
            )
            .preferences(config.preferences());
        let nameless = || at.error(ErrorKind::Protocol, "AWS tells of no id");
        match request.send().await {
            Ok(started) => started.instance_refresh_id.ok_or_else(nameless),
            Err(e) => {
                let error = at.failed(e);
                if !is(&error, &["InstanceRefreshInProgress"]) {
                    return Err(error);
                }
                // It takes no client token. An answer that was lost has started just the one that is in the way now.
                let to = to.to_string();
                match self.active_refresh(cx).await? {
                    Some(active) if version(&active) == Some(&to) => active.instance_refresh_id.ok_or_else(nameless),
                    Some(active) => Err(error.with("under_way", active.instance_refresh_id().unwrap_or_default())),
                    None => Err(error),
                }
            }
        }
    }

    /// Waits until a refresh is over.
    pub(super) async fn follow_refresh(&self, cx: &Context, id: &str, patience: Patience) -> Result<()> {
        let goal = format!("the instance refresh {id} of {}", self.group);
        let wait = Wait { cx, region: &self.scaling.region, operation: self.operation, goal, patience };
        let told = std::sync::Mutex::new(String::new());
        let ended = wait
            .until(|| async {
                // AWS forgets them after some weeks: what the group runs says how it went.
                let Some(seen) = self.refresh(cx, Some(id)).await? else { return Ok(Look::Done(())) };
                let status = seen.status().cloned().unwrap_or(Status::Pending);
                let why = seen.status_reason().unwrap_or_default();
                let percent = seen.percentage_complete().unwrap_or_default();
                let says = format!("{}: instance refresh {}, {percent} % {why}", self.group, status.as_str());
                let says = says.trim_end().to_owned();
                if let Ok(mut told) = told.lock()
                    && *told != says
                {
                    told.clone_from(&says);
                    let done = u64::try_from(percent).ok();
                    cx.emit(EventKind::Progress { message: says.clone(), done, total: done.map(|_| 100) });
                }
                let at = self.scaling.at(self.operation, "DescribeInstanceRefreshes", self.group);
                let failed = |kind, what: &str| {
                    let why = if why.is_empty() { "AWS does not say why" } else { why };
                    Err(at.error(kind, format!("the instance refresh {what}: {why}")).with("refresh", id))
                };
                match status {
                    Status::Successful => Ok(Look::Done(())),
                    Status::Failed => failed(ErrorKind::Unhealthy, "failed"),
                    Status::Cancelled => failed(ErrorKind::Conflict, "was cancelled"),
                    Status::RollbackSuccessful | Status::RollbackFailed => {
                        failed(ErrorKind::Conflict, "was rolled back by somebody else")
                    }
                    _ => Ok(Look::NotYet(says)),
                }
            })
            .await;
        match ended {
            Err(e) if e.kind() == ErrorKind::Timeout && e.get("state").is_some() => {
                // Left alone, it would be in the way of every later one.
                self.cancel_refresh(cx, id).await?;
                Err(e.with("cancelled", id))
            }
            other => other,
        }
    }

    /// Cancels a refresh. Over already, or not the one that is under way, is a success.
    pub(super) async fn cancel_refresh(&self, cx: &Context, id: &str) -> Result<()> {
        let active = self.active_refresh(cx).await?;
        let Some(active) = active.filter(|a| a.instance_refresh_id() == Some(id)) else { return Ok(()) };
        if active.status() == Some(&Status::Cancelling) {
            return Ok(());
        }
        let at = self.scaling.at(self.operation, "CancelInstanceRefresh", self.group);
        match self.scaling.api.cancel_instance_refresh().auto_scaling_group_name(self.group).send().await {
            Ok(_) => Ok(()),
            Err(e) => {
                let error = at.failed(e);
                if is(&error, &["ActiveInstanceRefreshNotFound"]) { Ok(()) } else { Err(error) }
            }
        }
    }
}
