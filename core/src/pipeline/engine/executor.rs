use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::pipeline::engine::{Command, Scheduler, StepEnd, Work};
use crate::{Error, ErrorKind, EventKind, Record, Result, RunState};

/// Carries the scheduler's commands out and appends to the journal.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync {
    /// Drives a run until nothing is left to do, and says how it ended. Returns when nothing of it runs any more.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage), [`Conflict`](ErrorKind::Conflict), [`Interrupted`](ErrorKind::Interrupted): the run
    /// can't go on now; its journal says how far it came.
    async fn execute(&self, work: Arc<Work>, scheduler: &mut Scheduler) -> Result<RunState>;
}

/// The embedded executor: steps are tasks of the tokio runtime that it is called on.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// Most steps that run at once. 256 by default.
    pub parallel: usize,
}

impl Default for Embedded {
    fn default() -> Self {
        Self { parallel: 256 }
    }
}

enum Ended {
    /// With the start of an attempt that paused first: the journal has it already, the scheduler has not.
    Step(Option<Record>, StepEnd),
    Answer(Result<Record>),
}

/// What is started, and what waits for its turn.
#[derive(Default)]
struct Hands {
    tasks: JoinSet<Ended>,
    asks: JoinSet<Ended>,
    waiting: VecDeque<(usize, u32, f64, bool)>,
}

#[async_trait]
impl Executor for Embedded {
    async fn execute(&self, work: Arc<Work>, scheduler: &mut Scheduler) -> Result<RunState> {
        let mut hands = Hands::default();
        let mut carried: Vec<Record> = Vec::new();
        let mut fatal: Option<Error> = None;
        loop {
            let mut records = std::mem::take(&mut carried);
            let mut finish = None;
            let stopped = fatal.is_some() || work.context().is_cancelled();
            if !stopped {
                finish = obey(&work, scheduler, &mut hands, &mut records);
            }
            let mut starts = Vec::new();
            while !stopped && hands.tasks.len() + starts.len() < self.parallel.max(1) {
                let Some(start) = hands.waiting.pop_front() else { break };
                let (index, attempt, wait_s, interrupted) = start;
                // An interrupted attempt has its record already, one that pauses first gets it after the pause.
                if wait_s <= 0.0
                    && !interrupted
                    && let Some(record) = started(&work, index, attempt)
                {
                    scheduler.apply(&record);
                    records.push(record);
                }
                starts.push(start);
            }
            // One append for everything that is known by now: one sync to disk.
            if let Err(e) = work.append(scheduler, records).await {
                fatal.get_or_insert(e);
                starts.clear();
            }
            if let (None, Some(state)) = (&fatal, finish) {
                hands.asks.shutdown().await;
                return Ok(state);
            }
            for start in starts {
                hands.start(&work, start);
            }
            if let Some(error) = fatal.take_if(|_| hands.tasks.is_empty()) {
                hands.asks.shutdown().await;
                return Err(error);
            }
            if hands.tasks.is_empty() && work.context().is_cancelled() {
                hands.asks.shutdown().await;
                return Ok(RunState::Cancelled);
            }
            for ended in hands.next(&work).await? {
                match ended {
                    Ended::Step(start, end) => {
                        for record in start.iter().chain(&end.records) {
                            scheduler.apply(record);
                        }
                        carried.extend(end.records);
                        if let Some(error) = end.fatal {
                            fatal.get_or_insert(error);
                        }
                    }
                    Ended::Answer(Ok(answer)) => scheduler.apply(&answer),
                    Ended::Answer(Err(e)) if e.kind() == ErrorKind::Cancelled => {}
                    Ended::Answer(Err(e)) => {
                        fatal.get_or_insert(e);
                    }
                }
            }
        }
    }
}

/// Turns commands into records and starts, until no more follow from them.
fn obey(work: &Arc<Work>, scheduler: &mut Scheduler, hands: &mut Hands, records: &mut Vec<Record>) -> Option<RunState> {
    loop {
        let commands = scheduler.commands();
        if commands.is_empty() {
            return None;
        }
        for command in commands {
            match command {
                Command::Start { step, attempt, wait_s, interrupted } => {
                    hands.waiting.push_back((step, attempt, wait_s, interrupted));
                }
                Command::Ask { step } => {
                    let work = Arc::clone(work);
                    hands.asks.spawn(async move { Ended::Answer(work.ask(step).await) });
                }
                Command::Refuse { step, by } => {
                    let refused = work.refuse(step, &by);
                    refused.iter().for_each(|r| scheduler.apply(r));
                    records.extend(refused);
                }
                // The scheduler counts it as skipped already.
                Command::Skip { step } => records.extend(skipped(work, step)),
                Command::RollBack { failed, deploy } => {
                    let work = Arc::clone(work);
                    hands.tasks.spawn(async move { Ended::Step(None, work.roll_back(failed, deploy).await) });
                }
                Command::Finish { state } => return Some(state),
            }
        }
    }
}

fn started(work: &Work, index: usize, attempt: u32) -> Option<Record> {
    let step = work.pipeline().steps.get(index)?.name.clone();
    Some(Record::StepStarted { step, attempt })
}

fn skipped(work: &Work, index: usize) -> Option<Record> {
    let step = work.pipeline().steps.get(index)?.name.clone();
    Some(Record::StepFinished { step, state: crate::StepState::Skipped, outputs: Default::default() })
}

impl Hands {
    fn start(&mut self, work: &Arc<Work>, (index, attempt, wait_s, interrupted): (usize, u32, f64, bool)) {
        let work = Arc::clone(work);
        self.tasks.spawn(async move {
            let none = |fatal| Ended::Step(None, StepEnd { step: index, records: Vec::new(), fatal });
            let mut start = None;
            if wait_s > 0.0 {
                let pause = Duration::try_from_secs_f64(wait_s).unwrap_or_default();
                if work.context().sleep("core", "retry", pause).await.is_err() {
                    return none(None);
                }
                start = started(&work, index, attempt);
                if let Err(e) = work.context().journal().append(start.iter().cloned().collect()).await {
                    return none(Some(e));
                }
            }
            if (wait_s > 0.0 || interrupted)
                && let Some(step) = work.pipeline().steps.get(index)
            {
                // The listeners hear of every other start when its record is appended.
                work.context().for_step(&step.name).emit(EventKind::StepStarted { attempt });
            }
            let end = work.perform(index, attempt, interrupted).await;
            Ended::Step(start.filter(|_| !end.records.is_empty()), end)
        });
    }

    /// Waits for something to end, and gives everything that has ended by then.
    async fn next(&mut self, work: &Work) -> Result<Vec<Ended>> {
        let cancelled = work.context().is_cancelled();
        let first = tokio::select! {
            Some(ended) = self.tasks.join_next() => Some(ended),
            Some(ended) = self.asks.join_next() => Some(ended),
            () = work.context().cancelled(), if !cancelled => None,
            else => None,
        };
        let mut all = Vec::new();
        let rest = std::iter::from_fn(|| self.tasks.try_join_next());
        for ended in first.into_iter().chain(rest) {
            all.push(ended.map_err(|e| {
                Error::new(ErrorKind::Internal, "core", "run", "a step panicked; the run can be continued").caused_by(e)
            })?);
        }
        Ok(all)
    }
}
