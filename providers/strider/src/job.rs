use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::tag::Tag;

/// The phases, in the order in which they run.
pub(crate) const PHASES: [&str; 5] = ["environment", "prepare", "test", "deploy", "cleanup"];

/// Says whether a text may be asked for as a job's id. Strider never answers a request for another one.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A job as the server tells of it. Anything may be missing or `null`; users, keys and environments in it are not read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(rename = "ref")]
    pub(crate) source: Option<Source>,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) phases: Option<BTreeMap<String, Option<Phase>>>,
    pub(crate) std: Option<Std>,
    pub(crate) created: Option<String>,
    pub(crate) started: Option<String>,
    pub(crate) finished: Option<String>,
    pub(crate) test_exitcode: Option<i64>,
    pub(crate) deploy_exitcode: Option<i64>,
    pub(crate) errored: Option<bool>,
    pub(crate) error: Option<JobError>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    pub(crate) branch: Option<String>,
    /// The commit, where the server knows it.
    pub(crate) id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Trigger {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) duration: Option<f64>,
    pub(crate) finished: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) commands: Option<Vec<Command>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Command {
    pub(crate) command: Option<String>,
    pub(crate) plugin: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) duration: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Std {
    pub(crate) out: Option<String>,
    pub(crate) err: Option<String>,
    pub(crate) merged: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobError {
    pub(crate) message: Option<String>,
}

/// How far a job is. Strider keeps no such field: it is computed, as its own pages do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Submitted,
    Running,
    Passed,
    Failed,
    Errored,
}

impl Job {
    pub(crate) fn status(&self) -> Status {
        let failed = |code: Option<i64>| code != Some(0);
        if self.errored == Some(true) {
            Status::Errored
        } else if self.started.is_none() {
            Status::Submitted
        } else if self.finished.is_none() {
            Status::Running
        } else if failed(self.test_exitcode)
            || (self.kind.as_deref() != Some("TEST_ONLY") && failed(self.deploy_exitcode))
        {
            Status::Failed
        } else {
            Status::Passed
        }
    }

    /// Whether nothing more happens.
    pub(crate) fn is_over(&self) -> bool {
        self.finished.is_some() || self.status() == Status::Errored
    }

    pub(crate) fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.as_ref()?.get(name)?.as_ref()
    }

    /// Whether the deploy phase has begun: what runs may be half of it.
    pub(crate) fn has_deployed(&self) -> bool {
        let reached = self.deploy_exitcode.is_some_and(|code| code != -1);
        let begun = self.phase("deploy").and_then(|p| p.commands.as_ref()).is_some_and(|c| !c.is_empty());
        reached || begun
    }

    /// What towpath said when it started this job. A push's message is its commit's, which anybody may write: only a job that
    /// somebody started by hand or by the API has a tag.
    pub(crate) fn tag(&self) -> Option<Tag> {
        let trigger = self.trigger.as_ref()?;
        (trigger.kind.as_deref() == Some("manual")).then(|| Tag::read(trigger.message.as_deref()?))?
    }

    pub(crate) fn branch(&self) -> Option<&str> {
        self.source.as_ref()?.branch.as_deref()
    }

    pub(crate) fn commit(&self) -> Option<&str> {
        self.source.as_ref()?.id.as_deref().filter(|id| !id.is_empty())
    }

    /// Seconds since it was created, by the server's own clock.
    pub(crate) fn age_s(&self, now: Option<DateTime<Utc>>) -> Option<f64> {
        let created = DateTime::parse_from_rfc3339(self.created.as_deref()?).ok()?;
        let age = now?.signed_duration_since(created);
        Some(age.num_milliseconds() as f64 / 1000.0)
    }

    /// The first phase that went wrong, and its exit code.
    pub(crate) fn failed_phase(&self) -> Option<(&'static str, i64)> {
        PHASES.into_iter().find_map(|name| {
            let code = self.phase(name)?.exit_code?;
            (code != 0 && code != -1).then_some((name, code))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(value: serde_json::Value) -> Job {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_status_is_computed() {
        let at = "2026-01-01T00:00:00.000Z";
        for (value, want) in [
            (json!({"started": null}), Status::Submitted),
            (json!({"started": at, "errored": false}), Status::Running),
            (json!({"started": at, "finished": at, "test_exitcode": 1}), Status::Failed),
            (json!({"started": at, "finished": at, "test_exitcode": -1}), Status::Failed),
            (json!({"started": at, "finished": at, "test_exitcode": 0, "deploy_exitcode": 2}), Status::Failed),
            (
                json!({"started": at, "finished": at, "test_exitcode": 0, "type": "TEST_ONLY", "deploy_exitcode": -1}),
                Status::Passed,
            ),
            (json!({"started": at, "finished": at, "test_exitcode": 0, "deploy_exitcode": 0}), Status::Passed),
            (json!({"errored": true}), Status::Errored),
        ] {
            assert_eq!(job(value.clone()).status(), want, "{value}");
        }
    }

    #[test]
    fn a_commit_message_forges_no_tag() {
        let message = Tag { service: "web".into(), version: "v9".into(), token: crate::tag::new_token() }.text();
        let with = |kind: &str| job(json!({"trigger": {"type": kind, "message": message}})).tag().map(|t| t.version);
        assert_eq!(with("manual").as_deref(), Some("v9"));
        assert_eq!(with("commit"), None);
    }

    #[test]
    fn ids_are_24_digits() {
        assert!(is_id("5f0c1a2b3c4d5e6f70819293"));
        for text in ["", "latest", "5F0C1A2B3C4D5E6F70819293", "5f0c1a2b3c4d5e6f7081929", "../../../../api/session?"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
