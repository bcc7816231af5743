use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::lease::{HeldLease, Wanted};
use crate::pipeline::engine::{Command, Definition, Engine, RunReport, Scheduler, StepReport, connectors, step};
use crate::pipeline::{OnFailure, OnInterrupt, Pipeline, Step, Values};
use crate::{
    Context, Entry, Error, ErrorKind, ErrorRecord, EventKind, Journal, Json, Record, Result, Retry, RunInfo, RunState,
    Setup, StepState, Timestamp,
};

/// One run, as an [`Executor`](super::Executor) carries it out: it performs the steps and keeps journal and outputs.
#[derive(Debug)]
pub struct Work {
    engine: Engine,
    definition: Definition,
    setup: Setup,
    cx: Context,
    run: RunInfo,
    entries: Vec<Entry>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    outputs: HashMap<String, Values>,
    seconds: HashMap<String, f64>,
    errors: HashMap<String, ErrorRecord>,
}

/// How a step's attempt ended: the records to append, and how long it took.
#[derive(Debug)]
pub struct StepEnd {
    /// The step, by its index.
    pub step: usize,
    /// What to append, in one piece. Empty: the step is not over (cancelled).
    pub records: Vec<Record>,
    /// The run can't go on: the journal can't be written, a lease was lost, somebody must be asked.
    pub fatal: Option<Error>,
}

