//! What happens while a playbook runs, in the words and the order of Ansible: enough to print what `ansible-playbook` prints.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use towpath_core::{HostSummary, Json, TaskStatus, Vars};

/// Sees everything that happens in a run, in the order of the strategy. Must not block for long.
pub trait Report: Send + Sync {
    /// Takes one event.
    fn on(&self, event: &PlaybookEvent);
}

impl<F: Fn(&PlaybookEvent) + Send + Sync> Report for F {
    fn on(&self, event: &PlaybookEvent) {
        self(event);
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PlaybookEvent {
    /// A playbook starts.
    PlaybookStarted {
        /// Its file as it was named.
        path: PathBuf,
    },
    /// A play starts, once for each batch of `serial`.
    PlayStarted {
        /// Its name, templated; the pattern of hosts if it has none.
        name: String,
        /// The hosts of this batch.
        hosts: Vec<String>,
    },
    /// No host matches the play.
    NoHostsMatched,
    /// All hosts of the play have failed.
    NoHostsRemaining,
    /// A task starts, for all hosts under `linear`, for the first of them under `free`.
    TaskStarted {
        /// The task.
        task: Arc<TaskInfo>,
        /// Whether check mode holds for it.
        check: bool,
    },
    /// One item of a loop is done.
    ItemFinished(HostResult),
    /// A task is done on a host.
    TaskFinished(HostResult),
    /// `until` is not so yet.
    Retrying {
        /// Result so far. `attempts` and `retries` are in it.
        result: HostResult,
        /// How many tries are left.
        left: u64,
    },
    /// `async` with `poll`: it goes on.
    Polling {
        /// Result so far, with `ansible_job_id`.
        result: HostResult,
    },
    /// A file was included dynamically.
    Included {
        /// The file, absolute.
        file: PathBuf,
        /// For these hosts.
        hosts: Vec<String>,
        /// The loop's item, as its label says.
        label: Option<Json>,
    },
    /// A handler was notified.
    Notified {
        /// Which.
        handler: String,
        /// By a task on this host.
        host: String,
    },
    /// Something that the author of the playbook should know.
    Warning(String),
    /// The end.
    Finished {
        /// Counts by host.
        hosts: BTreeMap<String, HostSummary>,
        /// What `set_stats` collected; `_run` holds what is not per host.
        custom: BTreeMap<String, Vars>,
    },
}

/// A task as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskInfo {
    /// `role : name`, or the action's name if it has none.
    pub name: String,
    /// The action as it was written: `ansible.builtin.copy`.
    pub action: String,
    /// Where it stands, absolute.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: usize,
    /// Whether it runs as a handler.
    pub handler: bool,
    /// Its arguments before templating, for verbose banners.
    pub args: Vars,
}

/// What a task or one item of it gave on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostResult {
    /// The host of the play.
    pub host: String,
    /// The host that it was delegated to.
    pub delegated: Option<String>,
    /// The task.
    pub task: Arc<TaskInfo>,
    /// How it went.
    pub status: TaskStatus,
    /// The result under Ansible's keys, `diff` and `_ansible_*` included. Under `no_log` only what Ansible shows then.
    pub result: Vars,
    /// The item's label; `None` for a task without loop and for its result as a whole.
    pub item: Option<Json>,
    /// Whether the task loops.
    pub looped: bool,
    /// Seconds it took.
    pub seconds: f64,
}
