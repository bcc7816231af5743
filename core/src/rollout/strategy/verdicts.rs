use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::VerdictKind;

/// What an answer of a gate other than `pass` leads to. By default each of them makes the target, or the batch, fail.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verdicts {
    /// Something is not well.
    pub fail: Policy,
    /// The gate's time was over before it was clear.
    pub inconclusive: Policy,
    /// The check itself could not be made: the monitor does not answer.
    pub error: Policy,
}

impl Verdicts {
    /// The policy for an answer; `None`: it passed.
    pub fn of(&self, kind: VerdictKind) -> Option<Policy> {
        match kind {
            VerdictKind::Pass => None,
            VerdictKind::Fail => Some(self.fail),
            VerdictKind::Inconclusive => Some(self.inconclusive),
            VerdictKind::Error => Some(self.error),
        }
    }
}

/// What is done about one kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// What happens in the end.
    pub then: Then,
    /// How long the gate is asked again before that, in seconds. `0` by default: its first answer counts.
    #[schemars(range(min = 0.0))]
    pub again_s: f64,
    /// With `ask`: longest wait for somebody's word, in seconds; then it is a no. `3600` by default.
    #[schemars(range(min = 0.0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_limit_s: Option<f64>,
}

impl Policy {
    /// Does this at the first such answer.
    pub fn then(then: Then) -> Self {
        Self { then, ..Self::default() }
    }

    /// Asks the gate again for so long.
    #[must_use]
    pub fn again_s(mut self, seconds: f64) -> Self {
        self.again_s = seconds;
        self
    }
}

/// What an answer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It counts as a failure; beyond the failure budget `on_failure` says what follows.
    #[default]
    Fail,
    /// The rollout stops, and everything stays as it is: nothing is rolled back.
    Stop,
    /// Somebody is asked whether to go on; a no is a failure.
    Ask,
    /// It goes on, with a warning.
    Proceed,
}
