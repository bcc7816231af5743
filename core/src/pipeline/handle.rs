use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::pipeline::{
    Input, OnFailure, OnInterrupt, Output, OutputKind, OutputType, Pipeline, RetryPolicy, Step, artifact_output,
};
use crate::{Artifact, ArtifactKind, Configured, Environment, Inventory, Json, Verdict};

/// A step of a pipeline that is being built. Cheap to clone; options may be set at any time before the pipeline is taken.
pub struct StepHandle<V> {
    pub(crate) pipeline: Arc<Mutex<Pipeline>>,
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) verb: PhantomData<fn() -> V>,
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $marker:ident, $handle:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $marker {}
        $(#[$doc])*
        pub type $handle = StepHandle<$marker>;
    )* };
}
verbs! {
    /// A step that makes hosts.
    ProvisionVerb, ProvisionStep;
    /// A step that configures hosts.
    ConfigureVerb, ConfigureStep;
    /// A step that bakes artifacts.
    ImageVerb, ImageStep;
    /// A step that rolls a release out.
    DeployVerb, DeployStep;
    /// A step that asks a monitor.
    GateVerb, GateStep;
    /// A step that tells a monitor.
    RecordVerb, RecordStep;
    /// A step that collects logs.
    ShipLogsVerb, ShipLogsStep;
    /// A step that calls a function.
    CallVerb, CallStep;
}

impl<V> Clone for StepHandle<V> {
    fn clone(&self) -> Self {
        Self { pipeline: Arc::clone(&self.pipeline), index: self.index, name: self.name.clone(), verb: PhantomData }
    }
}

impl<V> fmt::Debug for StepHandle<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepHandle({})", self.name)
    }
}

impl<V> StepHandle<V> {
    /// The step's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn set(self, change: impl FnOnce(&mut Step)) -> Self {
        if let Some(step) = self.pipeline.lock().unwrap_or_else(PoisonError::into_inner).steps.get_mut(self.index) {
            change(step);
        }
        self
    }

    /// Runs it after another step, also without using its outputs.
    pub fn after<W>(self, other: &StepHandle<W>) -> Self {
        let name = other.name.clone();
        self.set(|s| s.options.after.push(name))
    }

    /// Tries it again after failures that may pass.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.set(|s| s.options.retry = Some(policy))
    }

    /// Limits the time of one attempt.
    pub fn timeout(self, limit: Duration) -> Self {
        self.set(|s| s.options.timeout_s = Some(limit.as_secs_f64()))
    }

    /// Says what happens when it has failed for good: [`OnFailure`], or [`rollback`] of a deploy step.
    pub fn on_fail(self, what: OnFailure) -> Self {
        self.set(|s| s.options.on_failure = what)
    }

    /// Holds a lease while it runs.
    pub fn lease(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.set(|s| s.options.lease.push(key))
    }

    /// Does an effect again that a crash interrupted and that can't be probed, instead of asking.
    pub fn rerun_on_interrupt(self) -> Self {
        self.set(|s| s.options.on_interrupt = OnInterrupt::Rerun)
    }

    /// Asks before it starts.
    pub fn approval(self, question: impl Into<String>) -> Self {
        let question = question.into();
        self.set(|s| s.options.approval = Some(question))
    }

    /// Sets an input by name.
    pub fn input(self, name: impl Into<String>, value: impl Into<Input>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.set(|s| {
            s.inputs.insert(name, value);
        })
    }

    /// Declares an output that the provider can't declare.
    pub fn declare(self, name: impl Into<String>, kind: OutputKind) -> Self {
        let name = name.into();
        self.set(|s| {
            s.outputs.insert(name, kind);
        })
    }

    /// Refers to an output by its name. If neither verb nor provider declares it, [`declare`](Self::declare) it.
    pub fn output<T: OutputType>(&self, name: impl Into<String>) -> Output<T> {
        Output::of(&self.name, name)
    }
}

/// Rolls the deploy step back when a step has failed for good.
pub fn rollback(deploy: &DeployStep) -> OnFailure {
    OnFailure::Rollback(deploy.name.clone())
}

impl ProvisionStep {
    /// The hosts.
    pub fn inventory(&self) -> Output<Inventory> {
        self.output("inventory")
    }

    /// Hosts, outputs and resources.
    pub fn environment(&self) -> Output<Environment> {
        self.output("environment")
    }
}

impl ConfigureStep {
    /// Counts per host.
    pub fn configured(&self) -> Output<Configured> {
        self.output("configured")
    }

    /// Sets a variable with the highest precedence, for all hosts.
    pub fn var(self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.set(|s| {
            let vars = s.inputs.entry("vars".into()).or_insert_with(|| Input(Json::Object(Default::default())));
            if let Some(vars) = vars.0.as_object_mut() {
                vars.insert(name, value);
            }
        })
    }

    /// Configures only these hosts, by an Ansible pattern.
    pub fn limit(self, pattern: impl Into<String>) -> Self {
        let pattern = pattern.into();
        self.input("limit", Input(Json::String(pattern)))
    }
}

impl ImageStep {
    /// The artifact of a kind that the image wants.
    pub fn artifact(&self, kind: ArtifactKind) -> Output<Artifact> {
        self.output(artifact_output(kind))
    }
}

impl DeployStep {
    /// What the rollout did.
    pub fn report(&self) -> Output<Json> {
        self.output("report")
    }

    /// How it moves over the hosts.
    pub fn rollout(self, rollout: impl Serialize) -> Self {
        let rollout = serde_json::to_value(rollout).unwrap_or_default();
        self.input("rollout", Input(rollout))
    }
}

impl GateStep {
    /// The answer.
    pub fn verdict(&self) -> Output<Verdict> {
        self.output("verdict")
    }
}

impl ShipLogsStep {
    /// How many records the sink has accepted.
    pub fn shipped(&self) -> Output<u64> {
        self.output("shipped")
    }
}
