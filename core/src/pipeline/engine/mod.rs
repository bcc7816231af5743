//! The engine: plans and runs pipelines over a registry of providers and a store.

mod connectors;
mod destroy;
mod executor;
mod logs;
mod plan;
mod resume;
mod scheduler;
mod step;
mod sweep;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Pipeline, Values};
use crate::{
    Context, Error, ErrorKind, ErrorRecord, Faults, LeaseOwner, Listener, Listeners, Masker, OwnerProcess, Record,
    Registry, Result, RunId, RunInfo, RunState, Secret, StepState, Store,
};

pub use executor::{Embedded, Executor};
pub use plan::PipelinePlan;
pub use resume::ResumeOptions;
pub use scheduler::{Command, Scheduler, commands};
pub use sweep::Swept;
pub use work::{StepEnd, Work};

/// Plans and runs pipelines.
///
/// Cheap to clone. `run` continues the one unfinished run of (pipeline, environment), and starts a new one if there is none.
#[derive(Debug, Clone)]
pub struct Engine {
    registry: Arc<Registry>,
    store: Arc<dyn Store>,
    environment: String,
    base_dir: PathBuf,
    listeners: Listeners,
    faults: Faults,
    cancel: CancellationToken,
    masker: Masker,
    secrets: Arc<BTreeMap<String, Secret>>,
    owner: LeaseOwner,
    executor: Arc<dyn Executor>,
    lease: Duration,
}

impl Engine {
    /// An engine for the environment `default`, with relative paths of configs starting in the working directory.
    pub fn new(registry: Arc<Registry>, store: Arc<dyn Store>) -> Self {
        Self {
            registry,
            store,
            environment: "default".to_owned(),
            base_dir: PathBuf::from("."),
            listeners: Listeners::default(),
            faults: Faults::none(),
            cancel: CancellationToken::new(),
            masker: Masker::default(),
            secrets: Arc::default(),
            owner: LeaseOwner {
                id: RunId::new().0,
                run: None,
                label: format!("pid {}", std::process::id()),
                process: OwnerProcess::this(),
            },
            executor: Arc::new(Embedded::default()),
            lease: Duration::from_secs(30),
        }
    }

    /// Works on this environment.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = name.into();
        self
    }

    /// Lets relative paths of configs start here: the pipeline file's directory.
    #[must_use]
    pub fn base_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.base_dir = dir.into();
        self
    }

    /// Tells this listener everything that happens.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn Listener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Ends this process at some points, to show that nothing is lost.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Cancels what runs when the token is cancelled. Calls return when it has stopped.
    #[must_use]
    pub fn cancel(mut self, token: CancellationToken) -> Self {
        self.cancel = token;
        self
    }

    /// Shares the secrets to mask with somebody else.
    #[must_use]
    pub fn masker(mut self, masker: Masker) -> Self {
        self.masker = masker;
        self
    }

    /// Gives a secret that [`SecretRef::Given`](crate::SecretRef::Given) names. It is masked, and stored nowhere: a run that
    /// needs it can only be continued by a program that gives it again, and a warning says so when it starts.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.masker.learn(&value);
        Arc::make_mut(&mut self.secrets).insert(name.into(), value);
        self
    }

    /// Shown to those who wait for this engine's leases: `build-3 pid 4711 (anna)`.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.owner.label = label.into();
        self
    }

    /// Carries commands out with this executor; [`Embedded`] if not given.
    #[must_use]
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = executor;
        self
    }

    /// How long leases last without a renewal; 30 s by default. They are renewed three times in that time.
    #[must_use]
    pub fn lease(mut self, ttl: Duration) -> Self {
        self.lease = ttl;
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// A context outside any run: journal in memory, the same store, listeners and secrets.
    pub fn context(&self) -> Context {
        self.context_until(self.cancel.clone())
    }

    fn context_until(&self, cancel: CancellationToken) -> Context {
        Context::builder()
            .environment(&self.environment)
            .listeners(self.listeners.clone())
            .store(Arc::clone(&self.store))
            .masker(self.masker.clone())
            .secrets(Arc::clone(&self.secrets))
            .cancel(cancel)
            .build()
    }

    /// Runs a pipeline, or continues its unfinished run.
    ///
    /// A step that failed is *not* an error: look at the report's state. Waits while another process holds the environment.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the pipeline is wrong, or its unfinished run has another definition; nothing
    /// was touched. [`Storage`](ErrorKind::Storage), [`Conflict`](ErrorKind::Conflict), [`Interrupted`](ErrorKind::Interrupted):
    /// the run stopped and stays unfinished; the next call continues it.
    pub async fn run(&self, pipeline: &Pipeline, options: RunOptions) -> Result<RunReport> {
        let pipeline = pipeline.with_values(&options.values)?;
        pipeline.check(&self.registry)?;
        self.start(Definition { pipeline, expected: BTreeMap::new() }, options.fresh).await
    }

    /// Runs exactly what was planned: a planned step whose plan is another one by now is refused before it starts. Deferred
    /// steps are planned just in time.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn apply(&self, plan: &PipelinePlan) -> Result<RunReport> {
        plan.verify()?;
        if plan.environment != self.environment {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "core",
                "apply",
                "the plan was made for another environment",
            )
            .with("environment", &self.environment)
            .with("planned_for", &plan.environment));
        }
        plan.pipeline.check(&self.registry)?;
        self.start(Definition { pipeline: plan.pipeline.clone(), expected: plan.expected.clone() }, false).await
    }

    /// Answers the question of a step that asks.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): no such run or step.
    pub async fn approve(&self, run: &RunId, step: &str, granted: bool, by: &str) -> Result<()> {
        let info = self.find(run).await?;
        let definition = Definition::of(&info)?;
        if definition.pipeline.step(step).is_none() {
            return Err(
                Error::new(ErrorKind::NotFound, "core", "approve", "the run has no such step").with("step", step)
            );
        }
        let record = Record::Approval { step: step.to_owned(), granted, by: by.to_owned() };
        self.store.append(run, None, &[record]).await
    }

    /// Checks tools, versions and credentials of every step. Changes nothing.
    pub async fn preflight(&self, pipeline: &Pipeline) -> Result<Vec<(String, Result<crate::Preflight>)>> {
        pipeline.check(&self.registry)?;
        let cx = self.context();
        let mut found = Vec::new();
        for step in &pipeline.steps {
            let answer = step::preflight(&cx, &self.setup(pipeline), &self.registry, pipeline, step).await;
            found.push((step.name.clone(), answer));
        }
        Ok(found)
    }

    /// Says how far a run is; the newest one if none is named. `None`: there is none.
    pub async fn status(&self, run: Option<&RunId>) -> Result<Option<RunStatus>> {
        let info = match run {
            Some(id) => Some(self.find(id).await?),
            None => {
                let filter = crate::RunFilter { environment: Some(self.environment.clone()), ..Default::default() };
                self.store.runs(&filter, 1).await?.pop()
            }
        };
        let Some(info) = info else { return Ok(None) };
        let journal = self.store.journal(&info.id).await?;
        let definition = Definition::of(&info)?;
        let mut steps: Vec<StepStatus> = definition
            .pipeline
            .steps
            .iter()
            .map(|s| StepStatus { name: s.name.clone(), state: None, running: false, attempts: 0, error: None })
            .collect();
        for entry in &journal {
            let (name, learn) = match &entry.record {
                Record::StepStarted { step, .. }
                | Record::StepFinished { step, .. }
                | Record::StepFailed { step, .. }
                | Record::StepReset { step, .. } => (step, &entry.record),
                _ => continue,
            };
            if let Some(step) = steps.iter_mut().find(|s| s.name == *name) {
                step.learn(learn);
            }
        }
        Ok(Some(RunStatus { run: info, steps }))
    }

    async fn find(&self, run: &RunId) -> Result<RunInfo> {
        self.store.run(run).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "core", "run", "the store has no such run")
                .with("run", run)
                .with("store", self.store.location())
        })
    }
}

