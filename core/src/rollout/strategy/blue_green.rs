use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Approval;

/// Two groups of hosts that take turns: the one that gets no requests is changed and checked as a whole, then the balancer
/// sends everything there. The other one keeps the former release, so that going back is a switch and nothing else.
///
/// Which group is live is what the balancer says; where none is, the release goes to the first one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlueGreen {
    /// The two groups of the inventory, without a host in common.
    pub groups: [String; 2],
    /// Asked when the new group is healthy, before the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Stops the former release after the switch has proved good. `false` by default: it keeps running without requests.
    #[serde(default)]
    pub stop_old: bool,
}

impl BlueGreen {
    /// These two groups.
    pub fn groups(blue: impl Into<String>, green: impl Into<String>) -> Self {
        Self { groups: [blue.into(), green.into()], approval: None, stop_old: false }
    }

    /// Asks somebody before the switch.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.approval = Some(approval);
        self
    }

    /// Stops the former release after the switch.
    #[must_use]
    pub fn stop_old(mut self, yes: bool) -> Self {
        self.stop_old = yes;
        self
    }
}
