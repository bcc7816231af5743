//! What a page shows, learnt event by event, and bounded whatever a run does.

use std::collections::{BTreeMap, HashMap, VecDeque};

use towpath_core::{
    Change, ErrorRecord, Event, EventKind, Json, Observation, Plan, RunId, RunState, StepState, TaskStatus, Timestamp,
};

use super::html::cut;

/// Most lines that a step keeps: its newest.
const LINES: usize = 500;
const LINE_CHARS: usize = 1_000;
/// All lines together. A run that says more keeps fewer of each step.
const LOG_BYTES: usize = 4 << 20;
/// Results of one task on one host that are kept one by one; all are counted.
const CELLS: usize = 50_000;
const FAILED_TASKS: usize = 100;
const CHANGES: usize = 500;
const WARNINGS: usize = 100;
const ATTEMPTS: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) pipeline: String,
    pub(super) environment: String,
    pub(super) run: Option<RunId>,
    pub(super) started: Option<Timestamp>,
    pub(super) last: Timestamp,
    /// Milliseconds between the processes of a run that was interrupted: no part of the time line.
    gaps: u64,
    /// Where on the time line a later process went on, in milliseconds.
    pub(super) seams: Vec<u64>,
    pub(super) state: Option<RunState>,
    /// Why the run stopped without an end: the store is full, a lease was lost.
    pub(super) stopped: Option<ErrorRecord>,
    pub(super) steps: Vec<StepModel>,
    index: HashMap<String, usize>,
    /// What belongs to no step.
    pub(super) log: Log,
    log_bytes: usize,
    line_cap: usize,
    cells: usize,
    pub(super) hosts: BTreeMap<String, HostModel>,
    pub(super) failed_tasks: Vec<FailedTask>,
    pub(super) failed_tasks_left_out: usize,
    pub(super) plan: Option<Plan>,
    pub(super) changes: Vec<(Change, bool)>,
    pub(super) changes_left_out: usize,
    pub(super) warnings: Vec<(Option<String>, String)>,
    pub(super) warnings_left_out: usize,
}

#[derive(Debug, Default)]
pub(super) struct StepModel {
    pub(super) name: String,
    /// Its verb and provider: `configure playbook`.
    pub(super) uses: String,
    pub(super) needs: Vec<usize>,
    pub(super) state: Option<StepState>,
    /// An earlier process, of which this page saw nothing, had finished it.
    pub(super) earlier: bool,
    pub(super) attempts: Vec<Attempt>,
    /// Attempts in all, those included that are not kept.
    pub(super) tries: u32,
    pub(super) error: Option<ErrorRecord>,
    pub(super) log: Log,
    pub(super) tasks: Vec<TaskModel>,
    pub(super) results_left_out: usize,
    /// What it asks, and the service whose rollout does.
    pub(super) asks: Option<(String, Option<String>)>,
    /// The newest progress that has a number.
    pub(super) progress: Option<(String, u64, u64)>,
}

/// One attempt, in milliseconds of the time line.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) from: u64,
    pub(super) to: Option<u64>,
    pub(super) outcome: Outcome,
    pub(super) error: Option<ErrorRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Running,
    Over(StepState),
    /// It failed, and another one followed.
    Retried,
    /// Its process died, or was cancelled.
    Interrupted,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lines: VecDeque<Line>,
    pub(super) left_out: usize,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) host: Option<String>,
    pub(super) kind: &'static str,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct TaskModel {
    pub(super) name: String,
    pub(super) file: Option<String>,
    pub(super) results: BTreeMap<String, (TaskStatus, f64)>,
}

#[derive(Debug)]
pub(super) struct FailedTask {
    pub(super) step: Option<usize>,
    pub(super) host: String,
    pub(super) task: String,
    pub(super) file: Option<String>,
    pub(super) status: TaskStatus,
    /// What it returned the last time.
    pub(super) result: Json,
    pub(super) times: usize,
}

#[derive(Debug, Default)]
pub(super) struct HostModel {
    /// By [`TaskStatus`], in the order of [`STATUSES`].
    pub(super) counts: [usize; 6],
    pub(super) seconds: f64,
    /// The newest phase of a rollout in which a version ran here, and the version.
    pub(super) rollout: Option<(String, String)>,
}