impl Work {
    pub(crate) fn new(
        engine: &Engine,
        definition: Definition,
        run: RunInfo,
        entries: Vec<Entry>,
        cx: Context,
    ) -> Arc<Self> {
        let mut kept = Kept::default();
        for entry in &entries {
            match &entry.record {
                Record::StepFinished { step, outputs, .. } => {
                    kept.outputs.insert(step.clone(), outputs.clone());
                }
                Record::StepFailed { step, error, .. } => {
                    kept.errors.insert(step.clone(), error.clone());
                }
                Record::StepReset { step, .. } => {
                    kept.outputs.remove(step);
                    kept.errors.remove(step);
                }
                _ => {}
            }
        }
        let setup = engine.setup(&definition.pipeline);
        Arc::new(Self { engine: engine.clone(), definition, setup, cx, run, entries, kept: Mutex::new(kept) })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A scheduler that has seen what earlier processes did.
    pub fn scheduler(&self) -> Scheduler {
        Scheduler::replay(Arc::new(self.definition.pipeline.clone()), &self.entries)
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.definition.pipeline
    }

    /// The context of the run.
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// Appends records and tells the listeners; they are durable when this returns.
    pub async fn append(&self, scheduler: &Scheduler, records: Vec<Record>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut events = Vec::new();
        {
            let mut kept = self.kept();
            for record in &records {
                match record {
                    Record::StepStarted { step, attempt } => {
                        events.push((step.clone(), EventKind::StepStarted { attempt: *attempt }));
                    }
                    Record::StepFailed { step, attempt, error, again } => {
                        kept.errors.insert(step.clone(), error.clone());
                        if *again {
                            let policy = self.pipeline().step(step).and_then(|s| s.options.retry.clone());
                            let wait_s = policy.unwrap_or_default().wait_after(*attempt);
                            let error = error.clone();
                            events.push((step.clone(), EventKind::StepRetry { attempt: *attempt, wait_s, error }));
                        }
                    }
                    Record::StepFinished { step, state, outputs } => {
                        kept.outputs.insert(step.clone(), outputs.clone());
                        let index = self.pipeline().steps.iter().position(|s| s.name == *step);
                        let failed = !matches!(state, StepState::Done | StepState::Unchanged | StepState::Skipped);
                        let finished = EventKind::StepFinished {
                            state: *state,
                            seconds: kept.seconds.get(step).copied().unwrap_or_default(),
                            attempts: index.map_or(0, |i| scheduler.attempts(i)),
                            error: kept.errors.get(step).filter(|_| failed).cloned(),
                        };
                        events.push((step.clone(), finished));
                    }
                    _ => {}
                }
            }
        }
        self.cx.journal().append(records).await?;
        for (step, event) in events {
            self.cx.for_step(&step).emit(event);
        }
        Ok(())
    }

    /// Tells the listeners what earlier processes of this run have finished.
    pub(crate) fn recount(&self, scheduler: &Scheduler) {
        for (i, step) in self.pipeline().steps.iter().enumerate() {
            if let Some(state) = scheduler.state(i) {
                let error = self.kept().errors.get(&step.name).cloned();
                let finished = EventKind::StepFinished { state, seconds: 0.0, attempts: scheduler.attempts(i), error };
                self.cx.for_step(&step.name).emit(finished);
            }
        }
    }

    fn step(&self, index: usize) -> Result<&Step> {
        self.pipeline()
            .steps
            .get(index)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "core", "run", "a command names a step that does not exist"))
    }

    /// Carries a [`Command::Start`] out, without its pause and its `StepStarted` record.
    pub async fn perform(&self, index: usize, attempt: u32, interrupted: bool) -> StepEnd {
        let step = match self.step(index) {
            Ok(step) => step,
            Err(e) => return StepEnd { step: index, records: Vec::new(), fatal: Some(e) },
        };
        let from = Instant::now();
        let result = self.attempt(step, interrupted).await;
        *self.kept().seconds.entry(step.name.clone()).or_default() += from.elapsed().as_secs_f64();
        self.end(index, step, attempt, result)
    }

    async fn attempt(&self, step: &Step, interrupted: bool) -> Result<step::Outcome> {
        let mut cx = self.cx.for_step(&step.name).rerun_opaque(step.options.on_interrupt == OnInterrupt::Rerun);
        if let Some(limit) = step.options.timeout_s {
            cx = cx.with_timeout(std::time::Duration::try_from_secs_f64(limit).unwrap_or_default());
        }
        let mut leases = Vec::new();
        // In a fixed order, so that two steps with several keys can't wait for each other.
        let mut keys = step.options.lease.clone();
        keys.sort();
        keys.dedup();
        for key in keys {
            let wanted = Wanted {
                key: format!("step/{key}"),
                reason: format!("step {} of {}", step.name, self.pipeline().name),
                owner: &self.engine.owner,
                ttl: self.engine.lease,
                lost: cx.cancel_token().clone(),
            };
            leases.push(HeldLease::take(&cx, &self.engine.store, &wanted).await?);
        }
        let inputs = self.inputs(step)?;
        if interrupted {
            step::end_survivors(&cx, &self.setup, step, &inputs).await?;
        } else if let Some(expected) = self.definition.expected.get(&step.name) {
            self.engine.still_as_planned(&cx, &self.setup, self.pipeline(), step, &inputs, expected).await?;
        }
        let result = step::perform(&cx, &self.setup, &self.engine.registry, self.pipeline(), step, inputs).await;
        for lease in leases {
            lease.give_back().await?;
        }
        let mut outcome = result?;
        for value in outcome.outputs.values_mut() {
            cx.masker().mask_json(value);
        }
        Ok(outcome)
    }

    /// The step's inputs with all references replaced.
    pub(crate) fn inputs(&self, step: &Step) -> Result<Values> {
        let kept = self.kept();
        let outputs = |from: &str, name: &str| -> Option<&Json> { kept.outputs.get(from)?.get(name) };
        let mut inputs = Values::new();
        for (name, input) in &step.inputs {
            let value = input.resolve(&outputs, &self.pipeline().parameters);
            inputs.insert(name.clone(), value.map_err(|e| e.with("step", &step.name).with("input", name))?);
        }
        Ok(inputs)
    }

    fn end(&self, index: usize, step: &Step, attempt: u32, result: Result<step::Outcome>) -> StepEnd {
        let name = step.name.clone();
        let error = match result {
            Ok(outcome) => {
                let mut records = Vec::new();
                if let Some(error) = outcome.failure {
                    records.push(Record::StepFailed { step: name.clone(), attempt, error, again: false });
                }
                records.push(Record::StepFinished { step: name, state: outcome.state, outputs: outcome.outputs });
                return StepEnd { step: index, records, fatal: None };
            }
            Err(e) => e.with_missing("step", &step.name),
        };
        let cancelled = error.kind() == ErrorKind::Cancelled && self.cx.is_cancelled();
        if cancelled || matches!(error.kind(), ErrorKind::Storage | ErrorKind::Interrupted) {
            return StepEnd { step: index, records: Vec::new(), fatal: (!cancelled).then_some(error) };
        }
        let policy = step.options.retry.as_ref();
        let again = policy.is_some_and(|p| attempt < p.attempts && (p.always || error.retry() == Retry::Later));
        let mut masked = serde_json::to_value(error.record()).unwrap_or_default();
        self.cx.masker().mask_json(&mut masked);
        let error = serde_json::from_value(masked).unwrap_or_else(|_| error.record());
        let mut records = vec![Record::StepFailed { step: name.clone(), attempt, error, again }];
        if !again {
            let goes_on = step.options.on_failure == OnFailure::Continue;
            let state = if goes_on { StepState::Ignored } else { StepState::Failed };
            records.push(Record::StepFinished { step: name, state, outputs: Values::new() });
        }
        StepEnd { step: index, records, fatal: None }
    }

    /// Carries a [`Command::RollBack`] out.
    pub async fn roll_back(&self, failed: usize, deploy: usize) -> StepEnd {
        let result = async {
            let (failed, deploy) = (self.step(failed)?, self.step(deploy)?);
            let why = self.kept().errors.get(&failed.name).map(|e| format!("step {} failed: {e}", failed.name));
            let why = why.unwrap_or_else(|| format!("step {} failed", failed.name));
            let cx = self.cx.for_step(&deploy.name).scoped("undo");
            let inputs = self.inputs(deploy)?;
            step::undo_deploy(&cx, &self.setup, &self.engine.registry, deploy, inputs, &why).await
        };
        let name = self.step(deploy).map(|s| s.name.clone()).unwrap_or_default();
        match result.await {
            Ok(state) => {
                let outputs = self.kept().outputs.get(&name).cloned().unwrap_or_default();
                StepEnd {
                    step: deploy,
                    records: vec![Record::StepFinished { step: name, state, outputs }],
                    fatal: None,
                }
            }
            Err(e) => StepEnd { step: deploy, records: Vec::new(), fatal: Some(e.with_missing("step", name)) },
        }
    }

    /// Waits until somebody has answered a step's question, in this process or another one.
    pub async fn ask(&self, index: usize) -> Result<Record> {
        let step = self.step(index)?;
        let cx = self.cx.for_step(&step.name);
        let question = step.options.approval.clone().unwrap_or_default();
        cx.emit(EventKind::ApprovalNeeded { question, service: None });
        loop {
            let journal = self.engine.store.journal(&self.run.id).await?;
            let after_reset = journal
                .iter()
                .rev()
                .take_while(|e| !matches!(&e.record, Record::StepReset { step: s, .. } if *s == step.name));
            let mut answers = after_reset.map(|e| &e.record);
            if let Some(answer) = answers.find(|r| matches!(r, Record::Approval { step: s, .. } if *s == step.name)) {
                return Ok(answer.clone());
            }
            cx.sleep("core", "approval", std::time::Duration::from_millis(300)).await?;
        }
    }

    /// The records of a [`Command::Refuse`].
    pub fn refuse(&self, index: usize, by: &str) -> Vec<Record> {
        let Ok(step) = self.step(index) else { return Vec::new() };
        let error = Error::new(ErrorKind::Denied, "core", "approval", "the step was refused").with("by", by);
        self.end(index, step, 1, Err(error)).records
    }

    pub(crate) async fn finish(&self, state: RunState) -> Result<()> {
        self.cx.journal().append(vec![Record::RunFinished { state }]).await?;
        let run = RunInfo { state, finished_at: Some(Timestamp::now()), ..self.run.clone() };
        self.engine.store.update_run(&run).await
    }

    pub(crate) fn report(&self, scheduler: &Scheduler, state: RunState, resumed: bool, seconds: f64) -> RunReport {
        let mut kept = self.kept();
        let steps = self.pipeline().steps.iter().enumerate().map(|(i, s)| StepReport {
            name: s.name.clone(),
            state: scheduler.state(i),
            seconds: kept.seconds.get(&s.name).copied().unwrap_or_default(),
            attempts: scheduler.attempts(i),
            outputs: kept.outputs.remove(&s.name).unwrap_or_default(),
            error: kept.errors.remove(&s.name),
        });
        let steps = steps.collect();
        RunReport {
            run: self.run.id.clone(),
            pipeline: self.pipeline().name.clone(),
            environment: self.run.environment.clone(),
            state,
            resumed,
            steps,
            seconds,
        }
    }
}

