use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Deployer, Error, ErrorKind, Json, Result};

use crate::{ClientConfig, PROVIDER, Patience};

/// Settings of the deployer `aws`: releases are AMIs, and reach the instances of an Auto Scaling group. The rollout's `group` names it; the
/// service's name if not given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AwsAutoScalingConfig {
    /// How AWS is reached.
    pub client: ClientConfig,

    /// How instances are replaced. By an instance refresh that loses no capacity, by default.
    pub how: Replacement,

    /// What Auto Scaling must not do meanwhile. Always resumed, after a crash, too. What is suspended already stays so.
    /// `[alarm_notification, scheduled_actions, az_rebalance]` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<Vec<ScalingProcess>>,

    /// How often AWS is asked, and how long the whole move may take: 7200 s by default. A move that takes longer is cancelled.
    pub wait: Patience,
}

/// How a group's instances are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Replacement {
    /// Auto Scaling's own instance refresh.
    Refresh(RefreshConfig),
    /// towpath replaces instance by instance; one that is new must be in service, and healthy at the group's target groups, before an old
    /// one is ended.
    Rolling(RollingConfig),
}

impl Default for Replacement {
    fn default() -> Self {
        Self::Refresh(RefreshConfig::default())
    }
}

/// Settings of an instance refresh. Source: "RefreshPreferences" in the Auto Scaling API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshConfig {
    /// How much of the desired capacity stays in service, in percent. 100 by default: new instances come before old ones go.
    #[schemars(range(min = 0, max = 100))]
    pub min_healthy_percent: u8,

    /// How much more than the desired capacity there may be, in percent: 100 to 200, and at most 100 above `min_healthy_percent`. 110 by default.
    #[schemars(range(min = 100, max = 200))]
    pub max_healthy_percent: u8,

    /// Seconds until a new instance counts as warmed up; the group's own setting if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_s: Option<u32>,

    /// Pauses when so many percent are replaced: rising, the last one 100. None by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<u8>,

    /// Length of these pauses, in seconds. 3600 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 172_800))]
    pub checkpoint_delay_s: Option<u32>,

    /// Wait after the last instance, in seconds, in which an alarm still makes it fail. 0 by default.
    #[schemars(range(max = 172_800))]
    pub bake_s: u32,

    /// CloudWatch alarms that make it fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,

    /// What happens to instances that are protected from scaling in. AWS waits for up to an hour, by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<Protected>,

    /// What happens to instances in standby. AWS waits for up to an hour, by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
}

impl Default for RefreshConfig {
    fn default() -> Self {
        Self {
            min_healthy_percent: 100,
            max_healthy_percent: 110,
            warmup_s: None,
            checkpoints: Vec::new(),
            checkpoint_delay_s: None,
            bake_s: 0,
            alarms: Vec::new(),
            protected: None,
            standby: None,
        }
    }
}

/// Instances that are protected from scaling in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protected {
    /// They are replaced.
    Refresh,
    /// They stay as they are.
    Ignore,
    /// Waits until somebody takes the protection away.
    Wait,
}

/// Instances in standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standby {
    /// They are ended.
    Terminate,
    /// They stay as they are.
    Ignore,
    /// Waits until somebody brings them back.
    Wait,
}

/// Settings of a replacement by towpath.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollingConfig {
    /// How many instances are replaced at once. 1 by default.
    #[schemars(range(min = 1))]
    pub batch: u32,

    /// Starts new instances before it ends old ones, so that no capacity is lost; the group's maximum must leave room for a batch. Yes by
    /// default. `false`: a batch is missing meanwhile.
    pub surge: bool,

    /// Longest wait for one batch to be in service, in seconds. 900 by default.
    #[schemars(range(min = 1))]
    pub limit_s: u64,
}

impl Default for RollingConfig {
    fn default() -> Self {
        Self { batch: 1, surge: true, limit_s: 900 }
    }
}

/// A process of Auto Scaling that can be suspended, but for those that a replacement needs (`Launch`, `Terminate`, `AddToLoadBalancer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScalingProcess {
    /// Scaling by alarms: policies.
    AlarmNotification,
    /// Scaling by the clock.
    ScheduledActions,
    /// Moving instances between zones.
    AzRebalance,
    /// Replacing what is unhealthy.
    ReplaceUnhealthy,
    /// Marking what fails its checks as unhealthy.
    HealthCheck,
    /// Replacing what lives too long or by the group's maintenance policy: instance refreshes, too, so only for `rolling`.
    InstanceRefresh,
}

impl ScalingProcess {
    /// AWS's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AlarmNotification => "AlarmNotification",
            Self::ScheduledActions => "ScheduledActions",
            Self::AzRebalance => "AZRebalance",
            Self::ReplaceUnhealthy => "ReplaceUnhealthy",
            Self::HealthCheck => "HealthCheck",
            Self::InstanceRefresh => "InstanceRefresh",
        }
    }
}

impl AwsAutoScalingConfig {
    /// This client.
    #[must_use]
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.client = client;
        self
    }

    /// Replaces instances like this.
    #[must_use]
    pub fn how(mut self, how: Replacement) -> Self {
        self.how = how;
        self
    }

    /// AWS's names of what is suspended.
    pub(super) fn suspended(&self) -> Vec<&'static str> {
        use ScalingProcess as P;
        let usual = [P::AlarmNotification, P::ScheduledActions, P::AzRebalance];
        let mut names: Vec<_> = self.suspend.as_deref().unwrap_or(&usual).iter().map(|p| p.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn check(&self) -> Result<()> {
        self.client.check()?;
        let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        match &self.how {
            Replacement::Refresh(refresh) => {
                let (min, max) = (refresh.min_healthy_percent, refresh.max_healthy_percent);
                if min > 100 || !(100..=200).contains(&max) || max - min > 100 {
                    return invalid(
                        "`refresh.max_healthy_percent` is 100 to 200, `min_healthy_percent` 0 to 100, and they are at most 100 apart",
                    );
                }
                let rises = refresh.checkpoints.windows(2).all(|w| matches!(w, [a, b] if a < b));
                if !rises || refresh.checkpoints.iter().any(|p| !(1..=100).contains(p)) {
                    return invalid("`refresh.checkpoints` are percentages of 1 to 100 that rise");
                }
                if refresh.checkpoints.last().is_some_and(|p| *p != 100) {
                    return invalid(
                        "`refresh.checkpoints` must end with 100: the rest would keep the old release, and the rollout would fail",
                    );
                }
                if refresh.checkpoint_delay_s.is_some() && refresh.checkpoints.is_empty() {
                    return invalid("`refresh.checkpoint_delay_s` needs `checkpoints`");
                }
                if refresh.bake_s > 172_800 || refresh.checkpoint_delay_s.is_some_and(|s| s > 172_800) {
                    return invalid("`refresh.bake_s` and `checkpoint_delay_s` are at most 172800: two days");
                }
                if self.suspend.as_ref().is_some_and(|s| s.contains(&ScalingProcess::InstanceRefresh)) {
                    return invalid(
                        "`suspend` holds `instance_refresh`, and `how` is one: take it out, or use `rolling`",
                    );
                }
            }
            Replacement::Rolling(rolling) => {
                if rolling.batch == 0 || rolling.limit_s == 0 {
                    return invalid("`rolling.batch` and `rolling.limit_s` must be 1 or more");
                }
            }
        }
        Ok(())
    }
}

impl From<AwsAutoScalingConfig> for ProviderSpec<dyn Deployer> {
    fn from(config: AwsAutoScalingConfig) -> Self {
        Self::new(PROVIDER, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
