use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Json;
use crate::pipeline::{Input, OutputKind};

/// Named values: parameters, inputs and outputs of steps.
pub type Values = BTreeMap<String, Json>;

/// Named steps and how they depend on each other. Pure data: nothing in it is a secret, only references to some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Its name. Together with the environment it identifies a run that can be continued.
    pub name: String,
    /// Parameters and their values; a run may give others. Inputs and configs use them as `{param: name}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: Values,
    /// Settings of connectors by their name: `ssh: {host_keys: accept_new}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connectors: Values,
    /// The steps. Their order counts only for display: what runs when follows from inputs and `after`.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// Finds a step by its name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.name == name)
    }
}

/// One step: what it uses, what it gets, and how it is treated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, unique in the pipeline. No `/` and no `.` in it.
    pub name: String,
    /// What it does, and with which provider.
    pub uses: StepUse,
    /// What it gets, by name: values, or references to outputs of other steps as `{from: step.output}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Input>,
    /// Outputs that the provider can't declare, since only this step's author knows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, OutputKind>,
    /// How it is treated.
    #[serde(default, skip_serializing_if = "StepOptions::is_default")]
    pub options: StepOptions,
}

/// What a step does, and with which provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUse {
    /// What it does.
    pub verb: Verb,
    /// The provider's name in the registry; for `call` the function's: `migrate/v1`.
    pub provider: String,
    /// The provider's config.
    #[serde(default, skip_serializing_if = "is_empty_config")]
    pub config: Json,
}

fn is_empty_config(config: &Json) -> bool {
    config.is_null() || config.as_object().is_some_and(serde_json::Map::is_empty)
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Makes hosts ([`Provisioner`](crate::Provisioner)).
    Provision,
    /// Brings hosts into a state ([`Configurator`](crate::Configurator)).
    Configure,
    /// Bakes artifacts ([`ImageBuilder`](crate::ImageBuilder)).
    BuildImage,
    /// Rolls a release out ([`Deployer`](crate::Deployer)).
    Deploy,
    /// Asks a monitor whether all is well ([`Monitor`](crate::Monitor)).
    Gate,
    /// Hands metrics, notices and checks to a monitor ([`Monitor`](crate::Monitor)).
    Record,
    /// Collects logs from hosts into a sink ([`LogSink`](crate::LogSink)).
    ShipLogs,
    /// Calls a registered function.
    Call,
}

/// How a step is treated.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepOptions {
    /// Tries again after failures that may pass by themselves. Not at all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Longest time of one attempt, in seconds. None if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001))]
    pub timeout_s: Option<f64>,
    /// What happens when it fails for good.
    #[serde(default, skip_serializing_if = "OnFailure::is_stop")]
    pub on_failure: OnFailure,
    /// Leases held while it runs: two steps with a key in common never run at once, in any process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lease: Vec<String>,
    /// What a resumed run does about an effect that a crash interrupted and that can't be probed.
    #[serde(default, skip_serializing_if = "OnInterrupt::is_ask")]
    pub on_interrupt: OnInterrupt,
    /// Steps that must be finished before, beside those whose outputs it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// A question that somebody must say yes to before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
}

impl StepOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Tries again, waiting longer each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included. `3` by default.
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// Seconds before the second attempt. `1` by default.
    #[serde(default = "one_second")]
    pub wait_s: f64,
    /// What each further wait is multiplied with. `2` by default.
    #[serde(default = "twice")]
    pub factor: f64,
    /// Longest wait, in seconds. `60` by default.
    #[serde(default = "minute")]
    pub max_wait_s: f64,
    /// Also tries again after failures that come back until somebody changes something. No by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: three(), wait_s: one_second(), factor: twice(), max_wait_s: minute(), always: false }
    }
}

impl RetryPolicy {
    /// This many attempts in all, everything else by default.
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// Seconds before the attempt that follows attempt number `failed`.
    pub fn wait_after(&self, failed: u32) -> f64 {
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        (self.wait_s * self.factor.powi(exponent)).clamp(0.0, self.max_wait_s.max(0.0))
    }
}

fn three() -> u32 {
    3
}
fn one_second() -> f64 {
    1.0
}
fn twice() -> f64 {
    2.0
}
fn minute() -> f64 {
    60.0
}

/// What happens when a step has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// No further step starts; what runs is waited for; the run fails.
    #[default]
    Stop,
    /// The run goes on. Steps that use its outputs are skipped.
    Continue,
    /// The named deploy step is rolled back to the release that was seen healthy before it, and the run ends.
    Rollback(String),
}

impl OnFailure {
    fn is_stop(&self) -> bool {
        *self == Self::Stop
    }
}

/// What a resumed run does about an effect that a crash interrupted and that can't be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// It stops and asks.
    #[default]
    Ask,
    /// It does it again.
    Rerun,
}

impl OnInterrupt {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_ask(&self) -> bool {
        *self == Self::Ask
    }
}