impl Engine {
    /// What providers are made with outside any run: this engine's folder and environment, and a connector with the
    /// pipeline's settings.
    pub fn setup(&self, pipeline: &Pipeline) -> Setup {
        let (base, environment) = (self.base_dir.clone(), self.environment.clone());
        let registry = Arc::clone(&self.registry);
        let connector = connectors::Connectors::new(registry, pipeline, base.clone(), environment.clone());
        Setup { base_dir: base, environment, connector: Arc::new(connector) }
    }

    /// Takes the environment, finds or makes the run, and drives it.
    pub(crate) async fn start(&self, definition: Definition, fresh: bool) -> Result<RunReport> {
        let (lease, cancel) = self.take_environment(&definition.pipeline.name).await?;
        let result = async {
            let value = serde_json::to_value(&definition).map_err(|e| {
                Error::new(ErrorKind::Internal, "core", "run", "a pipeline can't be written as JSON").caused_by(e)
            })?;
            if let Some(old) = self.unfinished(&definition.pipeline.name).await? {
                if !fresh && (old.definition == value || self.same(&Definition::of(&old)?, &definition)) {
                    return self.drive(definition, old, true, &lease, cancel.clone()).await;
                }
                if !fresh {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        "core",
                        "run",
                        "an unfinished run has another definition: `towpath resume` ends it as it was begun, `towpath run --fresh` gives it up",
                    )
                    .with("run", &old.id)
                    .with("environment", &self.environment));
                }
                self.give_up(&definition.pipeline.name).await?;
            }
            let run = RunInfo {
                id: crate::RunId::new(),
                pipeline: definition.pipeline.name.clone(),
                environment: self.environment.clone(),
                state: RunState::Unfinished,
                definition: value,
                started_at: Timestamp::now(),
                finished_at: None,
            };
            self.store.create_run(&run).await?;
            self.drive(definition, run, false, &lease, cancel.clone()).await
        }
        .await;
        let freed = lease.give_back().await;
        let report = result?;
        freed.map(|()| report)
    }

    /// Whether two definitions mean the same run: a builder spells defaults out, a file does not.
    fn same(&self, one: &Definition, other: &Definition) -> bool {
        one.expected == other.expected && one.pipeline.bare(&self.registry) == other.pipeline.bare(&self.registry)
    }

    async fn unfinished(&self, pipeline: &str) -> Result<Option<RunInfo>> {
        let filter = crate::RunFilter {
            pipeline: Some(pipeline.to_owned()),
            environment: Some(self.environment.clone()),
            state: Some(RunState::Unfinished),
        };
        Ok(self.store.runs(&filter, 1).await?.pop())
    }

    /// Ends the unfinished run of a pipeline as it is. The caller holds the environment.
    pub(crate) async fn give_up(&self, pipeline: &str) -> Result<()> {
        if let Some(mut old) = self.unfinished(pipeline).await? {
            old.state = RunState::Cancelled;
            old.finished_at = Some(Timestamp::now());
            self.store.update_run(&old).await?;
        }
        Ok(())
    }

    pub(crate) async fn take_environment(
        &self,
        pipeline: &str,
    ) -> Result<(HeldLease, tokio_util::sync::CancellationToken)> {
        let lost = self.cancel.child_token();
        let wanted = Wanted {
            key: format!("environment/{}", self.environment),
            reason: format!("runs pipeline {pipeline}"),
            owner: &self.owner,
            ttl: self.lease,
            lost: lost.clone(),
        };
        Ok((HeldLease::take(&self.context(), &self.store, &wanted).await?, lost))
    }

    /// Drives a run to its end. The caller holds the environment.
    pub(crate) async fn drive(
        &self,
        definition: Definition,
        run: RunInfo,
        resumed: bool,
        lease: &HeldLease,
        cancel: tokio_util::sync::CancellationToken,
    ) -> Result<RunReport> {
        let from = Instant::now();
        self.sweep_but(Some(&run.id)).await?;
        let entries = if resumed { self.store.journal(&run.id).await? } else { Vec::new() };
        let journal = Journal::in_store(
            Arc::clone(&self.store),
            run.id.clone(),
            Some(lease.fence().clone()),
            &entries,
            self.faults.clone(),
        );
        let cx = Context::builder()
            .environment(&self.environment)
            .listeners(self.listeners.clone())
            .store(Arc::clone(&self.store))
            .masker(self.masker.clone())
            .secrets(Arc::clone(&self.secrets))
            .journal(run.id.clone(), journal)
            .cancel(cancel.clone())
            .build();
        let work = Work::new(self, definition, run, entries, cx.clone());
        let mut scheduler = work.scheduler();
        cx.emit(EventKind::RunStarted {
            pipeline: work.pipeline().name.clone(),
            environment: self.environment.clone(),
            resumed,
            graph: graph(work.pipeline()),
            uses: uses(work.pipeline()),
        });
        if !self.secrets.is_empty() {
            let names = self.secrets.keys().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            cx.warn(format!("secrets given in code ({names}) are stored nowhere: only a program that gives them can continue this run"));
        }
        work.recount(&scheduler);
        let state = Arc::clone(&self.executor).execute(Arc::clone(&work), &mut scheduler).await;
        let state = match state {
            Ok(state) => state,
            Err(_) if cancel.is_cancelled() && !self.cancel.is_cancelled() => {
                return Err(crate::lost_lease(lease.fence()));
            }
            Err(e) => return Err(e),
        };
        work.finish(state).await?;
        let seconds = from.elapsed().as_secs_f64();
        cx.emit(EventKind::RunFinished { state, seconds });
        Ok(work.report(&scheduler, state, resumed, seconds))
    }
}

fn graph(pipeline: &Pipeline) -> Vec<(String, Vec<String>)> {
    let name = |i: &usize| pipeline.steps.get(*i).map(|s| s.name.clone());
    let needs = pipeline.needs();
    pipeline.steps.iter().zip(needs).map(|(s, n)| (s.name.clone(), n.iter().filter_map(name).collect())).collect()
}

fn uses(pipeline: &Pipeline) -> BTreeMap<String, String> {
    let named = |s: &Step| (s.name.clone(), format!("{} {}", s.uses.verb.as_str(), s.uses.provider));
    pipeline.steps.iter().map(named).collect()
}

/// Says whether a command starts something, for executors that limit how much runs at once.
impl Command {
    /// The step that it is about.
    pub fn step(&self) -> Option<usize> {
        match self {
            Self::Start { step, .. } | Self::Ask { step } | Self::Refuse { step, .. } | Self::Skip { step } => {
                Some(*step)
            }
            Self::RollBack { deploy, .. } => Some(*deploy),
            Self::Finish { .. } => None,
        }
    }
}
