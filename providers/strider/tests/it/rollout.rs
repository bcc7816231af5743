use std::sync::Arc;

use towpath_core::rollout::{Rolling, Rollout, RolloutOutcome};
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{Deployer as _, ErrorKind, Inventory, Targets};

use crate::support::{Durable, Seen, World, eventually, group, release};

fn targets() -> Targets {
    Targets::new(Inventory::default(), Arc::new(Nowhere))
}

/// Core's rollout on top: deployed, unchanged, failed and rolled back to the branch of the version before.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_is_rolled_back_to_the_one_before() {
    let Some(world) = World::new(&[("test", "true"), ("deploy", "true")]).await else { return };
    let durable = Durable::new();
    let strider = world.strider(|c| c.branch("release-{version}"));
    let rollout = Rollout::new(Arc::new(strider.clone()), Rolling::default());
    let run = async |version: &str| {
        let cx = durable.context(&Seen::default()).await.for_step(&format!("roll out {version} {}", world.log().len()));
        rollout.run(&cx, &release(version), &targets()).await.unwrap()
    };
    assert_eq!(run("v1").await.outcome, RolloutOutcome::Deployed);
    assert_eq!(run("v1").await.outcome, RolloutOutcome::Unchanged);
    let scripts = "case $(cat {dir}/bad) in yes) rm {dir}/bad; exit 9;; esac";
    world.set_up(&[("test", "true"), ("deploy", &format!("if [ -e {{dir}}/bad ]; then {scripts}; fi"))]).await;
    std::fs::write(world.file("bad"), "yes").unwrap();
    let report = run("v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert!(report.reason.unwrap().contains("its phase `deploy` ended with exit code 9"));
    let state = strider.probe_group(&world.cx, &group()).await.unwrap();
    assert_eq!((state.current.as_deref(), state.healthy), (Some("v1"), true));
    assert_eq!(world.requests("POST", "/start"), 3);
}

/// Cancelled through the context: Strider's job is stopped, and the rollout says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_cancelled_stops_its_job() {
    let Some(world) = World::new(&[("deploy", "echo begun; sleep 600")]).await else { return };
    let (durable, seen) = (Durable::new(), Seen::default());
    let (cx, token) = durable.context(&seen).await.for_step("roll out").child();
    let strider = world.strider(|c| c.branch("release-{version}"));
    let rollout = Rollout::new(Arc::new(strider.clone()), Rolling::default());
    let rolling = tokio::spawn(async move { rollout.run(&cx, &release("v1"), &targets()).await });
    seen.until("the deployment", |s| s.lines("stdout").contains(&"begun".to_owned())).await;
    token.cancel();
    let report = rolling.await.unwrap().unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Cancelled, "{report:?}");
    assert!(report.reason.as_deref().unwrap_or_default().contains("its job was stopped"), "{report:?}");
    eventually("no job runs", || !world.simulator.control("running", "").contains("[\"")).await;
    let state = strider.probe_group(&world.cx, &group()).await.unwrap();
    assert!(!state.moving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_starts_nothing() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let rollout = Rollout::new(Arc::new(world.strider(|c| c)), Rolling::default());
    let cx = Durable::new().context(&Seen::default()).await.for_step("roll out");
    let plan = rollout.plan(&cx, &release("v1"), &targets()).await.unwrap();
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(world.requests("POST", "/start"), 0);
    let error = rollout.run(&cx, &release("a/b"), &targets()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// The whole way through core: the journal has the job's handle and what was said of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_after_a_crash_with_the_same_job() {
    let deploy = format!("{}echo deployed", crate::support::WAIT);
    let Some(world) = World::new(&[("test", "echo tested"), ("deploy", &deploy)]).await else { return };
    let (durable, before, after) = (Durable::new(), Seen::default(), Seen::default());
    let rollout = || Rollout::new(Arc::new(world.strider(|c| c.branch("release-{version}"))), Rolling::default());
    let (cx, first) = (durable.context(&before).await.for_step("roll out"), rollout());
    let rolling = tokio::spawn(async move { first.run(&cx, &release("v1"), &targets()).await });
    before.until("the tests are over", |s| s.results("phase").iter().any(|(name, _)| name == "test")).await;
    rolling.abort();
    assert!(rolling.await.unwrap_err().is_cancelled());
    world.go("go");
    let cx = durable.context(&after).await.for_step("roll out");
    let report = rollout().run(&cx, &release("v1"), &targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    assert_eq!(world.requests("POST", "/start"), 1, "no second job");
    let phases: Vec<String> = [before, after].iter().flat_map(|s| s.results("phase")).map(|(name, _)| name).collect();
    assert_eq!(phases, ["environment", "prepare", "test", "deploy", "cleanup"]);
}
