use serde_json::json;
use towpath_core::Deployer as _;
use towpath_strider::Live;

use crate::support::{Durable, Seen, World, eventually, group, release};

/// A process dies while it follows; another one goes on from the journal, with the handle alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_follow_goes_on_after_a_crash_and_says_no_phase_twice() {
    for live in [Live::SocketIo, Live::Polling] {
        let deploy = format!("{}echo deployed", crate::support::WAIT);
        let Some(world) =
            World::new(&[("prepare", "echo prepared"), ("test", "echo tested"), ("deploy", &deploy)]).await
        else {
            return;
        };
        let (durable, before, after) = (Durable::new(), Seen::default(), Seen::default());
        let strider = world.live(live);
        let cx = durable.context(&before).await.for_step("roll out");
        let job = strider.start(&cx, &group(), &release("v1")).await.unwrap();
        let handle = serde_json::to_string(&job).unwrap();
        let follow = tokio::spawn(async move { strider.follow(&cx, &job).await });
        before.until("the tests are over", |s| s.results("phase").iter().any(|(name, _)| name == "test")).await;
        follow.abort();
        assert!(follow.await.unwrap_err().is_cancelled());
        world.go("go");

        let cx = durable.context(&after).await.for_step("roll out");
        let job = serde_json::from_str(&handle).unwrap();
        let state = world.live(live).follow(&cx, &job).await.unwrap();
        assert_eq!(state.current.as_deref(), Some("v1"));
        let names = |seen: &Seen| seen.results("phase").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&before), ["environment", "prepare", "test"]);
        assert_eq!(names(&after), ["deploy", "cleanup"]);
        assert_eq!(before.lines("stdout"), ["prepared", "tested"]);
        assert_eq!(after.lines("stdout"), ["deployed"], "what was said before the last phase is not said again");
    }
}

/// A process dies after the request and before it knows the job's id.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_crash_finds_the_job_that_runs() {
    let Some(world) = World::new(&[("deploy", "true")]).await else { return };
    world.knobs(json!({ "appear_delay_ms": 1500 }));
    let durable = Durable::new();
    let seen = Seen::default();
    let cx = durable.context(&seen).await.for_step("roll out");
    let strider = world.strider(|c| c);
    let start = tokio::spawn(async move { strider.start(&cx, &group(), &release("v1")).await });
    eventually("the request", || world.requests("POST", "/start") == 1).await;
    start.abort();
    assert!(start.await.unwrap_err().is_cancelled());
    eventually("the job appears", || world.simulator.control("count", "").contains("\"jobs\":1")).await;

    let cx = durable.context(&seen).await.for_step("roll out");
    let strider = world.strider(|c| c);
    let job = strider.start(&cx, &group(), &release("v1")).await.unwrap();
    assert_eq!(world.requests("POST", "/start"), 1, "no second job");
    assert_eq!(strider.follow(&cx, &job).await.unwrap().current.as_deref(), Some("v1"));
    // The same program means what it says.
    let second = strider.start(&cx, &group(), &release("v1")).await.unwrap();
    let third = strider.start(&cx, &group(), &release("v1")).await.unwrap();
    assert_ne!(second.id, third.id);
}