/// How [`Engine::run`] runs.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Values of the pipeline's parameters.
    pub values: Values,
    /// Gives an unfinished run up (as cancelled) and starts anew, instead of continuing it.
    pub fresh: bool,
}

/// What a run runs: kept in the store, so that any process can continue it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) pipeline: Pipeline,
    /// Digests of the plans that steps must still have when they start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) expected: BTreeMap<String, String>,
}

impl Definition {
    pub(crate) fn of(run: &RunInfo) -> Result<Self> {
        serde_json::from_value(run.definition.clone()).map_err(|e| {
            Error::new(
                ErrorKind::Storage,
                "core",
                "run",
                "the run was written by another version of towpath: finish it with that version, or start a fresh run",
            )
            .with("run", &run.id)
            .caused_by(e)
        })
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// The environment.
    pub environment: String,
    /// How it ended.
    pub state: RunState,
    /// Whether an earlier process had begun it.
    pub resumed: bool,
    /// Every step, in the pipeline's order.
    pub steps: Vec<StepReport>,
    /// Wall-clock seconds of this process's part.
    pub seconds: f64,
}

impl RunReport {
    /// The report of one step.
    pub fn step(&self, name: &str) -> Option<&StepReport> {
        self.steps.iter().find(|s| s.name == name)
    }

    /// An output of a step.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the step did not give it. [`InvalidInput`](ErrorKind::InvalidInput): it is no `T`.
    pub fn output<T: crate::pipeline::OutputType>(&self, output: &crate::pipeline::Output<T>) -> Result<T> {
        let value = self.step(&output.step).and_then(|s| s.outputs.get(&output.name)).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "core", "report", "the run has no such output")
                .with("output", output.reference())
        })?;
        serde_json::from_value(value.clone()).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, "core", "report", "the output has another type")
                .with("output", output.reference())
                .caused_by(e)
        })
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// How it ended; `None`: it has not.
    pub state: Option<StepState>,
    /// Seconds in this process.
    pub seconds: f64,
    /// Attempts in all processes.
    pub attempts: u32,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: Values,
    /// Why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The run.
    pub run: RunInfo,
    /// Its steps, in the pipeline's order.
    pub steps: Vec<StepStatus>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// How it ended; `None`: it has not.
    pub state: Option<StepState>,
    /// An attempt is under way, or was when its process died.
    pub running: bool,
    /// Attempts so far.
    pub attempts: u32,
    /// Why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
}

impl StepStatus {
    fn learn(&mut self, record: &Record) {
        match record {
            Record::StepStarted { attempt, .. } => {
                self.running = true;
                self.attempts = *attempt;
            }
            Record::StepFinished { state, .. } => {
                self.running = false;
                self.state = Some(*state);
            }
            Record::StepFailed { error, .. } => {
                self.running = false;
                self.error = Some(error.clone());
            }
            Record::StepReset { .. } => {
                self.state = None;
                self.error = None;
                self.attempts = 0;
            }
            _ => {}
        }
    }
}
