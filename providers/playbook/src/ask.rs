use async_trait::async_trait;
use towpath_core::Json;

use crate::TaskInfo;

/// Somebody who can be asked while a playbook runs.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Answers a question of `vars_prompt`. `None`: nobody knows, and the default counts.
    async fn answer(&self, question: &Question) -> Option<String>;

    /// Waits until somebody answers the prompt of a `pause` that has no time of its own. `echo`: whether the answer may be seen.
    /// `None`, which is the default: nobody is there, and the run goes on at once, as Ansible without a terminal does.
    async fn pause(&self, prompt: &str, echo: bool) -> Option<String> {
        let _ = (prompt, echo);
        None
    }

    /// Says whether a task runs, before it does (`--step`). By default everything runs, and nothing more is asked.
    async fn step(&self, task: &TaskInfo) -> Step {
        let _ = task;
        Step::Continue
    }
}

/// A question of `vars_prompt`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Question {
    /// The variable that the answer is for.
    pub name: String,
    /// What to show.
    pub text: String,
    /// What counts if nothing is answered.
    pub default: Option<Json>,
    /// Whether the answer must not be seen.
    pub private: bool,
    /// Whether to ask twice.
    pub confirm: bool,
}

/// What to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It runs.
    Run,
    /// It is left out.
    Skip,
    /// It runs, and so does everything after it.
    Continue,
}
