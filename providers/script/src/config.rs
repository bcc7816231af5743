use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{BecomeChoice, FORKS, SecretRef};

/// Settings of the `script` configurator: what is done on every host, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptConfig {
    /// The steps. A failing one ends the work on its host; other hosts go on.
    pub steps: Vec<StepConfig>,

    /// Whom steps become that do not say it themselves. As the host's connection says if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeChoice>,

    /// How many hosts are worked on at the same time. `50` by default.
    #[serde(default = "default_forks")]
    #[schemars(range(min = 1, max = 1000))]
    pub forks: usize,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "a handful of them, made once")]
pub enum StepConfig {
    /// Runs a script.
    Run(RunConfig),
    /// Puts files on the host.
    Upload(UploadConfig),
}

/// A script, and what says whether it has to run.
///
/// It runs if every guard that is given lets it. Without any guard it always runs, and a plan can't know what it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Its name in plans, events and errors. The file's name or the script's first line if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// The script's text. Either this or `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,

    /// The file with the script. Relative paths start at the pipeline file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,

    /// The program that reads the script, with its own arguments. That of the script's `#!` line if not given, else `/bin/sh`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreter: Vec<String>,

    /// Arguments of the script. Others on the host can see them: no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,

    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Environment variables whose values are secret: resolved when the step runs, masked in all output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,

    /// Working directory on the host, of guards too. The user's home if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,

    /// Whom it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeChoice>,

    /// Most seconds that it may take, and most that its guards may take. No limit if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_s: Option<u64>,

    /// Does not run if this path exists. May be a shell pattern: `/opt/app-*/bin`. A relative one starts at the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,

    /// Does not run if this path does not exist. May be a shell pattern. A relative one starts at the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,

    /// Does not run if this shell command succeeds. A plan runs it too, so it must change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,

    /// Does not run if this shell command fails. A plan runs it too, so it must change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_if: Option<String>,

    /// Does not run unless one of these steps before it has changed something on this host: a restart after a new configuration.
    /// Steps are meant by their `name`. As with a handler, a change of an earlier run that has failed since does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub if_changed: Vec<String>,

    /// Exit statuses that are no failure. `0` if not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ok_statuses: Vec<i32>,

    /// Exit statuses that say that something was changed; they are no failures. Any success if not given; if empty, the script
    /// counts as changing nothing. A plan promises nothing about the steps after it all the same, unless a guard keeps it from running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_when_status: Option<Vec<i32>>,

    /// Replaces `{{ variable }}` in `args`, `env`, `cwd` and guards by the host's variables. Never in the script's text: give it what
    /// it needs as an argument or in its environment.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fill: bool,

    /// Shows nothing of its output.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sensitive: bool,
}

/// Files to put on the host. They are compared by digest, so what is there already is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadConfig {
    /// Its name in plans, events and errors. `path` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// A file or folder of this machine. Relative paths start at the pipeline file's folder. One of `source`, `content` and `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,

    /// The content itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,

    /// Content that is secret: resolved when it is used, never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,

    /// Where it goes: the file's own absolute path, or the folder that gets the content of the source folder. Files there that the
    /// source does not have are left alone.
    pub path: String,

    /// Owner by name or number. Left as it is if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,

    /// Group by name or number. Left as it is if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,

    /// Permission bits of files in octal: `"0644"`. If not given a file that is there keeps its own, and a new one gets 0755 or 0644
    /// for a file that is executable here or not, 0600 for `content` and `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-7]{3,4}$"), example = "0644")]
    pub mode: Option<String>,

    /// Permission bits of the folders that a source folder gives. `"0755"` for new ones if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-7]{3,4}$"), example = "0755")]
    pub directory_mode: Option<String>,

    /// Makes the folder that `path` is in, with mode 0755, if it is missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub parents: bool,

    /// Keeps a file that is replaced beside it, as `NAME.~1~`, `NAME.~2~` and so on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backup: bool,

    /// Replaces `{{ variable }}` in the content and in `path` by the host's variables.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fill: bool,

    /// Shows nothing of the content in plans, not even its digest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sensitive: bool,

    /// Whom it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeChoice>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(v: &bool) -> bool {
    !v
}

fn default_forks() -> usize {
    FORKS
}

impl ScriptConfig {
    /// These steps, everything else by default.
    pub fn new(steps: impl IntoIterator<Item = StepConfig>) -> Self {
        Self { steps: steps.into_iter().collect(), r#become: None, forks: default_forks() }
    }

    /// Steps become root, or whom the host's connection names.
    #[must_use]
    pub fn become_root(mut self) -> Self {
        self.r#become = Some(BecomeChoice::Switch(true));
        self
    }
}

impl RunConfig {
    /// A script's text.
    pub fn script(text: impl Into<String>) -> Self {
        Self { script: Some(text.into()), ..Self::default() }
    }

    /// A script's file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), ..Self::default() }
    }

    /// Names it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Does not run if this path exists.
    #[must_use]
    pub fn creates(mut self, path: impl Into<String>) -> Self {
        self.creates = Some(path.into());
        self
    }

    /// Does not run if this path does not exist.
    #[must_use]
    pub fn removes(mut self, path: impl Into<String>) -> Self {
        self.removes = Some(path.into());
        self
    }

    /// Does not run if this shell command succeeds.
    #[must_use]
    pub fn unless(mut self, command: impl Into<String>) -> Self {
        self.unless = Some(command.into());
        self
    }

    /// Does not run if this shell command fails.
    #[must_use]
    pub fn only_if(mut self, command: impl Into<String>) -> Self {
        self.only_if = Some(command.into());
        self
    }

    /// Does not run unless this step before it has changed something.
    #[must_use]
    pub fn if_changed(mut self, step: impl Into<String>) -> Self {
        self.if_changed.push(step.into());
        self
    }

    /// Says whether the host can tell whether it has to run: with anything but `if_changed`.
    pub fn is_guarded(&self) -> bool {
        [&self.creates, &self.removes, &self.unless, &self.only_if].iter().any(|g| g.is_some())
    }
}

impl UploadConfig {
    /// A file or folder of this machine.
    pub fn source(from: impl Into<PathBuf>, path: impl Into<String>) -> Self {
        Self { source: Some(from.into()), path: path.into(), ..Self::default() }
    }

    /// A text.
    pub fn content(text: impl Into<String>, path: impl Into<String>) -> Self {
        Self { content: Some(text.into()), path: path.into(), ..Self::default() }
    }

    /// Sets the permission bits, in octal.
    #[must_use]
    pub fn mode(mut self, mode: impl Into<String>) -> Self {
        self.mode = Some(mode.into());
        self
    }
}

impl From<RunConfig> for StepConfig {
    fn from(run: RunConfig) -> Self {
        Self::Run(run)
    }
}

impl From<UploadConfig> for StepConfig {
    fn from(upload: UploadConfig) -> Self {
        Self::Upload(upload)
    }
}
