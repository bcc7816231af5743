//! What every [`Deployer`] does, per target or with a group.

use std::sync::Arc;

use super::suite::{Act, Keep, cancelled, fails, known, lacks, suite};
use crate::{Context, Deployer, ErrorKind, GroupJob, Release, Target, TargetGroup};

/// A deployer and a target that nothing was deployed to.
pub struct DeployerFixture {
    /// The provider.
    pub provider: Arc<dyn Deployer>,
    /// A host of its own.
    pub target: Target,
    /// A group of its own; used where the provider can `group`.
    pub group: TargetGroup,
    /// A release that comes up.
    pub v1: Release,
    /// Another version, that comes up too.
    pub v2: Release,
    /// A release whose artifact does not exist.
    pub missing: Release,
    /// Where it works.
    pub cx: Context,
    /// Asks the service on the target which version answers; `None`: nothing does.
    pub serving: Act<(), Option<String>>,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ deployer deployer_behaviour DeployerFixture {
    preflight_answers,
    capabilities_are_known_names,
    an_empty_target_runs_nothing,
    stage_touches_nothing_that_runs,
    stage_is_idempotent,
    stage_of_a_missing_artifact_fails_and_harms_nothing,
    activate_runs_the_release,
    activate_is_idempotent,
    activate_without_stage_fails_and_harms_nothing,
    a_later_release_replaces_the_one_before,
    an_earlier_release_comes_back,
    deactivate_stops_what_runs_and_is_idempotent,
    a_cancelled_activate_changes_nothing,
    a_group_moves_and_is_followed,
    a_group_job_is_found_again_by_its_handle,
    a_group_job_that_is_over_is_cancelled_without_harm,
});

const VERBS: &[&str] = &["per_target", "group"];

/// Where targets can't be moved one by one, every verb of theirs says so.
async fn per_target(f: &DeployerFixture) -> bool {
    if f.provider.capabilities().has("per_target") {
        return true;
    }
    lacks("per_target", f.provider.stage(&f.cx, &f.target, &f.v1).await);
    lacks("per_target", f.provider.activate(&f.cx, &f.target, &f.v1).await);
    lacks("per_target", f.provider.deactivate(&f.cx, &f.target).await);
    lacks("per_target", f.provider.probe(&f.cx, &f.target).await);
    false
}

/// Where a group can't be moved, every verb of it says so.
async fn group(f: &DeployerFixture) -> bool {
    if f.provider.capabilities().has("group") {
        return true;
    }
    let job = GroupJob { id: "none".into(), detail: crate::Json::Null };
    lacks("group", f.provider.start(&f.cx, &f.group, &f.v1).await);
    lacks("group", f.provider.follow(&f.cx, &job).await);
    lacks("group", f.provider.cancel(&f.cx, &job).await);
    lacks("group", f.provider.probe_group(&f.cx, &f.group).await);
    false
}

async fn run(f: &DeployerFixture, release: &Release) {
    f.provider.stage(&f.cx, &f.target, release).await.expect("stage");
    f.provider.activate(&f.cx, &f.target, release).await.expect("activate");
}

async fn runs(f: &DeployerFixture, version: &str) {
    let state = f.provider.probe(&f.cx, &f.target).await.expect("probe");
    assert_eq!((state.current.as_deref(), state.running), (Some(version), true), "{state:?}");
    assert!(state.staged.iter().any(|v| v == version), "the current version is staged: {state:?}");
    assert_eq!((f.serving)(()).await.as_deref(), Some(version), "the service itself answers");
}

