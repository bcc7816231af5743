use crate::pipeline::engine::{Definition, Engine, RunReport, Scheduler};
use crate::pipeline::{Values, nearest};
use crate::{Entry, Error, ErrorKind, Record, Result, RunFilter, RunId, RunInfo, RunState, StepState, Timestamp};

/// How a run is resumed.
#[derive(Debug, Clone, Default)]
pub struct ResumeOptions {
    /// Other values of the pipeline's parameters. Steps that start again then do all their effects again.
    pub values: Values,
    /// Steps to run again though they are finished, and with them the steps that need them; or a step whose opaque effect was
    /// interrupted.
    pub rerun: Vec<String>,
}

impl Engine {
    /// Continues a run where it failed, was cancelled or crashed; the newest of this environment if none is named. Finished
    /// steps stay finished.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): no such run. [`InvalidInput`](ErrorKind::InvalidInput): it is done, or the options
    /// name what it does not have. Else as [`run`](Self::run).
    pub async fn resume(&self, run: Option<&RunId>, options: ResumeOptions) -> Result<RunReport> {
        let found = match run {
            Some(id) => Some(self.find(id).await?),
            None => {
                let filter = RunFilter { environment: Some(self.environment.clone()), ..RunFilter::default() };
                self.store.runs(&filter, 1).await?.pop()
            }
        };
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "core", "resume", "the environment has no run")
                .with("environment", &self.environment)
        })?;
        let (lease, cancel) = self.take_environment(&found.pipeline).await?;
        let result = async {
            // It may have gone on while somebody else held the environment.
            let (definition, run) = self.reset(self.find(&found.id).await?, &options).await?;
            self.drive(definition, run, true, &lease, cancel).await
        }
        .await;
        let freed = lease.give_back().await;
        let report = result?;
        freed.map(|()| report)
    }

    async fn reset(&self, mut run: RunInfo, options: &ResumeOptions) -> Result<(Definition, RunInfo)> {
        let mut definition = Definition::of(&run)?;
        definition.pipeline = definition.pipeline.with_values(&options.values)?;
        definition.pipeline.check(&self.registry)?;
        if run.state == RunState::Done && options.rerun.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "core",
                "resume",
                "the run is done; run the pipeline again",
            )
            .with("run", &run.id));
        }
        let journal: Vec<Entry> = self.store.journal(&run.id).await?;
        let pipeline = std::sync::Arc::new(definition.pipeline.clone());
        let before = Scheduler::replay(std::sync::Arc::clone(&pipeline), &journal);
        let mut again = vec![false; pipeline.steps.len()];
        for name in &options.rerun {
            let index = pipeline.steps.iter().position(|s| s.name == *name).ok_or_else(|| {
                let hint = nearest(name, pipeline.steps.iter().map(|s| s.name.as_str()))
                    .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                Error::new(
                    ErrorKind::InvalidInput,
                    "core",
                    "resume",
                    format!("the run has no step `{name}` to run again{hint}"),
                )
            })?;
            if let Some(a) = again.get_mut(index) {
                *a = true;
            }
        }
        let needs = pipeline.needs();
        // The order of steps says nothing, so this goes on until nothing new is found.
        loop {
            let more: Vec<usize> = (0..again.len())
                .filter(|i| again.get(*i) == Some(&false))
                .filter(|i| needs.get(*i).is_some_and(|n| n.iter().any(|d| again.get(*d) == Some(&true))))
                .collect();
            if more.is_empty() {
                break;
            }
            for i in more {
                if let Some(a) = again.get_mut(i) {
                    *a = true;
                }
            }
        }
        let mut records = Vec::new();
        for (i, step) in pipeline.steps.iter().enumerate() {
            let asked = again.get(i) == Some(&true);
            let well = matches!(before.state(i), Some(StepState::Done | StepState::Unchanged));
            let ended_badly = before.state(i).is_some() && !well;
            let interrupted = before.state(i).is_none() && before.attempts(i) > 0;
            if asked || ended_badly || (interrupted && run.state != RunState::Unfinished) {
                let forget_done = (asked && well) || !options.values.is_empty();
                records.push(Record::StepReset { step: step.name.clone(), forget_done });
            }
        }
        self.store.append(&run.id, None, &records).await?;
        run.state = RunState::Unfinished;
        run.finished_at = None;
        run.started_at = run.started_at.max(Timestamp(1));
        run.definition = serde_json::to_value(&definition).unwrap_or_default();
        self.store.update_run(&run).await?;
        Ok((definition, run))
    }
}