pub(super) const STATUSES: [(TaskStatus, &str); 6] = [
    (TaskStatus::Ok, "ok"),
    (TaskStatus::Changed, "changed"),
    (TaskStatus::Skipped, "skipped"),
    (TaskStatus::Failed, "failed"),
    (TaskStatus::Ignored, "ignored"),
    (TaskStatus::Unreachable, "unreachable"),
];

pub(super) fn status_name(status: TaskStatus) -> &'static str {
    STATUSES.iter().find(|(s, _)| *s == status).map_or("", |(_, n)| n)
}

impl Log {
    fn trim(&mut self, cap: usize) -> usize {
        let before = self.bytes;
        while self.lines.len() > cap {
            if let Some(line) = self.lines.pop_front() {
                self.bytes -= line.text.len();
            }
            self.left_out += 1;
        }
        before - self.bytes
    }
}

impl StepModel {
    fn open(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut().filter(|a| a.to.is_none())
    }

    pub(super) fn running(&self) -> bool {
        self.attempts.last().is_some_and(|a| a.to.is_none())
    }

    /// Seconds of all its attempts; an attempt under way counts up to `now`.
    pub(super) fn seconds(&self, now: u64) -> f64 {
        let ms: u64 = self.attempts.iter().map(|a| a.to.unwrap_or(now).saturating_sub(a.from)).sum();
        std::time::Duration::from_millis(ms).as_secs_f64()
    }

    pub(super) fn failed(&self) -> bool {
        matches!(self.state, Some(StepState::Failed | StepState::RolledBack | StepState::Ignored))
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self { line_cap: LINES, ..Self::default() }
    }

    /// A moment on the time line, in milliseconds.
    fn time(&self, at: Timestamp) -> u64 {
        self.started.map_or(0, |s| at.0.saturating_sub(s.0).saturating_sub(self.gaps))
    }

    /// The newest moment that is known, on the time line.
    pub(super) fn now(&self) -> u64 {
        self.time(self.last)
    }

    pub(super) fn learn(&mut self, event: &Event) {
        if event.run.is_some() && self.run.is_none() {
            self.run.clone_from(&event.run);
        }
        if let EventKind::RunStarted { pipeline, environment, graph, uses, .. } = &event.kind {
            self.start(event.at, pipeline, environment, graph, uses);
        }
        self.started.get_or_insert(event.at);
        self.last = self.last.max(event.at);
        let at = self.time(event.at);
        let step = event.step.as_deref().map(|name| self.step(name));
        match &event.kind {
            EventKind::RunStarted { .. } => {}
            EventKind::RunFinished { state, .. } => self.end(*state),
            EventKind::Change { change, made } => {
                if self.changes.len() < CHANGES {
                    self.changes.push((change.clone(), *made));
                } else {
                    self.changes_left_out += 1;
                }
            }
            // The result of the whole task follows.
            EventKind::TaskResult { item: Some(_), .. } => {}
            EventKind::TaskResult { task, file, status, result, seconds, .. } => {
                self.task(step, event, (task, file.as_ref(), *status), result, *seconds);
            }
            kind => {
                if let Some(step) = step.and_then(|i| self.steps.get_mut(i)) {
                    step.learn(kind, at);
                }
                if let EventKind::Warning { message } = kind {
                    let warning = (event.step.clone(), cut(message, LINE_CHARS));
                    if self.warnings.contains(&warning) {
                    } else if self.warnings.len() < WARNINGS {
                        self.warnings.push(warning);
                    } else {
                        self.warnings_left_out += 1;
                    }
                }
                // What is staged or about to be drained does not run yet.
                if let (EventKind::Rollout { phase, version, .. }, Some(host)) = (kind, &event.host)
                    && !matches!(phase.as_str(), "stage" | "drain")
                {
                    self.hosts.entry(host.clone()).or_default().rollout = Some((phase.clone(), version.clone()));
                }
            }
        }
        if let Some((kind, text)) = said(&event.kind) {
            let text = cut(&text, LINE_CHARS);
            self.say(step, Line { at, host: event.host.clone(), kind, text });
        }
    }

