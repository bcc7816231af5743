use chrono::{DateTime, Utc};
use towpath_core::GroupState;

use crate::job::{Job, Status};
use crate::start::Branches;
use crate::{JobType, StriderConfig};

/// The jobs that move the group: those of the right branch and kind, and of a kind that does more.
fn relevant<'a>(jobs: &'a [Job], config: &StriderConfig, branch: &str) -> Vec<&'a Job> {
    let branches = Branches::of(branch);
    let deploys = |job: &Job| job.kind.as_deref() == Some(JobType::TestAndDeploy.as_str());
    jobs.iter()
        .filter(|job| config.job == JobType::TestOnly || deploys(job))
        .filter(|job| job.branch().is_some_and(|b| branches.may_be(b)))
        .collect()
}

/// What the group runs, as the jobs of its branch or branches tell.
pub(crate) fn state(jobs: &[Job], config: &StriderConfig, branch: &str, now: Option<DateTime<Utc>>) -> GroupState {
    let jobs = relevant(jobs, config, branch);
    let patience = f64::from(config.start_deadline_s);
    let moving = jobs.iter().any(|job| match job.status() {
        Status::Running => true,
        // One that has waited for too long never runs: Strider takes jobs for branches that it does not know.
        Status::Submitted => !job.is_over() && job.age_s(now).is_none_or(|age| age <= patience),
        _ => false,
    });
    let mut over: Vec<&Job> = jobs.into_iter().filter(|job| job.finished.is_some()).collect();
    // The server's order is not by time for all of them. Text of one form sorts as the time that it means.
    over.sort_by(|a, b| b.finished.cmp(&a.finished));
    for job in over {
        match job.status() {
            Status::Passed => {
                let current = job.tag().map(|tag| tag.version).or_else(|| job.commit().map(str::to_owned));
                return GroupState { healthy: current.is_some(), current, moving };
            }
            // Its deployment broke off: nobody knows what runs where.
            _ if config.job == JobType::TestAndDeploy && job.has_deployed() => {
                return GroupState { current: None, moving, healthy: false };
            }
            _ => {}
        }
    }
    GroupState { current: None, moving, healthy: false }
}

/// A later version that was started after the last job of this one, if there is one.
pub(crate) fn later_than(
    jobs: &[Job],
    config: &StriderConfig,
    branch: &str,
    service: &str,
    version: &str,
) -> Option<String> {
    let mut tagged: Vec<(&Job, String)> = relevant(jobs, config, branch)
        .into_iter()
        .filter_map(|job| job.tag().filter(|t| t.service == service).map(|t| (job, t.version)))
        .collect();
    tagged.sort_by(|a, b| b.0.created.cmp(&a.0.created));
    let newest = tagged.first()?.1.clone();
    (newest != version && tagged.iter().any(|(_, v)| v == version)).then_some(newest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tag::{Tag, new_token};
    use serde_json::json;
    use towpath_core::SecretRef;

    fn config() -> StriderConfig {
        StriderConfig::new("https://ci", "ops", SecretRef::Env("X".into()), "acme/web")
    }

    /// A job that was created at a minute and is over at the next one.
    fn job(minute: u32, version: &str, more: serde_json::Value) -> Job {
        let tag = Tag { service: "web".into(), version: version.into(), token: new_token() };
        let mut job = json!({
            "_id": "5f0c1a2b3c4d5e6f70819293", "type": "TEST_AND_DEPLOY", "ref": {"branch": "master"},
            "trigger": {"type": "manual", "message": tag.text()},
            "created": format!("2026-01-01T00:{minute:02}:00.000Z"), "started": format!("2026-01-01T00:{minute:02}:01.000Z"),
            "finished": format!("2026-01-01T00:{:02}:00.000Z", minute + 1), "test_exitcode": 0, "deploy_exitcode": 0,
        });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(job).unwrap()
    }

    fn at(minute: u32) -> Option<DateTime<Utc>> {
        format!("2026-01-01T00:{minute:02}:00Z").parse().ok()
    }

    fn told(jobs: &[Job]) -> (Option<String>, bool, bool) {
        let state = state(jobs, &config(), "master", at(30));
        (state.current, state.moving, state.healthy)
    }

    #[test]
    fn the_newest_job_that_deployed_says_what_runs() {
        let passed = |minute, version| job(minute, version, json!({}));
        let v1 = || Some("v1".to_owned());
        assert_eq!(told(&[]), (None, false, false));
        assert_eq!(
            told(&[passed(1, "v0"), passed(3, "v1"), passed(2, "vX")]),
            (v1(), false, true),
            "whatever their order"
        );
        let tests_failed = job(5, "v2", json!({"test_exitcode": 1, "deploy_exitcode": -1}));
        assert_eq!(told(&[tests_failed, passed(3, "v1")]), (v1(), false, true), "nothing was deployed");
        let broke_off = job(5, "v2", json!({"deploy_exitcode": 1}));
        assert_eq!(told(&[broke_off, passed(3, "v1")]), (None, false, false));
        let cancelled =
            json!({"errored": true, "deploy_exitcode": -1, "phases": {"deploy": {"commands": [{"command": "x"}]}}});
        assert_eq!(told(&[job(5, "v2", cancelled), passed(3, "v1")]), (None, false, false));
        let other = job(5, "v2", json!({"ref": {"branch": "feature"}}));
        let tests = job(6, "v3", json!({"type": "TEST_ONLY"}));
        assert_eq!(told(&[other, tests, passed(3, "v1")]), (v1(), false, true), "of no concern");
        let pushed =
            json!({"trigger": {"type": "commit", "message": "x"}, "ref": {"branch": "master", "id": "abc123"}});
        assert_eq!(told(&[job(7, "v4", pushed), passed(3, "v1")]).0.as_deref(), Some("abc123"));
    }

    #[test]
    fn a_job_that_never_runs_moves_nothing_for_ever() {
        let waits = |minute| job(minute, "v2", json!({"started": null, "finished": null}));
        assert_eq!(told(&[waits(29)]), (None, true, false));
        assert_eq!(told(&[waits(20)]), (None, false, false), "ten minutes, and five are the limit");
        assert!(told(&[job(1, "v2", json!({"finished": null}))]).1, "one that runs may take long");
    }

    /// Other environments or groups may have branches of their own in the same project.
    #[test]
    fn only_the_groups_own_branches_count() {
        let of = |minute, version: &str, branch: &str| job(minute, version, json!({"ref": {"branch": branch}}));
        let jobs = [of(1, "v1", "live/web-v1"), of(3, "v2", "staging/web-v2"), of(5, "v3", "live/shop-v3")];
        let current = |branch: &str| state(&jobs, &config(), branch, at(30)).current;
        assert_eq!(current("live/web-{version}").as_deref(), Some("v1"));
        assert_eq!(current("staging/web-{version}").as_deref(), Some("v2"));
        assert_eq!(current("master"), None);
    }

    #[test]
    fn a_way_back_on_one_branch_is_seen() {
        let jobs = [job(1, "v1", json!({})), job(3, "v2", json!({}))];
        let later = |version| later_than(&jobs, &config(), "master", "web", version);
        assert_eq!(later("v1").as_deref(), Some("v2"));
        assert_eq!((later("v2"), later("v3")), (None, None));
        assert_eq!(later_than(&jobs, &config(), "master", "shop", "v1"), None);
    }
}
