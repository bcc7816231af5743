use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::pipeline::{OnFailure, Pipeline, Reference};
use crate::{Entry, Record, RunState, StepState};

/// What an [`Executor`](super::Executor) has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run a step's attempt, after a pause.
    Start {
        /// The step, by its index in the pipeline.
        step: usize,
        /// From 1. An attempt that a crash interrupted keeps its number.
        attempt: u32,
        /// Pause before it, in seconds.
        wait_s: f64,
        /// A crash interrupted this attempt: look for what survived it.
        interrupted: bool,
    },
    /// Wait until somebody has answered the step's question.
    Ask {
        /// The step.
        step: usize,
    },
    /// Record that a step failed, since its question was answered with no.
    Refuse {
        /// The step.
        step: usize,
        /// Who said so.
        by: String,
    },
    /// Record that a step is not needed.
    Skip {
        /// The step.
        step: usize,
    },
    /// Roll a finished deploy step back.
    RollBack {
        /// The step that failed.
        failed: usize,
        /// The deploy step.
        deploy: usize,
    },
    /// Record that the run is over. Always the last one.
    Finish {
        /// How.
        state: RunState,
    },
}

/// Decides what runs when: a pure function of pipeline and journal, without clock, randomness or I/O.
///
/// Feed it every record with [`apply`](Self::apply); [`commands`](Self::commands) gives what follows from the records so
/// far, each command once. The cost of a record does not grow with the pipeline.
#[derive(Debug)]
pub struct Scheduler {
    pipeline: Arc<Pipeline>,
    index: HashMap<String, usize>,
    /// For each step, the steps that need it, and whether by an output.
    followers: Vec<Vec<(usize, bool)>>,
    missing: Vec<usize>,
    phase: Vec<Phase>,
    attempts: Vec<u32>,
    approvals: HashMap<usize, (bool, String)>,
    ready: VecDeque<usize>,
    restart: VecDeque<(usize, u32, f64, bool)>,
    doomed: VecDeque<usize>,
    running: usize,
    open: usize,
    stop: Stop,
    finished: Option<RunState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Asked,
    Running,
    Ended(StepState),
}

/// Why nothing new starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// Some step failed; the worst state of them.
    Failed(StepState),
    /// A deploy step is to be rolled back first.
    RollBack {
        failed: usize,
        deploy: usize,
    },
    RollingBack,
}

/// Gives the commands that follow from a journal: [`Scheduler`] in one call.
pub fn commands(pipeline: &Pipeline, journal: &[Entry]) -> Vec<Command> {
    Scheduler::replay(Arc::new(pipeline.clone()), journal).commands()
}