    fn start(
        &mut self,
        at: Timestamp,
        pipeline: &str,
        environment: &str,
        graph: &[(String, Vec<String>)],
        uses: &BTreeMap<String, String>,
    ) {
        if self.pipeline.is_empty() {
            self.started = Some(self.started.unwrap_or(at));
        } else {
            let now = self.now();
            for step in &mut self.steps {
                if let Some(open) = step.open() {
                    (open.to, open.outcome) = (Some(now), Outcome::Interrupted);
                }
            }
            self.gaps += at.0.saturating_sub(self.last.0);
            self.seams.push(now);
            self.state = None;
            self.stopped = None;
        }
        pipeline.clone_into(&mut self.pipeline);
        environment.clone_into(&mut self.environment);
        for (name, _) in graph {
            self.step(name);
        }
        for (name, needs) in graph {
            let needs: Vec<usize> = needs.iter().map(|n| self.step(n)).collect();
            let at = self.step(name);
            if let Some(step) = self.steps.get_mut(at) {
                step.needs = needs;
                step.uses = uses.get(name).cloned().unwrap_or_default();
            }
        }
    }

    fn end(&mut self, state: RunState) {
        self.state = Some(state);
        let now = self.now();
        for step in &mut self.steps {
            if let Some(open) = step.open() {
                (open.to, open.outcome) = (Some(now), Outcome::Interrupted);
            }
        }
    }

    /// Where a step stands; a step that no graph named is added.
    fn step(&mut self, name: &str) -> usize {
        if let Some(at) = self.index.get(name) {
            return *at;
        }
        self.steps.push(StepModel { name: name.to_owned(), ..StepModel::default() });
        self.index.insert(name.to_owned(), self.steps.len() - 1);
        self.steps.len() - 1
    }

    fn task(
        &mut self,
        step: Option<usize>,
        event: &Event,
        (task, file, status): (&str, Option<&String>, TaskStatus),
        result: &Json,
        seconds: f64,
    ) {
        let host = event.host.clone().unwrap_or_else(|| "localhost".to_owned());
        let about = self.hosts.entry(host.clone()).or_default();
        about.seconds += seconds;
        let at = STATUSES.iter().position(|(s, _)| *s == status);
        if let Some(count) = at.and_then(|i| about.counts.get_mut(i)) {
            *count += 1;
        }
        if matches!(status, TaskStatus::Failed | TaskStatus::Unreachable | TaskStatus::Ignored) {
            let same = |f: &&mut FailedTask| {
                f.step == step && f.host == host && f.task == task && f.file.as_ref() == file && f.status == status
            };
            if let Some(again) = self.failed_tasks.iter_mut().find(same) {
                again.times += 1;
                again.result.clone_from(result);
            } else if self.failed_tasks.len() < FAILED_TASKS {
                let (task, file, host, result) = (task.to_owned(), file.cloned(), host.clone(), result.clone());
                self.failed_tasks.push(FailedTask { step, host, task, file, status, result, times: 1 });
            } else {
                self.failed_tasks_left_out += 1;
            }
        }
        let Some(step) = step.and_then(|i| self.steps.get_mut(i)) else { return };
        if self.cells >= CELLS {
            step.results_left_out += 1;
            return;
        }
        self.cells += 1;
        let same = |t: &TaskModel| t.name == task && t.file.as_ref() == file;
        // Tasks come in their order on every host, so the one looked for is among the newest.
        let found = step.tasks.iter_mut().rev().find(|t| same(t));
        let result = (status, seconds);
        match found {
            Some(found) => {
                found.results.insert(host, result);
            }
            None => step.tasks.push(TaskModel {
                name: task.to_owned(),
                file: file.cloned(),
                results: BTreeMap::from([(host, result)]),
            }),
        }
    }

