use serde_json::json;
use towpath_core::{Deployer as _, ErrorKind, EventKind, GroupState};
use towpath_strider::{JobType, Live};

use crate::simulator::{PASSWORD, USER, node};
use crate::support::{PROJECT, World, eventually, group, not_run};

const SCRIPTS: &[(&str, &str)] = &[
    ("environment", "true"),
    ("prepare", "echo prepared"),
    ("test", "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.02; done; echo warned >&2"),
    ("deploy", "printf 'no end of line'"),
    ("cleanup", "true"),
];

fn all(results: &[(String, i64)]) -> Vec<&str> {
    results.iter().map(|(name, _)| name.as_str()).collect()
}

/// Whatever the way, the same is told, once, and in order.
async fn told_by(live: Live) -> Option<World> {
    let world = World::new(SCRIPTS).await?;
    let strider = world.live(live);
    let job = world.start(&strider, "v1").await;
    let state = strider.follow(&world.cx, &job).await.unwrap();
    assert_eq!(state, GroupState { current: Some("v1".into()), moving: false, healthy: true });
    let seen = &world.seen;
    assert_eq!(all(&seen.results("phase")), ["environment", "prepare", "test", "deploy", "cleanup"]);
    assert!(seen.results("phase").iter().all(|(_, code)| *code == 0));
    assert_eq!(all(&seen.results("command"))[1], "echo prepared");
    assert_eq!(seen.results("command").len(), 5);
    let lines: Vec<String> = (1..=8).map(|i| format!("line {i}")).collect();
    let mut want = vec!["prepared".to_owned()];
    want.extend(lines);
    want.push("no end of line".into());
    assert_eq!(seen.lines("stdout"), want);
    let errors = seen.lines("stderr");
    assert!(errors.contains(&"warned".to_owned()) && errors.contains(&"+ echo prepared".to_owned()), "{errors:?}");
    Some(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_by_websocket() {
    let Some(world) = told_by(Live::SocketIo).await else { return };
    assert_eq!(world.sockets_opened(), 1);
    let started = |k: &EventKind| matches!(k, EventKind::Progress { message, .. } if message == "Strider runs the job");
    assert_eq!(world.seen.kinds().iter().filter(|k| started(k)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_by_polling() {
    let Some(world) = told_by(Live::Polling).await else { return };
    assert_eq!((world.sockets_opened(), world.requests("POST", "/api/session")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_is_polled_keeps_its_order() {
    let script = "set +x; echo a; echo b >&2; echo c; echo d >&2";
    let Some(world) = World::new(&[("test", script)]).await else { return };
    let strider = world.strider(|c| c.live(Live::Polling).job(JobType::TestOnly));
    let job = world.start(&strider, "v1").await;
    strider.follow(&world.cx, &job).await.unwrap();
    let order = world.simulator.control("log", "{}");
    assert!(order.contains("/api/v2/jobs/acme/web"));
    // Two pipes have no order between them; each has its own, and nothing is lost or twice.
    let (out, err) = (world.seen.lines("stdout"), world.seen.lines("stderr"));
    assert_eq!(out, ["a", "c"]);
    assert_eq!(err.iter().filter(|l| !l.starts_with('+')).collect::<Vec<_>>(), ["b", "d"]);
}

/// The cable is cut again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_websocket_is_opened_again_and_nothing_is_lost_or_twice() {
    let script =
        "set +x; for i in 1 2 3 4 5 6 7 8 9; do echo line $i; until [ -e {dir}/$i ]; do sleep 0.02; done; done";
    let Some(world) = World::new(&[("test", script)]).await else { return };
    let strider = world.live(Live::SocketIo);
    let job = world.start(&strider, "v1").await;
    let (follower, cx, handle) = (strider.clone(), world.cx.clone(), job.clone());
    let follow = tokio::spawn(async move { follower.follow(&cx, &handle).await });
    for i in 1..=9 {
        world.seen.until("a line", |s| s.lines("stdout").iter().any(|l| *l == format!("line {i}"))).await;
        if i % 3 == 0 {
            eventually("a websocket", || world.simulator.control("sockets", "").contains("\"open\":1")).await;
            assert!(world.simulator.control("drop", "").contains("\"dropped\":1"));
        }
        world.go(&i.to_string());
    }
    follow.await.unwrap().unwrap();
    let want: Vec<String> = (1..=9).map(|i| format!("line {i}")).collect();
    assert_eq!(world.seen.lines("stdout"), want);
    assert_eq!(all(&world.seen.results("phase")), ["environment", "prepare", "test", "deploy", "cleanup"]);
    assert!(world.sockets_opened() >= 3, "{}", world.sockets_opened());
}

/// The server's machine stands still: nothing is closed, and nobody answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_falls_silent_is_given_up() {
    let script = "set +x; for i in 1 2 3; do echo line $i; until [ -e {dir}/$i ]; do sleep 0.02; done; done";
    let variables = [("SIM_PING_MS", "200"), ("SIM_PING_TIMEOUT_MS", "1000")];
    let Some(world) = World::with(&variables, &[("test", script)]).await else { return };
    let strider = world.strider(|mut c| {
        c.timeout_s = 1;
        c.live(Live::SocketIo)
    });
    let job = world.start(&strider, "v1").await;
    let (follower, cx) = (strider.clone(), world.cx.clone());
    let follow = tokio::spawn(async move { follower.follow(&cx, &job).await });
    eventually("a websocket", || world.sockets_opened() == 1).await;
    world.go("1");
    world.seen.until("a line by the websocket", |s| s.lines("stdout") == ["line 1", "line 2"]).await;
    let signal = |name: &str| {
        let pid = world.simulator.pid().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    world.go("2");
    let silent =
        |k: &EventKind| matches!(k, EventKind::Progress { message, .. } if message.contains("did not answer to pings"));
    world.seen.until("the silence is seen", |s| s.kinds().iter().any(silent)).await;
    signal("-CONT");
    world.go("3");
    follow.await.unwrap().unwrap();
    assert_eq!(world.seen.lines("stdout"), ["line 1", "line 2", "line 3"]);
}

/// A cut in the middle of a chatty command, wherever it happens to fall.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_in_the_middle_of_output_leaves_no_hole() {
    let Some(world) =
        World::new(&[("test", "set +x; for i in $(seq 300); do echo line $i; done; sleep 0.2; echo last")]).await
    else {
        return;
    };
    for cut in [1, 2] {
        world.knobs(json!({ "drop_after_stdout": cut }));
        let (seen, strider) = (crate::support::Seen::default(), world.live(Live::SocketIo));
        let job = world.start(&strider, &format!("v{cut}")).await;
        strider.follow(&crate::support::context(&seen), &job).await.unwrap();
        let mut want: Vec<String> = (1..=300).map(|i| format!("line {i}")).collect();
        want.push("last".into());
        assert_eq!(seen.lines("stdout"), want, "cut after chunk {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_forgot_is_made_anew() {
    let wait = format!("{}true", crate::support::WAIT);
    let Some(world) = World::new(&[("test", &wait)]).await else { return };
    let strider = world.live(Live::SocketIo);
    strider.preflight(&world.cx).await.unwrap();
    world.simulator.control("forget", "{}");
    let job = world.start(&strider, "v1").await;
    let (follower, cx) = (strider.clone(), world.cx.clone());
    let follow = tokio::spawn(async move { follower.follow(&cx, &job).await });
    eventually("a websocket", || world.sockets_opened() == 1).await;
    world.go("go");
    follow.await.unwrap().unwrap();
    assert_eq!(world.requests("POST", "/api/session"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_websocket_auto_polls_and_says_so() {
    let Some(world) = World::new(SCRIPTS).await else { return };
    world.knobs(json!({ "refuse_sockets": true }));
    let strider = world.strider(|c| c);
    let wait = format!("{}true", crate::support::WAIT);
    world.set_up(&[("test", &wait)]).await;
    let job = world.start(&strider, "v1").await;
    let error = world.live(Live::SocketIo).follow(&world.cx, &job).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "nothing else was allowed: {error:?}");
    let (follower, cx) = (strider.clone(), world.cx.clone());
    let follow = tokio::spawn(async move { follower.follow(&cx, &job).await });
    world.seen.until("a warning", |s| s.warnings().iter().any(|w| w.contains("the job is polled instead"))).await;
    world.go("go");
    follow.await.unwrap().unwrap();
    assert_eq!(world.sockets_opened(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_answers_nothing_is_no_harm() {
    let script = "set +x; for i in 1 2 3; do echo line $i; until [ -e {dir}/$i ]; do sleep 0.02; done; done";
    let Some(world) = World::new(&[("test", script)]).await else { return };
    world.knobs(json!({ "no_answers": true }));
    let strider = world.live(Live::SocketIo);
    let job = world.start(&strider, "v1").await;
    let (follower, cx) = (strider.clone(), world.cx.clone());
    let follow = tokio::spawn(async move { follower.follow(&cx, &job).await });
    for i in 1..=3 {
        world.seen.until("a line", |s| s.lines("stdout").contains(&format!("line {i}"))).await;
        world.go(&i.to_string());
    }
    follow.await.unwrap().unwrap();
    assert_eq!(world.seen.lines("stdout"), ["line 1", "line 2", "line 3"]);
    assert_eq!(world.sockets_opened(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_any_order_and_a_lost_end_do_no_harm() {
    let Some(world) = World::new(SCRIPTS).await else { return };
    for (version, knobs) in [
        ("v1", json!({ "queued_first": true })),
        ("v2", json!({ "queued_first": false, "no_queued": true, "start_delay_ms": 300, "appear_delay_ms": 300 })),
        ("v3", json!({ "no_queued": false, "no_end_event": true, "start_delay_ms": 0, "appear_delay_ms": 0 })),
    ] {
        world.knobs(knobs);
        let strider = world.live(Live::SocketIo);
        let job = strider.start(&world.cx, &group(), &crate::support::release(version)).await.unwrap();
        let state = strider.follow(&world.cx, &job).await.unwrap();
        assert_eq!(state.current.as_deref(), Some(version));
    }
}

/// The simulator itself speaks the protocol that the library's own client understands.
#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_is_understood_by_the_real_client() {
    let Some(world) = World::new(SCRIPTS).await else { return };
    let Some(mut check) = node("check.js") else { return not_run() };
    let out = check.args([world.simulator.url().as_str(), USER, PASSWORD, PROJECT]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: Vec<String> = serde_json::from_slice(&out.stdout).unwrap();
    for name in ["job.new", "job.status.started", "job.status.stdout", "job.status.tested", "job.status.phase.done"] {
        assert!(seen.iter().any(|s| s == name), "{name}: {seen:?}");
    }
    assert_eq!(seen.last().map(String::as_str), Some("job.done"));
}
