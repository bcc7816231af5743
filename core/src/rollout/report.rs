use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeploymentOutcome, StepState};

/// What a rollout came to. A release that was rolled back is an outcome, not an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutReport {
    /// How it ended.
    pub outcome: RolloutOutcome,
    /// The service.
    pub service: String,
    /// The version that ran on all targets before; `None`: none, or several.
    pub from: Option<String>,
    /// The version that was to run.
    pub to: String,
    /// Why it was refused, rolled back or failed: one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every target, in the order in which they took their turn.
    pub targets: Vec<TargetReport>,
    /// Wall-clock seconds per phase: `stage`, `roll` (with `pause`, `watch` and `bake` in it), `rollback`, `total`. Only of the
    /// process that ended the rollout.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seconds: BTreeMap<String, f64>,
}

impl RolloutReport {
    /// The report of one target.
    pub fn target(&self, host: &str) -> Option<&TargetReport> {
        self.targets.iter().find(|t| t.host == host)
    }

    /// Names the targets that get no requests.
    pub fn out_of_service(&self) -> Vec<&str> {
        self.targets.iter().filter(|t| t.in_service == Some(false)).map(|t| t.host.as_str()).collect()
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// Every target runs the release, but for those that the failure budget allowed to fail.
    Deployed,
    /// Every target ran it already; nothing was touched.
    Unchanged,
    /// A later release has replaced it, and the strategy says to leave it so; nothing was touched.
    Superseded,
    /// It was rolled back here before with the same content; nothing was touched.
    Refused,
    /// It failed, and every touched target runs again what was seen healthy before.
    RolledBack,
    /// It failed, and was not, or not wholly, rolled back. The reason says why.
    Failed,
    /// Somebody cancelled it. Targets that had their turn run the release.
    Cancelled,
}

impl RolloutOutcome {
    /// The outcome as a pipeline step shows it. A cancelled step has no state: it is not finished.
    pub fn step_state(self) -> Option<StepState> {
        match self {
            Self::Deployed => Some(StepState::Done),
            Self::Unchanged | Self::Superseded => Some(StepState::Unchanged),
            Self::Refused | Self::RolledBack => Some(StepState::RolledBack),
            Self::Failed => Some(StepState::Failed),
            Self::Cancelled => None,
        }
    }

    /// The outcome as the ledger keeps it. `None`: nothing was touched, so the ledger stays as it is.
    pub fn in_ledger(self) -> Option<DeploymentOutcome> {
        match self {
            Self::Deployed => Some(DeploymentOutcome::Deployed),
            Self::RolledBack => Some(DeploymentOutcome::RolledBack),
            Self::Failed => Some(DeploymentOutcome::Failed),
            Self::Cancelled => Some(DeploymentOutcome::Cancelled),
            Self::Unchanged | Self::Superseded | Self::Refused => None,
        }
    }
}

/// What became of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    /// The host.
    pub host: String,
    /// The version that ran before.
    pub before: Option<String>,
    /// The version that it is left with, as far as known.
    pub version: Option<String>,
    /// What happened to it.
    pub state: TargetOutcome,
    /// Whether it gets requests; `None`: there is no balancer.
    #[serde(default)]
    pub in_service: Option<bool>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Connections that were cut off since they did not end within the drain limit.
    #[serde(default)]
    pub cut_off: u64,
    /// Wall-clock seconds per phase: `drain`, `activate`, `health`, `serve`; those of the rollback are `rollback`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seconds: BTreeMap<String, f64>,
}

/// What happened to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetOutcome {
    /// It was not touched.
    Untouched,
    /// It ran the release already.
    Unchanged,
    /// It runs the release.
    Updated,
    /// It runs what was seen healthy before.
    RolledBack,
    /// It failed; its reason says how, `in_service` whether it gets requests.
    Failed,
    /// It keeps its version and gets no requests: the other group of `blue_green` does.
    Retired,
}
