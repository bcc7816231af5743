use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Artifact, Json, Timestamp};

/// A version of a service, and what to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The service: `web`.
    pub service: String,
    /// The version: `v2`, a commit.
    pub version: String,
    /// What is shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Values that the deployer hands to the service: environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// What became of a release in one environment. The ledger of a service is a list of these, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// The environment.
    pub environment: String,
    /// The release.
    pub release: Release,
    /// How far it came.
    pub outcome: DeploymentOutcome,
    /// Whether all its targets passed their health checks while serving. Only such a release is rolled back to.
    pub seen_healthy: bool,
    /// What runs on each target after it, by host name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,
    /// The run that did it.
    pub run: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Why it was refused or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More facts of the deployer.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub detail: Json,
}

/// How far a deployment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentOutcome {
    /// Under way, or interrupted.
    Running,
    /// Every target runs it.
    Deployed,
    /// It failed, and every target runs the release before it again.
    RolledBack,
    /// It failed, and there was nothing to roll back to, or rolling back failed too.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}
