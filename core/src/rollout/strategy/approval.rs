use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A question that somebody must answer before the rollout goes on. A no, and no answer in time, end it: what was changed goes
/// back.
///
/// It can always be answered by `towpath rollout SERVICE approve` or `refuse` and by
/// [`RolloutControl::answer`](crate::rollout::RolloutControl::answer), whatever else is named here. The first answer counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What is asked: `5xx below 1 % on the canary?`.
    pub question: String,
    /// A file of this machine whose first word is the answer, once it is there: `yes` or `no`, and then who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A registered function that is asked, with `question`, `service` and `version` as inputs: Rust, or Python's
    /// `module:qualname`. Its outputs are `granted` (a bool) and `by`; without `granted` it is asked again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// A command on this machine that is asked every few seconds until the first word of its output is `yes` or `no`, and then who says so; anything
    /// else, and a failure, is no answer yet. `[curl, -fsS, "https://chat.example.com/deploys/web"]` asks a web service. In its environment are
    /// `TOWPATH_SERVICE`, `TOWPATH_VERSION`, `TOWPATH_ENVIRONMENT`, `TOWPATH_QUESTION` and `TOWPATH_ASKED_AT`, milliseconds since 1970 that tell
    /// one question from the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Longest wait for an answer, in seconds. `3600` by default.
    #[serde(default = "hour")]
    #[schemars(range(min = 0.0))]
    pub limit_s: f64,
}

fn hour() -> f64 {
    3600.0
}

impl Approval {
    /// This question, for an hour.
    pub fn ask(question: impl Into<String>) -> Self {
        Self { question: question.into(), file: None, function: None, command: Vec::new(), limit_s: hour() }
    }

    /// Reads the answer from a file, too.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Asks a registered function, too.
    #[must_use]
    pub fn function(mut self, name: impl Into<String>) -> Self {
        self.function = Some(name.into());
        self
    }

    /// Asks a command of this machine, too: program and arguments.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.command = argv.into_iter().map(Into::into).collect();
        self
    }

    /// Waits so long.
    #[must_use]
    pub fn limit_s(mut self, seconds: f64) -> Self {
        self.limit_s = seconds;
        self
    }
}