    fn say(&mut self, step: Option<usize>, line: Line) {
        let log = match step {
            Some(i) => match self.steps.get_mut(i) {
                Some(step) => &mut step.log,
                None => return,
            },
            None => &mut self.log,
        };
        log.bytes += line.text.len();
        self.log_bytes += line.text.len();
        log.lines.push_back(line);
        self.log_bytes -= log.trim(self.line_cap);
        if self.log_bytes > LOG_BYTES && self.line_cap > 1 {
            self.line_cap /= 2;
            let logs = self.steps.iter_mut().map(|s| &mut s.log).chain([&mut self.log]);
            let freed: usize = logs.map(|l| l.trim(self.line_cap)).sum();
            self.log_bytes -= freed;
        }
    }
}

impl StepModel {
    fn learn(&mut self, kind: &EventKind, at: u64) {
        match kind {
            EventKind::StepStarted { attempt } => {
                self.state = None;
                self.error = None;
                self.asks = None;
                self.earlier = false;
                self.tries = *attempt;
                if self.attempts.len() >= ATTEMPTS {
                    self.attempts.remove(1);
                }
                let (number, outcome) = (*attempt, Outcome::Running);
                self.attempts.push(Attempt { number, from: at, to: None, outcome, error: None });
            }
            EventKind::StepRetry { error, .. } => {
                if let Some(open) = self.open() {
                    (open.to, open.outcome, open.error) = (Some(at), Outcome::Retried, Some(error.clone()));
                }
            }
            EventKind::StepFinished { state, attempts, error, .. } => {
                self.asks = None;
                self.tries = *attempts;
                self.earlier = self.attempts.is_empty() && *attempts > 0;
                self.state = Some(*state);
                if let Some(open) = self.open() {
                    (open.to, open.outcome, open.error) = (Some(at), Outcome::Over(*state), error.clone());
                }
                self.error.clone_from(error);
            }
            EventKind::ApprovalNeeded { question, service } => self.asks = Some((question.clone(), service.clone())),
            EventKind::Progress { message, done: Some(done), total: Some(total) } => {
                self.progress = Some((cut(message, 200), *done, *total));
            }
            _ => {}
        }
    }
}

/// What an event says in a step's log.
fn said(kind: &EventKind) -> Option<(&'static str, String)> {
    Some(match kind {
        EventKind::StepStarted { attempt } if *attempt > 1 => ("note", format!("attempt {attempt} starts")),
        EventKind::StepRetry { attempt, wait_s, error } => {
            // Its whole context stands at the attempts.
            ("bad", format!("attempt {attempt} failed, again in {wait_s:.1} s: {}", error.message))
        }
        EventKind::Change { change, made: true } => ("note", format!("{}: {:?}", change.subject, change.action)),
        EventKind::TaskResult {
            item: None,
            task,
            status: status @ (TaskStatus::Failed | TaskStatus::Unreachable),
            ..
        } => ("bad", format!("{}: {task}", status_name(*status))),
        EventKind::Progress { message, done, total } => {
            let part = match (done, total) {
                (Some(d), Some(t)) => format!(" ({d} of {t})"),
                (Some(d), None) => format!(" ({d})"),
                _ => String::new(),
            };
            ("note", format!("{message}{part}"))
        }
        EventKind::Output { stream, line } if stream == "stderr" => ("err", line.clone()),
        EventKind::Output { line, .. } => ("out", line.clone()),
        EventKind::Rollout { phase, version, detail } => {
            let bad = matches!(phase.as_str(), "unhealthy" | "rollback" | "rolled_back" | "refused" | "failed");
            (if bad { "bad" } else { "note" }, format!("{phase} {version} {detail}").trim_end().to_owned())
        }
        EventKind::Observed { observation } => match observation {
            Observation::Metric(m) => ("note", format!("{} = {}", m.name, m.value)),
            Observation::Notice(n) => ("note", format!("{} {}", n.title, n.text).trim_end().to_owned()),
            Observation::Check(c) if c.passed => ("note", format!("check {}: passed {}", c.check, c.detail)),
            Observation::Check(c) => ("bad", format!("check {}: failed {}", c.check, c.detail)),
        },
        EventKind::Waiting { key, holder } => ("note", format!("waits for {key}, held by {holder}")),
        EventKind::ApprovalNeeded { question, .. } => ("note", format!("asks: {question}")),
        EventKind::Warning { message } => ("warn", message.clone()),
        _ => return None,
    })
}
