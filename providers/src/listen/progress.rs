use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use towpath_core::{Event, EventKind, Listener, RunState, StepState, TaskStatus};

/// Tells a person what happens, one line for each thing worth one. Plain text, so that a CI log can hold it.
pub struct Progress(Mutex<Box<dyn Write + Send>>);

impl Progress {
    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self::to(std::io::stderr())
    }

    /// Writes somewhere else.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(out)))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Listener for Progress {
    fn on_event(&self, event: &Event) {
        let Some(text) = line(event) else { return };
        let place = place(event);
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed terminal is no reason to stop a deployment.
        let _ = writeln!(out, "{}", clean(&format!("{place}{text}")));
    }
}

/// The step and host that an event is about.
pub(super) fn place(event: &Event) -> String {
    match (&event.step, &event.host) {
        (Some(step), Some(host)) => format!("{step} [{host}] "),
        (Some(step), None) => format!("{step} "),
        (None, Some(host)) => format!("[{host}] "),
        (None, None) => String::new(),
    }
}

/// Text of hosts must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

/// What an event says to a person; `None`: nothing.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match &event.kind {
        EventKind::RunStarted { pipeline, environment, resumed, .. } => {
            let how = if *resumed { "goes on with" } else { "runs" };
            format!("towpath {how} {pipeline} in {environment}")
        }
        EventKind::RunFinished { state, seconds } => {
            format!("{} after {seconds:.1} s", run_state(*state))
        }
        EventKind::StepStarted { attempt: 1 } => "starts".to_owned(),
        EventKind::StepStarted { attempt } => format!("starts, attempt {attempt}"),
        EventKind::StepFinished { state, seconds, error, .. } => {
            let why = error.as_ref().map_or_else(String::new, |e| format!(": {e}"));
            format!("{} ({seconds:.1} s){why}", step_state(*state))
        }
        EventKind::StepRetry { attempt, wait_s, error } => {
            format!("attempt {attempt} failed, again in {wait_s:.1} s: {error}")
        }
        EventKind::TaskResult { item: Some(_), .. } => return None,
        EventKind::TaskResult { task, status: TaskStatus::Changed, .. } => format!("changed: {task}"),
        EventKind::TaskResult { task, status: TaskStatus::Ignored, .. } => format!("failed, ignored: {task}"),
        EventKind::TaskResult { task, file, status: TaskStatus::Failed | TaskStatus::Unreachable, .. } => {
            format!("FAILED: {task} ({})", file.as_deref().unwrap_or("no file"))
        }
        EventKind::Rollout { phase, version, detail } => format!("{phase} {version} {detail}").trim_end().to_owned(),
        EventKind::Progress { message, .. } => message.clone(),
        EventKind::Waiting { key, holder } => format!("waits for {key}, held by {holder}"),
        EventKind::ApprovalNeeded { question, service: Some(service) } => {
            format!("asks: {question}  (answer: towpath rollout {service} approve, or refuse)")
        }
        EventKind::ApprovalNeeded { question, service: None } => {
            let run = event.run.as_ref().map(ToString::to_string).unwrap_or_default();
            let step = event.step.as_deref().unwrap_or_default();
            format!("asks: {question}  (answer: towpath approve {run} '{step}')")
        }
        EventKind::Warning { message } => format!("warning: {message}"),
        _ => return None,
    })
}

/// How a person calls the end of a run.
pub(crate) fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Done => "done",
        RunState::Failed => "FAILED",
        RunState::RolledBack => "ROLLED BACK",
        RunState::Cancelled => "cancelled",
        RunState::Unfinished => "unfinished",
    }
}

pub(crate) fn step_state(state: StepState) -> &'static str {
    match state {
        StepState::Done => "done",
        StepState::Unchanged => "unchanged",
        StepState::Ignored => "failed, ignored",
        StepState::Skipped => "skipped",
        StepState::Failed => "FAILED",
        StepState::RolledBack => "ROLLED BACK",
    }
}
