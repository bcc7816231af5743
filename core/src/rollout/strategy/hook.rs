use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something of one's own before or after a phase of a rollout: a migration, a warm-up, a message to the team.
///
/// It must bear to be run again: after a crash in the middle it is. A hook that fails makes the rollout fail where it is: before
/// `rollout` and `stage` nothing was touched yet, around a target's phase that target has failed. When the rollout goes back,
/// the `undo` of every hook that was begun is run, the last one first, after the targets run the former release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Before or after.
    pub when: When,
    /// The phase.
    pub phase: Phase,
    /// What is run.
    pub run: HookRun,
    /// What takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<HookRun>,
    /// Longest time of one run, in seconds. `600` by default.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 0.0))]
    pub limit_s: f64,
}

fn ten_minutes() -> f64 {
    600.0
}

impl Hook {
    /// Runs this before a phase.
    pub fn before(phase: Phase, run: HookRun) -> Self {
        Self { when: When::Before, phase, run, undo: None, limit_s: ten_minutes() }
    }

    /// Runs this after a phase that went well.
    pub fn after(phase: Phase, run: HookRun) -> Self {
        Self { when: When::After, ..Self::before(phase, run) }
    }

    /// Runs this if the rollout goes back.
    #[must_use]
    pub fn undo(mut self, run: HookRun) -> Self {
        self.undo = Some(run);
        self
    }
}

/// Before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the phase.
    Before,
    /// After the phase, if it went well.
    After,
}

impl When {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A part of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// All of it, once.
    Rollout,
    /// Staging on all targets, once.
    Stage,
    /// Taking one target out of service.
    Drain,
    /// Making the release the one that runs, on one target.
    Activate,
    /// The health check of one target.
    Health,
    /// Putting one target back into service.
    Serve,
    /// The switch from one group to the other, once; only with `blue_green`.
    Switch,
    /// Going back, once.
    Rollback,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Stage => "stage",
            Self::Drain => "drain",
            Self::Activate => "activate",
            Self::Health => "health",
            Self::Serve => "serve",
            Self::Switch => "switch",
            Self::Rollback => "rollback",
        }
    }

    /// Whether it comes once for each target.
    pub fn is_of_a_target(self) -> bool {
        matches!(self, Self::Drain | Self::Activate | Self::Health | Self::Serve)
    }
}

/// What a hook runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HookRun {
    /// A program. It must exit with 0. It finds `TOWPATH_SERVICE`, `TOWPATH_VERSION`, `TOWPATH_FROM`, `TOWPATH_ENVIRONMENT` and,
    /// around a target's phase, `TOWPATH_HOST` in its environment.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// The host of the inventory that it runs on; `localhost` is this machine. By default the target around a target's
        /// phase, else this machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<String>,
    },
    /// A registered function, with `service`, `version`, `from` and, around a target's phase, `host` as inputs: Rust, or Python's
    /// `module:qualname`.
    Function(String),
}

impl HookRun {
    /// A program with arguments.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::Command { argv: argv.into_iter().map(Into::into).collect(), on: None }
    }

    /// A registered function.
    pub fn function(name: impl Into<String>) -> Self {
        Self::Function(name.into())
    }

    /// Runs a command on this host of the inventory.
    #[must_use]
    pub fn on(mut self, host: impl Into<String>) -> Self {
        if let Self::Command { on, .. } = &mut self {
            *on = Some(host.into());
        }
        self
    }
}