async fn clean(f: &DeployerFixture) {
    f.provider.deactivate(&f.cx, &f.target).await.expect("deactivate at the end of a test");
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: DeployerFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// It is one of the two kinds, or both; the verbs of the other kind are `Unsupported`.
pub async fn capabilities_are_known_names(f: DeployerFixture) {
    known(&f.provider.capabilities(), VERBS);
    let (one, all) = (per_target(&f).await, group(&f).await);
    assert!(one || all, "a deployer that deploys nothing");
}

/// A probe of an empty target is a success.
pub async fn an_empty_target_runs_nothing(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    let state = f.provider.probe(&f.cx, &f.target).await.expect("probe");
    assert_eq!((state.current, state.running, state.staged), (None, false, Vec::new()));
    assert_eq!((f.serving)(()).await, None);
}

/// Staging happens while the target serves.
pub async fn stage_touches_nothing_that_runs(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    f.provider.stage(&f.cx, &f.target, &f.v2).await.expect("stage");
    runs(&f, &f.v1.version).await;
    let state = f.provider.probe(&f.cx, &f.target).await.expect("probe");
    assert!(state.staged.contains(&f.v2.version), "{state:?}");
    clean(&f).await;
}

/// The second time there is nothing to bring.
pub async fn stage_is_idempotent(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    assert!(f.provider.stage(&f.cx, &f.target, &f.v1).await.expect("stage").changed);
    assert!(!f.provider.stage(&f.cx, &f.target, &f.v1).await.expect("second stage").changed);
    let state = f.provider.probe(&f.cx, &f.target).await.expect("probe");
    assert_eq!(state.staged.iter().filter(|v| **v == f.v1.version).count(), 1, "{state:?}");
    assert_eq!((f.serving)(()).await, None, "staged is not started");
}

/// A release that can't be brought is an error before anything is touched.
pub async fn stage_of_a_missing_artifact_fails_and_harms_nothing(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    fails(ErrorKind::NotFound, f.provider.stage(&f.cx, &f.target, &f.missing).await);
    runs(&f, &f.v1.version).await;
    let state = f.provider.probe(&f.cx, &f.target).await.expect("probe");
    assert!(!state.staged.contains(&f.missing.version), "half a release is none: {state:?}");
    clean(&f).await;
}

/// After it, the release runs.
pub async fn activate_runs_the_release(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    runs(&f, &f.v1.version).await;
    clean(&f).await;
}

/// Runs already is a success.
pub async fn activate_is_idempotent(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    f.provider.activate(&f.cx, &f.target, &f.v1).await.expect("second activate");
    runs(&f, &f.v1.version).await;
    clean(&f).await;
}

/// What runs goes on where there is nothing to replace it.
pub async fn activate_without_stage_fails_and_harms_nothing(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    fails(ErrorKind::NotFound, f.provider.activate(&f.cx, &f.target, &f.v2).await);
    runs(&f, &f.v1.version).await;
    clean(&f).await;
}

/// One release runs at a time.
pub async fn a_later_release_replaces_the_one_before(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    run(&f, &f.v2).await;
    runs(&f, &f.v2.version).await;
    clean(&f).await;
}

/// The way back needs nothing to be brought again.
pub async fn an_earlier_release_comes_back(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    run(&f, &f.v2).await;
    assert!(!f.provider.stage(&f.cx, &f.target, &f.v1).await.expect("stage").changed, "it is there still");
    f.provider.activate(&f.cx, &f.target, &f.v1).await.expect("activate");
    runs(&f, &f.v1.version).await;
    clean(&f).await;
}

/// Nothing running is a success.
pub async fn deactivate_stops_what_runs_and_is_idempotent(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    f.provider.deactivate(&f.cx, &f.target).await.expect("deactivate of nothing");
    run(&f, &f.v1).await;
    f.provider.deactivate(&f.cx, &f.target).await.expect("deactivate");
    assert!(!f.provider.probe(&f.cx, &f.target).await.expect("probe").running);
    assert_eq!((f.serving)(()).await, None);
    f.provider.deactivate(&f.cx, &f.target).await.expect("second deactivate");
    run(&f, &f.v1).await;
    runs(&f, &f.v1.version).await;
    clean(&f).await;
}

/// A cancel that came before the start leaves no trace.
pub async fn a_cancelled_activate_changes_nothing(f: DeployerFixture) {
    if !per_target(&f).await {
        return;
    }
    run(&f, &f.v1).await;
    f.provider.stage(&f.cx, &f.target, &f.v2).await.expect("stage");
    fails(ErrorKind::Cancelled, f.provider.activate(&cancelled(&f.cx), &f.target, &f.v2).await);
    runs(&f, &f.v1.version).await;
    clean(&f).await;
}

/// A started job is followed to its end; then the group runs the release.
pub async fn a_group_moves_and_is_followed(f: DeployerFixture) {
    if !group(&f).await {
        return;
    }
    let job = f.provider.start(&f.cx, &f.group, &f.v1).await.expect("start");
    assert!(!job.id.is_empty(), "a job without an id can't be found again");
    let end = f.provider.follow(&f.cx, &job).await.expect("follow");
    assert_eq!((end.current.as_deref(), end.moving, end.healthy), (Some(f.v1.version.as_str()), false, true));
    assert_eq!(f.provider.probe_group(&f.cx, &f.group).await.expect("probe"), end);
}

/// The handle is all that a resumed run has.
pub async fn a_group_job_is_found_again_by_its_handle(f: DeployerFixture) {
    if !group(&f).await {
        return;
    }
    let job = f.provider.start(&f.cx, &f.group, &f.v2).await.expect("start");
    let stored = serde_json::to_string(&job).unwrap();
    let found: GroupJob = serde_json::from_str(&stored).unwrap();
    assert_eq!(found, job, "a handle survives the journal");
    let end = f.provider.follow(&f.cx, &found).await.expect("follow");
    assert_eq!(end.current.as_deref(), Some(f.v2.version.as_str()));
    assert_eq!(f.provider.follow(&f.cx, &found).await.expect("follow again"), end, "following twice is a success");
}

/// Too late is not an error.
pub async fn a_group_job_that_is_over_is_cancelled_without_harm(f: DeployerFixture) {
    if !group(&f).await {
        return;
    }
    let job = f.provider.start(&f.cx, &f.group, &f.v1).await.expect("start");
    f.provider.follow(&f.cx, &job).await.expect("follow");
    f.provider.cancel(&f.cx, &job).await.expect("cancel of a job that is over");
    let state = f.provider.probe_group(&f.cx, &f.group).await.expect("probe");
    assert_eq!((state.current.as_deref(), state.moving), (Some(f.v1.version.as_str()), false));
}
