use serde_json::json;
use towpath_core::{Deployer as _, ErrorKind, Retry};
use towpath_strider::{EarlierVersion, JobType, Live, StriderConfig, VersionIs};

use crate::support::{World, eventually, group, release};

fn hasty(mut config: StriderConfig) -> StriderConfig {
    config.start_deadline_s = 1;
    config.outage_s = 1;
    config.timeout_s = 1;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_fails_says_how() {
    for (phase, script, code, deployed) in [
        ("prepare", "echo no such module >&2; exit 128", 128, false),
        ("test", "echo 1 test failed >&2; exit 3", 3, false),
        ("deploy", "echo no space >&2; exit 7", 7, true),
    ] {
        for live in [Live::SocketIo, Live::Polling] {
            let Some(world) = World::new(&[("test", "true"), ("deploy", "true")]).await else { return };
            let strider = world.live(live);
            let first = world.start(&strider, "v1").await;
            strider.follow(&world.cx, &first).await.unwrap();
            world.set_up(&[("test", "true"), ("deploy", "true"), (phase, script)]).await;
            let job = world.start(&strider, "v2").await;
            let error = strider.follow(&world.cx, &job).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
            assert_eq!((error.get("phase"), error.get("exit_code")), (Some(phase), Some(code.to_string().as_str())));
            let said = script.split(['o', '>']).nth(1).unwrap();
            assert!(error.report().contains(said.trim()), "its output is the cause: {}", error.report());
            assert!(world.seen.results("phase").contains(&(phase.to_owned(), code)));
            let state = strider.probe_group(&world.cx, &group()).await.unwrap();
            let current = if deployed { None } else { Some("v1") };
            assert_eq!((state.current.as_deref(), state.healthy, state.moving), (current, !deployed, false));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_without_plugins_is_broken_off_by_strider() {
    let Some(world) = World::new(&[]).await else { return };
    let strider = world.strider(|c| c);
    let mut project = world.project(&[]);
    for branch in project.branches.values_mut() {
        branch.plugins = Some(Vec::new());
    }
    strider.set_up(&world.cx, &project).await.unwrap();
    let job = world.start(&strider, "v1").await;
    let error = strider.follow(&world.cx, &job).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed);
    assert!(error.message().contains("No plugins configured"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_runs_has_a_deadline() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    world.knobs(json!({ "never_runs": true }));
    for live in [Live::SocketIo, Live::Polling] {
        let strider = world.strider(|c| hasty(c).live(live));
        let job = world.start(&strider, "v1").await;
        let error = strider.follow(&world.cx, &job).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.message().contains("start_deadline_s") && error.message().contains("may start later"), "{error}");
        assert!(world.log().iter().any(|r| r["cancel"] == job.id.as_str()), "it was asked not to");
        let state = strider.probe_group(&world.cx, &group()).await.unwrap();
        assert!(!state.moving, "nobody waits for it for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_waited_for() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    world.knobs(json!({ "start_delay_ms": 1500, "appear_delay_ms": 700 }));
    let strider = world.strider(|c| c);
    let job = world.start(&strider, "v1").await;
    assert!(strider.probe_group(&world.cx, &group()).await.unwrap().moving);
    strider.follow(&world.cx, &job).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_passes_and_a_long_one_is_an_error() {
    let wait = format!("{}true", crate::support::WAIT);
    let Some(world) = World::new(&[("test", &wait)]).await else { return };
    for (live, versions) in [(Live::SocketIo, ["v1", "v2"]), (Live::Polling, ["v3", "v4"])] {
        let strider = world.live(live);
        let job = world.start(&strider, versions[0]).await;
        world.knobs(json!({ "fail": { "path": "/api/v2/jobs", "times": 3, "status": 500 } }));
        let (follower, cx, handle) = (strider.clone(), world.cx.clone(), job.clone());
        let follow = tokio::spawn(async move { follower.follow(&cx, &handle).await });
        let before = world.requests("GET", "/api/v2/jobs");
        eventually("more looks", || world.requests("GET", "/api/v2/jobs") > before + 3 || live == Live::SocketIo).await;
        world.go("go");
        follow.await.unwrap().unwrap();
        std::fs::remove_file(world.file("go")).unwrap();

        let strider = world.strider(|c| hasty(c).live(live));
        let job = world.start(&world.live(live), versions[1]).await;
        world.knobs(
            json!({ "fail": { "path": "/api/v2/jobs", "times": 100_000, "status": 503 }, "refuse_sockets": true }),
        );
        let error = strider.follow(&world.cx, &job).await.unwrap_err();
        let kinds = [ErrorKind::Unreachable, ErrorKind::Denied];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        world.knobs(json!({ "fail": null, "refuse_sockets": false }));
        world.go("go");
        world.live(live).follow(&world.cx, &job).await.unwrap();
        std::fs::remove_file(world.file("go")).unwrap();
    }
}

/// The answer is lost, the job is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_answers_500_and_was_taken_is_found() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    world.knobs(json!({ "start_fails": 1 }));
    let strider = world.strider(|c| c);
    let job = world.start(&strider, "v1").await;
    strider.follow(&world.cx, &job).await.unwrap();
    assert_eq!(world.requests("POST", "/start"), 1);

    world.knobs(json!({ "start_fails": 1, "start_lost": true }));
    let error = strider.start(&world.cx, &group(), &release("v2")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.get("status")), (ErrorKind::ToolFailed, Retry::Later, Some("500")));
    assert!(error.get("may_run").is_some_and(|m| m.contains("token=")), "{error}");
}

/// The list is refused from then on: that is no refusal of the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_can_not_be_seen_may_run() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|mut c| {
        // Else the list is read before the start, too.
        c.earlier_version = EarlierVersion::RunHead;
        c
    });
    world.knobs(json!({ "fail": { "path": "/api/v2/jobs", "times": 100_000, "status": 403 } }));
    let error = strider.start(&world.cx, &group(), &release("v1")).await.unwrap_err();
    assert_eq!((error.kind(), world.requests("POST", "/start")), (ErrorKind::Protocol, 1), "{error:?}");
    assert!(error.get("may_run").is_some_and(|m| m.contains("token=")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_not_waited_for() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(hasty);
    world.knobs(json!({ "hang": "/config" }));
    let error = strider.start(&world.cx, &group(), &release("v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.get("server").is_some() && error.message().contains("timeout_s"), "{error}");
    assert_eq!(world.requests("POST", "/start"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_strider_names_must_be_the_one() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|mut c| {
        c.version_is = VersionIs::Commit;
        c.job(JobType::TestOnly)
    });
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let job = world.start(&strider, commit).await;
    strider.follow(&world.cx, &job).await.unwrap();
    assert!(
        world.seen.warnings().iter().any(|w| w.contains("does not say which commit")),
        "{:?}",
        world.seen.warnings()
    );
    world.knobs(json!({ "commit": commit }));
    let job = world.start(&strider, "0123456").await;
    assert_eq!(strider.follow(&world.cx, &job).await.unwrap().current.as_deref(), Some("0123456"));
    world.knobs(json!({ "commit": "fedcba9876543210fedcba9876543210fedcba98" }));
    let job = world.start(&strider, "0123457").await;
    let error = strider.follow(&world.cx, &job).await.unwrap_err();
    assert!(error.message().contains("ran the commit fedcba98"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_message_is_not_taken_for_a_release() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|c| c);
    let job = world.start(&strider, "v1").await;
    strider.follow(&world.cx, &job).await.unwrap();
    let at = "2099-01-01T00:00:00.000Z";
    let message = format!("[towpath service=web version=v9 token={}]", "a".repeat(32));
    let forged = json!({
        "project": "acme/web", "type": "TEST_AND_DEPLOY", "created": at, "started": at, "finished": at, "test_exitcode": 0, "deploy_exitcode": 0,
        "trigger": { "type": "commit", "message": message },
    });
    world.simulator.control("job", &forged.to_string());
    let state = strider.probe_group(&world.cx, &group()).await.unwrap();
    assert_eq!((state.current, state.healthy), (None, false), "somebody else's deployment, of an unknown version");
}
