mod approval;
mod batch;
mod blue_green;
mod canary;
mod check;
mod hook;
mod verdicts;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::{ProviderRef, ProviderSpec};
use crate::{Balancer, Gate, Monitor, PortSpec};

pub use approval::*;
pub use batch::*;
pub use blue_green::*;
pub use canary::*;
pub use hook::*;
pub use verdicts::*;

/// How a release moves over the hosts: a batch at a time.
///
/// For each target: drain at the balancer, wait until idle, activate, health gate, back to service; after each batch the
/// watch. The release was staged on all targets before the first one was drained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rolling {
    /// How many targets are changed at once: a count (`2`) or a share (`"25%"`, rounded down, at least one). `1` by default.
    pub batch: Batch,
    /// In which order the targets take their turn.
    pub order: Order,
    /// Only these hosts or groups of the inventory; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Pause between two batches, in seconds. `0` by default.
    #[schemars(range(min = 0.0))]
    pub pause_s: f64,
    /// Longest wait for a drained target's connections to end, in seconds; what is left then is cut off, with a warning.
    /// `30` by default.
    #[schemars(range(min = 0.0))]
    pub drain_limit_s: f64,
    /// Longest time of one activation, in seconds. `600` by default.
    #[schemars(range(min = 0.0))]
    pub activate_limit_s: f64,
    /// Longest wait until the balancer has a target back in service, its own checks included, in seconds. `300` by default.
    #[schemars(range(min = 0.0))]
    pub serve_limit_s: f64,
    /// The first targets in steps, each with a bake time, before the others move in batches. None by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<CanaryStep>,
    /// Two groups of hosts that take turns, instead of batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
    /// How many targets may be out of service at once, those that failed or were out before included: a count, or a share rounded
    /// down to at least one. A batch that would take more out is made smaller. Without it, `batch` alone counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Batch>,
    /// How many targets must be in service at any time: a count, or a share rounded up. A batch that would leave less is made
    /// smaller; if not even one target may be taken out, the rollout fails there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<Batch>,
    /// How many targets go back at once; as `batch` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_batch: Option<Batch>,
    /// How many targets may fail before the rollout has failed. They are left out of service and named in the report. `0` by
    /// default.
    pub failure_budget: u32,
    /// What a changed target must pass before it serves again. Without it, the deployer's own look at the target counts.
    /// In its checks `{{ release_version }}` is the version that shall run, in a rollback the former one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Gate>,
    /// What a batch must pass while it serves again: give it a `hold_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<Gate>,
    /// What an answer of `health`, `watch` or a canary's `bake` other than `pass` leads to.
    pub verdicts: Verdicts,
    /// Asked after the release was staged, before the first target is touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What is run before and after phases, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// What happens when more targets fail than the budget allows.
    pub on_failure: OnFailure,
    /// Tries a release again that was rolled back in this environment with the same content. `false` by default: it is refused.
    pub retry_refused: bool,
    /// What happens to a release that was deployed here once, and that a later one has replaced.
    pub superseded: Superseded,
    /// How long a drained target may stay out of service after this process died, in seconds: the end of the lease whose undo
    /// puts it back. `30` by default.
    #[schemars(range(min = 1.0))]
    pub drain_lease_s: f64,
    /// The balancer that the targets are behind. By name, so that a dead process's drain can be undone by another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balancer: Option<ProviderRef>,
    /// Port under which a target is added to the balancer that does not know it yet. Without it, a backend must be there for
    /// every target, named after its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_port: Option<PortSpec>,
    /// What a deployer that moves a whole group calls it; the service's name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The monitor that judges `health` and `watch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<ProviderRef>,
}

impl Default for Rolling {
    fn default() -> Self {
        Self {
            batch: Batch::Count(1),
            order: Order::Inventory,
            only: Vec::new(),
            pause_s: 0.0,
            drain_limit_s: 30.0,
            activate_limit_s: 600.0,
            serve_limit_s: 300.0,
            canary: Vec::new(),
            blue_green: None,
            max_unavailable: None,
            min_healthy: None,
            rollback_batch: None,
            failure_budget: 0,
            health: None,
            watch: None,
            verdicts: Verdicts::default(),
            approval: None,
            hooks: Vec::new(),
            on_failure: OnFailure::Rollback,
            retry_refused: false,
            superseded: Superseded::Deploy,
            drain_lease_s: 30.0,
            balancer: None,
            backend_port: None,
            group: None,
            monitor: None,
        }
    }
}

impl Rolling {
    /// Changes `count` targets at once. `0` is refused when the rollout starts.
    pub fn batches_of(count: u32) -> Self {
        Self { batch: Batch::Count(count), ..Self::default() }
    }

