use std::time::Duration;

use serde_json::json;
use towpath_core::{Deployer as _, ErrorKind};
use towpath_strider::Live;

use crate::support::{World, eventually};

const ENDLESS: &str = "echo $$ > {dir}/pid; echo on my way; sleep 600";

fn runs(world: &World) -> bool {
    let pid = std::fs::read_to_string(world.file("pid")).unwrap_or_default();
    let pid = pid.trim();
    !pid.is_empty() && std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_job_and_waits_for_its_end() {
    let Some(world) = World::new(&[("deploy", ENDLESS)]).await else { return };
    let strider = world.strider(|c| c);
    let job = world.start(&strider, "v1").await;
    eventually("the deployment", || runs(&world)).await;
    assert!(strider.probe_group(&world.cx, &crate::support::group()).await.unwrap().moving);
    strider.cancel(&world.cx, &job).await.unwrap();
    eventually("its processes end", || !runs(&world)).await;
    let ended = strider.follow(&world.cx, &job).await.unwrap();
    assert_eq!((ended.current, ended.moving, ended.healthy), (None, false, false), "as it was told to");
    // Somebody else is told that it failed.
    let error = world.strider(|c| c).follow(&world.cx, &job).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed);
    assert!(error.message().contains("Cancelled by the user"), "{error}");
    let state = strider.probe_group(&world.cx, &crate::support::group()).await.unwrap();
    assert_eq!((state.current, state.moving, state.healthy), (None, false, false), "half of it is deployed");
    strider.cancel(&world.cx, &job).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_that_is_cancelled_names_what_still_runs() {
    for live in [Live::SocketIo, Live::Polling] {
        let Some(world) = World::new(&[("deploy", ENDLESS)]).await else { return };
        let strider = world.live(live);
        let job = world.start(&strider, "v1").await;
        let (cx, token) = world.cx.child();
        let (follower, handle) = (strider.clone(), job.clone());
        let follow = tokio::spawn(async move { follower.follow(&cx, &handle).await });
        world.seen.until("output", |s| s.lines("stdout").contains(&"on my way".to_owned())).await;
        token.cancel();
        let error = follow.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.get("still_running")),
            (ErrorKind::Cancelled, Some(job.id.as_str())),
            "{error:?}"
        );
        assert!(runs(&world));
        strider.cancel(&world.cx, &job).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_names_what_still_runs() {
    let Some(world) = World::new(&[("deploy", ENDLESS)]).await else { return };
    let strider = world.strider(|c| c);
    let job = world.start(&strider, "v1").await;
    let hurried = world.cx.with_timeout(Duration::from_millis(500));
    let error = strider.follow(&hurried, &job).await.unwrap_err();
    assert_eq!((error.kind(), error.get("still_running")), (ErrorKind::Timeout, Some(job.id.as_str())), "{error:?}");
    strider.cancel(&world.cx, &job).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_stop_is_named() {
    let Some(world) = World::new(&[("deploy", ENDLESS)]).await else { return };
    world.knobs(json!({ "ignore_cancel": true }));
    let strider = world.strider(|mut c| {
        c.cancel_deadline_s = 1;
        c
    });
    let job = world.start(&strider, "v1").await;
    eventually("the deployment", || runs(&world)).await;
    let error = strider.cancel(&world.cx, &job).await.unwrap_err();
    assert_eq!((error.kind(), error.get("still_running")), (ErrorKind::Timeout, Some(job.id.as_str())), "{error:?}");
    assert!(world.log().iter().any(|r| r["cancel"] == job.id.as_str()), "it was asked");
    world.knobs(json!({ "ignore_cancel": false }));
    strider.cancel(&world.cx, &job).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_websocket_a_cancel_says_that_it_needs_one() {
    let Some(world) = World::new(&[("deploy", ENDLESS)]).await else { return };
    world.knobs(json!({ "refuse_sockets": true }));
    let strider = world.live(Live::Polling);
    let job = world.start(&strider, "v1").await;
    eventually("the deployment", || runs(&world)).await;
    let error = strider.cancel(&world.cx, &job).await.unwrap_err();
    assert_eq!((error.kind(), error.get("still_running")), (ErrorKind::Denied, Some(job.id.as_str())), "{error:?}");
    world.knobs(json!({ "refuse_sockets": false }));
    strider.cancel(&world.cx, &job).await.unwrap();
}