impl Scheduler {
    /// Starts from an empty journal.
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        let count = pipeline.steps.len();
        let index: HashMap<String, usize> =
            pipeline.steps.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
        let mut followers: Vec<Vec<(usize, bool)>> = vec![Vec::new(); count];
        let mut missing = vec![0; count];
        for (i, step) in pipeline.steps.iter().enumerate() {
            let mut needs: BTreeMap<usize, bool> = BTreeMap::new();
            for (_, reference) in step.inputs.values().flat_map(|input| input.references()) {
                if let Reference::Output { step, .. } = reference
                    && let Some(n) = index.get(&step)
                {
                    needs.insert(*n, true);
                }
            }
            for n in step.options.after.iter().filter_map(|name| index.get(name)) {
                needs.entry(*n).or_insert(false);
            }
            if let Some(m) = missing.get_mut(i) {
                *m = needs.len();
            }
            for (needed, by_output) in needs {
                if let Some(f) = followers.get_mut(needed) {
                    f.push((i, by_output));
                }
            }
        }
        let ready = (0..count).filter(|i| missing.get(*i) == Some(&0)).collect();
        Self {
            index,
            followers,
            missing,
            phase: vec![Phase::Waiting; count],
            attempts: vec![0; count],
            approvals: HashMap::new(),
            ready,
            restart: VecDeque::new(),
            doomed: VecDeque::new(),
            running: 0,
            open: count,
            stop: Stop::No,
            finished: None,
            pipeline,
        }
    }

    /// Continues from a journal: attempts that it leaves open start again under their number.
    pub fn replay(pipeline: Arc<Pipeline>, journal: &[Entry]) -> Self {
        let mut this = Self::new(pipeline);
        for entry in journal {
            this.apply(&entry.record);
        }
        this.finished = None;
        for step in 0..this.phase.len() {
            if this.phase_of(step) == Phase::Running && !this.restart.iter().any(|(s, ..)| *s == step) {
                this.restart.push_back((step, this.attempts(step), 0.0, true));
            }
        }
        if this.stop == Stop::RollingBack {
            // The rollback itself was interrupted; its own effects say how far it came.
            this.restore_rollback();
        }
        this
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// How a step ended, if it has.
    pub fn state(&self, step: usize) -> Option<StepState> {
        match self.phase_of(step) {
            Phase::Ended(state) => Some(state),
            _ => None,
        }
    }

    /// Whether a step's attempt is under way.
    pub fn is_running(&self, step: usize) -> bool {
        self.phase_of(step) == Phase::Running
    }

    /// How often a step was tried.
    pub fn attempts(&self, step: usize) -> u32 {
        self.attempts.get(step).copied().unwrap_or_default()
    }

    fn phase_of(&self, step: usize) -> Phase {
        self.phase.get(step).copied().unwrap_or(Phase::Waiting)
    }

    fn set(&mut self, step: usize, phase: Phase) {
        if let Some(p) = self.phase.get_mut(step) {
            let was = std::mem::replace(p, phase);
            if was == Phase::Running {
                self.running -= 1;
            }
            if phase == Phase::Running {
                self.running += 1;
            }
            let ended = |p: Phase| matches!(p, Phase::Ended(_));
            match (ended(was), ended(phase)) {
                (false, true) => self.open -= 1,
                (true, false) => self.open += 1,
                _ => {}
            }
        }
    }

    /// Takes one record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::StepStarted { step, attempt } => {
                let Some(i) = self.index.get(step).copied() else { return };
                self.ready.retain(|r| *r != i);
                self.restart.retain(|(s, ..)| *s != i);
                if let Some(a) = self.attempts.get_mut(i) {
                    *a = *attempt;
                }
                self.set(i, Phase::Running);
            }
            Record::StepFailed { step, attempt, again, .. } => {
                let Some(i) = self.index.get(step).copied() else { return };
                if *again {
                    let policy = self.pipeline.steps.get(i).and_then(|s| s.options.retry.clone()).unwrap_or_default();
                    self.set(i, Phase::Waiting);
                    self.restart.push_back((i, attempt + 1, policy.wait_after(*attempt), false));
                }
            }
            Record::StepFinished { step, state, .. } => {
                let Some(i) = self.index.get(step).copied() else { return };
                self.ended(i, *state);
            }
            Record::Approval { step, granted, by } => {
                let Some(i) = self.index.get(step).copied() else { return };
                self.approvals.insert(i, (*granted, by.clone()));
                if self.phase_of(i) == Phase::Asked {
                    self.set(i, Phase::Waiting);
                    self.ready.push_back(i);
                }
            }
            Record::StepReset { step, .. } => {
                let Some(i) = self.index.get(step).copied() else { return };
                self.reset(i);
            }
            Record::RunFinished { state } => self.finished = Some(*state),
            Record::EffectIntent { .. }
            | Record::EffectNote { .. }
            | Record::EffectDone { .. }
            | Record::EffectFailed { .. } => {}
        }
    }

    fn on_failure(&self, step: usize) -> OnFailure {
        self.pipeline.steps.get(step).map(|s| s.options.on_failure.clone()).unwrap_or_default()
    }

    fn ended(&mut self, step: usize, state: StepState) {
        self.ready.retain(|r| *r != step);
        self.restart.retain(|(s, ..)| *s != step);
        if let Phase::Ended(before) = self.phase_of(step) {
            if before != state {
                // A finished deploy step that was rolled back, or could not be: it ends the run.
                self.set(step, Phase::Ended(state));
                self.stop = Stop::Failed(state);
            }
            return;
        }
        self.set(step, Phase::Ended(state));
        let Some(has_outputs) = self.lets_pass(step, state) else {
            self.failed(step, state);
            return;
        };
        let followers = self.followers.get(step).cloned().unwrap_or_default();
        for (follower, by_output) in followers {
            if by_output && !has_outputs {
                self.doomed.push_back(follower);
            } else if let Some(m) = self.missing.get_mut(follower) {
                *m = m.saturating_sub(1);
                if *m == 0 && self.phase_of(follower) == Phase::Waiting {
                    self.ready.push_back(follower);
                }
            }
        }
    }

    /// Whether the run goes on after a step that ended so, and if it does, whether the step has outputs.
    fn lets_pass(&self, step: usize, state: StepState) -> Option<bool> {
        let goes_on = self.on_failure(step) == OnFailure::Continue;
        match state {
            StepState::Done | StepState::Unchanged => Some(true),
            StepState::RolledBack => goes_on.then_some(true),
            StepState::Ignored | StepState::Skipped => Some(false),
            StepState::Failed => goes_on.then_some(false),
        }
    }

    fn failed(&mut self, step: usize, state: StepState) {
        let deploy = match self.on_failure(step) {
            OnFailure::Rollback(name) => self.index.get(&name).copied(),
            _ => None,
        };
        // Only what was deployed can be rolled back.
        let deployed =
            deploy.filter(|d| matches!(self.phase_of(*d), Phase::Ended(StepState::Done | StepState::Unchanged)));
        self.stop = match (self.stop, deployed) {
            (Stop::No | Stop::Failed(_), Some(deploy)) => Stop::RollBack { failed: step, deploy },
            (Stop::No | Stop::Failed(StepState::RolledBack), None) => Stop::Failed(state),
            (other, _) => other,
        };
    }

    /// Makes a step start again.
    fn reset(&mut self, step: usize) {
        self.set(step, Phase::Waiting);
        self.stop = Stop::No;
        self.approvals.remove(&step);
        if let Some(a) = self.attempts.get_mut(step) {
            *a = 0;
        }
        self.recount();
    }

    /// Works out anew what waits for what. Rare, so it may cost as much as the whole pipeline.
    fn recount(&mut self) {
        let count = self.phase.len();
        self.missing = vec![0; count];
        let mut doomed = Vec::new();
        for (needed, followers) in self.followers.iter().enumerate() {
            let passes = match self.phase_of(needed) {
                Phase::Ended(state) => self.lets_pass(needed, state),
                _ => None,
            };
            for (follower, by_output) in followers {
                match passes {
                    Some(false) if *by_output => doomed.push(*follower),
                    Some(_) => {}
                    None => {
                        if let Some(m) = self.missing.get_mut(*follower) {
                            *m += 1;
                        }
                    }
                }
            }
        }
        self.restart.retain(|(s, ..)| self.phase.get(*s) == Some(&Phase::Running));
        self.doomed = doomed.into();
        self.ready =
            (0..count).filter(|i| self.phase_of(*i) == Phase::Waiting && self.missing.get(*i) == Some(&0)).collect();
    }

    fn restore_rollback(&mut self) {
        let failed = (0..self.phase.len()).find_map(|i| match (self.phase_of(i), self.on_failure(i)) {
            (Phase::Ended(StepState::Failed | StepState::RolledBack), OnFailure::Rollback(name)) => {
                self.index.get(&name).map(|deploy| (i, *deploy))
            }
            _ => None,
        });
        if let Some((failed, deploy)) = failed {
            self.stop = Stop::RollBack { failed, deploy };
        }
    }

    /// Gives the commands that follow from the records so far, each once.
    pub fn commands(&mut self) -> Vec<Command> {
        let mut out = Vec::new();
        if self.finished.is_some() {
            return out;
        }
        while let Some(step) = self.doomed.pop_front() {
            if self.phase_of(step) == Phase::Waiting {
                out.push(Command::Skip { step });
                self.ended(step, StepState::Skipped);
            }
        }
        if self.stop == Stop::No {
            while let Some((step, attempt, wait_s, interrupted)) = self.restart.pop_front() {
                out.push(Command::Start { step, attempt, wait_s, interrupted });
                self.set(step, Phase::Running);
            }
            while let Some(step) = self.ready.pop_front() {
                let asks = self.pipeline.steps.get(step).is_some_and(|s| s.options.approval.is_some());
                match self.approvals.get(&step) {
                    Some((false, by)) => out.push(Command::Refuse { step, by: by.clone() }),
                    None if asks => {
                        out.push(Command::Ask { step });
                        self.set(step, Phase::Asked);
                    }
                    _ => {
                        let attempt = self.attempts(step) + 1;
                        out.push(Command::Start { step, attempt, wait_s: 0.0, interrupted: false });
                        self.set(step, Phase::Running);
                    }
                }
            }
        } else {
            // What a crash interrupted is brought to an end; nothing else starts.
            while let Some((step, attempt, wait_s, interrupted)) = self.restart.pop_front() {
                if interrupted {
                    out.push(Command::Start { step, attempt, wait_s, interrupted });
                    self.set(step, Phase::Running);
                } else {
                    self.doomed_by_stop(step, &mut out);
                }
            }
        }
        if self.running > 0 || !out.is_empty() && self.stop == Stop::No {
            return out;
        }
        match self.stop {
            Stop::No if self.open == 0 => out.push(Command::Finish { state: RunState::Done }),
            Stop::No | Stop::RollingBack => {}
            Stop::RollBack { failed, deploy } => {
                out.push(Command::RollBack { failed, deploy });
                self.stop = Stop::RollingBack;
            }
            Stop::Failed(state) => {
                for step in 0..self.phase.len() {
                    self.doomed_by_stop(step, &mut out);
                }
                let state = if state == StepState::RolledBack { RunState::RolledBack } else { RunState::Failed };
                out.push(Command::Finish { state });
            }
        }
        out
    }

    fn doomed_by_stop(&mut self, step: usize, out: &mut Vec<Command>) {
        if matches!(self.phase_of(step), Phase::Waiting | Phase::Asked) {
            out.push(Command::Skip { step });
            self.set(step, Phase::Ended(StepState::Skipped));
        }
    }
}
