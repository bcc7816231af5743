use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Change, ErrorRecord, Json, Observation, RunId, RunState, StepState, Timestamp};

/// Something that happened in a run. Secrets are masked before any listener sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A run starts or goes on.
    RunStarted {
        /// The pipeline.
        pipeline: String,
        /// The environment.
        environment: String,
        /// Whether an interrupted run goes on.
        resumed: bool,
        /// Steps and the steps that each needs, for drawing.
        graph: Vec<(String, Vec<String>)>,
        /// What each step uses: `configure playbook`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        uses: BTreeMap<String, String>,
    },
    /// A run is over.
    RunFinished {
        /// How.
        state: RunState,
        /// Wall-clock seconds of this process's part.
        seconds: f64,
    },
    /// A step's attempt starts.
    StepStarted {
        /// From 1.
        attempt: u32,
    },
    /// A step is over, or was found finished by an earlier process of the same run.
    StepFinished {
        /// How.
        state: StepState,
        /// Seconds in this process; `0` if it was finished before.
        seconds: f64,
        /// Attempts so far.
        attempts: u32,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorRecord>,
    },
    /// An attempt failed and another one follows.
    StepRetry {
        /// The attempt that failed.
        attempt: u32,
        /// Seconds until the next one.
        wait_s: f64,
        /// Why.
        error: ErrorRecord,
    },
    /// A change that is planned or was made.
    Change {
        /// The change.
        change: Change,
        /// Whether it was made; else it is planned.
        made: bool,
    },
    /// The result of one task on one host.
    TaskResult {
        /// The task's name.
        task: String,
        /// Where it stands: `roles/web/tasks/main.yml:12`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The item of its loop, as its label says; the result of the whole task follows without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<Json>,
        /// How it went.
        status: TaskStatus,
        /// What it returned, without what `no_log` hides.
        #[serde(default, skip_serializing_if = "Json::is_null")]
        result: Json,
        /// Seconds it took.
        seconds: f64,
    },
    /// How far something is.
    Progress {
        /// One line.
        message: String,
        /// Things done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        done: Option<u64>,
        /// Things in all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// A line that a command or service printed.
    Output {
        /// Which stream: `stdout`, `stderr`, or a service's log.
        stream: String,
        /// The line.
        line: String,
    },
    /// A release moves on a target: `drain`, `stage`, `activate`, `health`, `serve`, `rollback`.
    Rollout {
        /// The phase.
        phase: String,
        /// The version.
        version: String,
        /// More.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A metric, notice or check result.
    Observed {
        /// What was seen.
        observation: Observation,
    },
    /// Somebody else holds what is needed.
    Waiting {
        /// For what.
        key: String,
        /// Who holds it and why.
        holder: String,
    },
    /// Somebody must say whether the step may go on: `towpath approve`, or for a rollout `towpath rollout SERVICE approve`.
    ApprovalNeeded {
        /// What is asked.
        question: String,
        /// The service whose rollout asks; `None`: the step itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// Something that does not stop the run, but that somebody should know.
    Warning {
        /// One sentence.
        message: String,
    },
}

/// How a task went on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Nothing had to change.
    Ok,
    /// It changed something.
    Changed,
    /// Its condition was false.
    Skipped,
    /// It failed.
    Failed,
    /// It failed, and that is ignored.
    Ignored,
    /// The host could not be reached.
    Unreachable,
}

/// Sees every event of a run, in order. Called on the engine's threads, so it must not block for long.
pub trait Listener: Send + Sync {
    /// Takes one event.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Listener for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

/// The listeners of a run.
#[derive(Clone, Default)]
pub struct Listeners(Vec<Arc<dyn Listener>>);

impl Listeners {
    /// Adds a listener.
    pub fn push(&mut self, listener: Arc<dyn Listener>) {
        self.0.push(listener);
    }

    /// Hands an event to all of them.
    pub fn notify(&self, event: &Event) {
        for listener in &self.0 {
            listener.on_event(event);
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners({})", self.0.len())
    }
}