    /// Changes this share of the targets at once, 1 to 100, at least one target.
    pub fn percent(share: u32) -> Self {
        Self { batch: Batch::Percent(share), ..Self::default() }
    }

    /// Changes the first targets in these steps, then one at a time.
    pub fn canary(steps: impl IntoIterator<Item = CanaryStep>) -> Self {
        Self { canary: steps.into_iter().collect(), ..Self::default() }
    }

    /// Moves from one group of hosts to the other.
    pub fn blue_green(groups: BlueGreen) -> Self {
        Self { blue_green: Some(groups), ..Self::default() }
    }

    /// Changes so many of the others at once, after a canary.
    #[must_use]
    pub fn batch(mut self, size: Batch) -> Self {
        self.batch = size;
        self
    }

    /// Lets so many targets be out of service at once.
    #[must_use]
    pub fn max_unavailable(mut self, most: Batch) -> Self {
        self.max_unavailable = Some(most);
        self
    }

    /// Keeps so many targets in service at any time.
    #[must_use]
    pub fn min_healthy(mut self, least: Batch) -> Self {
        self.min_healthy = Some(least);
        self
    }

    /// Takes so many targets back at once.
    #[must_use]
    pub fn rollback_batch(mut self, size: Batch) -> Self {
        self.rollback_batch = Some(size);
        self
    }

    /// Says what answers of gates lead to.
    #[must_use]
    pub fn verdicts(mut self, verdicts: Verdicts) -> Self {
        self.verdicts = verdicts;
        self
    }

    /// Asks somebody before the first target is touched.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.approval = Some(approval);
        self
    }

    /// Runs something before or after a phase.
    #[must_use]
    pub fn hook(mut self, hook: Hook) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Drains and returns the targets at this balancer.
    #[must_use]
    pub fn behind(mut self, balancer: impl Into<ProviderSpec<dyn Balancer>>) -> Self {
        self.balancer = Some(balancer.into().to_ref());
        self
    }

    /// Adds targets that the balancer does not know yet under this port of theirs.
    #[must_use]
    pub fn backend_port(mut self, port: PortSpec) -> Self {
        self.backend_port = Some(port);
        self
    }

    /// Judges the gates with this monitor.
    #[must_use]
    pub fn monitor(mut self, monitor: impl Into<ProviderSpec<dyn Monitor>>) -> Self {
        self.monitor = Some(monitor.into().to_ref());
        self
    }

    /// Asks this of a changed target before it serves again.
    #[must_use]
    pub fn health(mut self, gate: Gate) -> Self {
        self.health = Some(gate);
        self
    }

    /// Asks this of a batch while it serves again.
    #[must_use]
    pub fn watch(mut self, gate: Gate) -> Self {
        self.watch = Some(gate);
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Limits the rollout to these hosts or groups.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.only = names.into_iter().map(Into::into).collect();
        self
    }

    /// Waits between batches.
    #[must_use]
    pub fn pause(mut self, d: Duration) -> Self {
        self.pause_s = d.as_secs_f64();
        self
    }

    /// Limits the wait for a drained target's connections.
    #[must_use]
    pub fn drain_limit(mut self, d: Duration) -> Self {
        self.drain_limit_s = d.as_secs_f64();
        self
    }

    /// Lets so many targets fail.
    #[must_use]
    pub fn failure_budget(mut self, targets: u32) -> Self {
        self.failure_budget = targets;
        self
    }

    /// Says what happens when more fail.
    #[must_use]
    pub fn on_failure(mut self, then: OnFailure) -> Self {
        self.on_failure = then;
        self
    }

    /// Tries a refused release again.
    #[must_use]
    pub fn retry_refused(mut self, yes: bool) -> Self {
        self.retry_refused = yes;
        self
    }

    /// Says what happens to a release that a later one has replaced.
    #[must_use]
    pub fn superseded(mut self, then: Superseded) -> Self {
        self.superseded = then;
        self
    }
}

/// In which order the targets take their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they stand in the inventory.
    #[default]
    Inventory,
    /// From the inventory's last to its first.
    Reverse,
    /// By their names.
    Name,
}

/// What happens when more targets fail than the budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Every target that was touched goes back to the release that was seen healthy before.
    #[default]
    Rollback,
    /// Everything stays as it is; failed targets stay out of service.
    Stop,
}

/// What happens to a release that was deployed here once, and that a later one has replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Superseded {
    /// It is deployed again: somebody wants it back.
    #[default]
    Deploy,
    /// It is left alone: the pipeline deploys its releases one after the other, and was run again.
    Skip,
}
