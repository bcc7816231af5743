use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Gate;

use super::{Approval, Batch};

/// One step of a canary: so many targets, and then a time in which they prove themselves under real requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryStep {
    /// How many targets run the release when this step is over: a count or a share of all, more than in the step before.
    pub targets: Batch,
    /// What all targets that were changed so far must pass before the next step. Its `hold_s` is the bake time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Gate>,
    /// Asked once they have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

impl CanaryStep {
    /// A step that ends when so many targets run the release.
    pub fn of(targets: Batch) -> Self {
        Self { targets, bake: None, approval: None }
    }

    /// Asks this of all changed targets before the next step.
    #[must_use]
    pub fn bake(mut self, gate: Gate) -> Self {
        self.bake = Some(gate);
        self
    }

    /// Asks somebody before the next step.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.approval = Some(approval);
        self
    }
}
