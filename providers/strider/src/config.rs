use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Deployer, Json, SecretRef};

use crate::provider::STRIDER;

/// Settings of the deployer `strider`: a project of a Strider server, one job for each release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StriderConfig {
    /// Where the server is: `https://ci.example.com`. Plain `http://` is taken for this machine only (`localhost`, `127.0.0.1`), unless
    /// `allow_http` says so: the password would travel in clear.
    pub url: String,

    /// Takes plain `http://` to other machines, too. `false` by default.
    #[serde(default)]
    pub allow_http: bool,

    /// File with certificates (PEM) of authorities to trust beside those of the system: for a server with a certificate of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,

    /// The user's e-mail address.
    pub user: String,

    /// The user's password: where it comes from. Resolved when it is used; never stored, logged or part of an error.
    pub password: SecretRef,

    /// The project: `organisation/repository`.
    pub project: String,

    /// The branch that a job runs. `{version}` stands for the release's, `{environment}` for the environment's name, `{group}` for the group's
    /// (the service's, unless the rollout has a `group` of its own). Strider runs the head of a branch and nothing else, so a branch for each version (`release-{version}`) is what makes a way back possible; see `earlier_version`.
    #[serde(default = "default_branch")]
    pub branch: String,

    /// What a job does. `TEST_AND_DEPLOY` by default.
    #[serde(default)]
    pub job: JobType,

    /// What a release's version is. `label` by default.
    #[serde(default)]
    pub version_is: VersionIs,

    /// What happens where an earlier version is asked for, and `branch` is the same for all versions. `refuse` by default.
    #[serde(default)]
    pub earlier_version: EarlierVersion,

    /// What is shown as the job's message, in front of what towpath finds it again by. `{version}`, `{service}` and `{environment}` stand for
    /// the release's.
    #[serde(default = "default_message")]
    pub message: String,

    /// How a job is followed. `auto` by default.
    #[serde(default)]
    pub live: Live,

    /// Longest time between the start of a job and the moment when Strider runs it, in seconds. `300` by default. A job that waits longer is
    /// cancelled, as far as Strider can, and counts as failed.
    #[serde(default = "default_start_deadline_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub start_deadline_s: u32,

    /// Longest wait for the end of a job that was cancelled, in seconds. `45` by default.
    #[serde(default = "default_cancel_deadline_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub cancel_deadline_s: u32,

    /// How long the server may be away while a job is followed, in seconds. `300` by default.
    #[serde(default = "default_outage_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub outage_s: u32,

    /// Longest wait for one answer, in seconds. `30` by default. Strider never answers some requests at all.
    #[serde(default = "default_timeout_s")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_s: u32,

    /// Milliseconds between two looks at a job that is polled. `1000` by default.
    #[serde(default = "default_poll_ms")]
    #[schemars(range(min = 50, max = 60_000))]
    pub poll_ms: u32,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobType {
    /// Runs the tests only.
    TestOnly,
    /// Runs the tests, and deploys if they pass.
    #[default]
    TestAndDeploy,
}

impl JobType {
    /// As Strider spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TestOnly => "TEST_ONLY",
            Self::TestAndDeploy => "TEST_AND_DEPLOY",
        }
    }
}

/// What a release's version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VersionIs {
    /// A name for what the branch holds. It travels in the job's message.
    #[default]
    Label,
    /// The commit. Where Strider says which commit a job took, it must be this one, or the job counts as failed. Where it does not say,
    /// there is a warning: the start of a job names a branch only.
    Commit,
}

/// What happens where an earlier version is asked for on a branch that all versions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EarlierVersion {
    /// It is refused: the branch's head is a later version, and Strider would run that under the name of the earlier one.
    #[default]
    Refuse,
    /// The branch's head is run: you have moved the branch back yourself.
    RunHead,
}

/// How a job is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Live {
    /// By `socket_io`; by `polling` where that can't be had, with a warning.
    #[default]
    Auto,
    /// By Strider's websocket. It is opened again whenever it breaks.
    SocketIo,
    /// By looking at the job again and again.
    Polling,
}

impl StriderConfig {
    /// Starts from the defaults: the branch `master`, tested and deployed, followed by websocket.
    pub fn new(
        url: impl Into<String>,
        user: impl Into<String>,
        password: SecretRef,
        project: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            allow_http: false,
            ca_file: None,
            user: user.into(),
            password,
            project: project.into(),
            branch: default_branch(),
            job: JobType::default(),
            version_is: VersionIs::default(),
            earlier_version: EarlierVersion::default(),
            message: default_message(),
            live: Live::default(),
            start_deadline_s: default_start_deadline_s(),
            cancel_deadline_s: default_cancel_deadline_s(),
            outage_s: default_outage_s(),
            timeout_s: default_timeout_s(),
            poll_ms: default_poll_ms(),
        }
    }

    /// Says which branch a job runs.
    #[must_use]
    pub fn branch(self, branch: impl Into<String>) -> Self {
        Self { branch: branch.into(), ..self }
    }

    /// Says what a job does.
    #[must_use]
    pub fn job(self, job: JobType) -> Self {
        Self { job, ..self }
    }

    /// Says how a job is followed.
    #[must_use]
    pub fn live(self, live: Live) -> Self {
        Self { live, ..self }
    }
}

impl From<StriderConfig> for ProviderSpec<dyn Deployer> {
    fn from(config: StriderConfig) -> Self {
        ProviderSpec::new(STRIDER, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}

fn default_branch() -> String {
    "master".to_owned()
}

fn default_message() -> String {
    "{service} {version} to {environment}".to_owned()
}

fn default_start_deadline_s() -> u32 {
    300
}

fn default_cancel_deadline_s() -> u32 {
    45
}

fn default_outage_s() -> u32 {
    300
}

fn default_timeout_s() -> u32 {
    30
}

fn default_poll_ms() -> u32 {
    1000
}
