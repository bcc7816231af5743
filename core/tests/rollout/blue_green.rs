use towpath_core::rollout::{Approval, BlueGreen, Rolling, RolloutOutcome, TargetOutcome};
use towpath_core::{BackendMode, ErrorKind};

use super::world::release;
use super::{Desk, gate, strategy};

const HOSTS: [&str; 4] = ["blue-1", "blue-2", "green-1", "green-2"];

fn groups() -> BlueGreen {
    BlueGreen::groups("blue", "green")
}

fn switch(groups: BlueGreen) -> Rolling {
    Rolling { blue_green: Some(groups), ..strategy() }.watch(gate())
}

fn served(desk: &Desk) -> Vec<String> {
    desk.world.serving().into_iter().map(|(h, v)| format!("{h} {v}")).collect()
}

#[tokio::test]
async fn the_groups_take_turns_and_the_other_one_keeps_the_former_release() {
    let desk = Desk::of(&HOSTS);
    assert_eq!(desk.run(switch(groups()), "v1").await.outcome, RolloutOutcome::Deployed);
    assert_eq!(served(&desk), ["blue-1 v1", "blue-2 v1"]);
    {
        let mut state = desk.world.lock();
        state.least = 2;
        state.log.clear();
    }
    let report = desk.run(switch(groups()), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    assert_eq!(served(&desk), ["green-1 v2", "green-2 v2"]);
    assert_eq!(report.target("blue-1").unwrap().state, TargetOutcome::Retired);
    assert_eq!(report.target("green-1").unwrap().state, TargetOutcome::Updated);
    let log = desk.world.log();
    let at = |what: &str| log.iter().position(|l| l == what).unwrap();
    assert!(at("add green-1 v2") < at("drain blue-1") && at("add green-2 v2") < at("drain blue-1"), "{log:?}");
    assert!(desk.world.lock().hosts["blue-1"].running);
    // The third goes to blue again, and nothing is done for a release that runs.
    assert_eq!(desk.run(switch(groups()), "v2").await.outcome, RolloutOutcome::Unchanged);
    assert_eq!(desk.run(switch(groups().stop_old(true)), "v3").await.outcome, RolloutOutcome::Deployed);
    assert_eq!(served(&desk), ["blue-1 v3", "blue-2 v3"]);
    assert!(!desk.world.lock().hosts["green-1"].running);
    assert_eq!(desk.world.wrongs(), [""; 0]);
    assert!(desk.store.leases().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_release_is_never_served_where_its_check_finds_it() {
    let desk = Desk::of(&HOSTS);
    desk.run(switch(groups()), "v1").await;
    desk.world.lock().bad.insert("v2".into());
    desk.world.lock().log.clear();
    let report = desk.run(switch(groups()), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(served(&desk), ["blue-1 v1", "blue-2 v1"]);
    assert!(!desk.world.log().iter().any(|l| l.starts_with("drain") || l.starts_with("add")), "{:?}", desk.world.log());
    assert_eq!(desk.run(switch(groups()), "v2").await.outcome, RolloutOutcome::Refused);
}

#[tokio::test]
async fn what_shows_only_under_load_is_switched_back_without_an_activation() {
    let desk = Desk::of(&HOSTS);
    desk.run(switch(groups()), "v1").await;
    {
        let mut state = desk.world.lock();
        state.bad_under_load.insert("v2".into());
        state.least = 2;
        state.log.clear();
    }
    let report = desk.run(switch(groups()), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(served(&desk), ["blue-1 v1", "blue-2 v1"]);
    let log = desk.world.log();
    assert!(!log.iter().any(|l| l.starts_with("activate blue")), "{log:?}");
    assert_eq!(desk.world.wrongs(), [""; 0]);
    assert!(desk.store.leases().await.unwrap().is_empty());
    // A good one goes to the group that the bad one was on.
    assert_eq!(desk.run(switch(groups()), "v3").await.outcome, RolloutOutcome::Deployed);
    assert_eq!(served(&desk), ["green-1 v3", "green-2 v3"]);
}

#[tokio::test]
async fn going_back_later_is_a_switch() {
    let desk = Desk::of(&HOSTS);
    desk.run(switch(groups()), "v1").await;
    desk.run(switch(groups()), "v2").await;
    let rollout = desk.rollout(switch(groups()));
    let report = rollout.undo(&desk.cx(), &release("v2"), &desk.world.targets(), "5xx").await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(served(&desk), ["blue-1 v1", "blue-2 v1"]);
    assert_eq!(desk.world.wrongs(), [""; 0]);
}

#[tokio::test]
async fn a_no_before_the_switch_leaves_everything_served_as_it_was() {
    let desk = Desk::of(&HOSTS);
    desk.run(switch(groups()), "v1").await;
    let ask = switch(groups().approval(Approval::ask("switch?").limit_s(0.05)));
    let report = desk.run(ask, "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert!(report.reason.unwrap().contains("nobody answered within 0.05 s: switch?"));
    assert_eq!(served(&desk), ["blue-1 v1", "blue-2 v1"]);
    assert_eq!(desk.world.wrongs(), [""; 0]);
}

#[tokio::test]
async fn two_groups_in_service_are_refused() {
    let desk = Desk::of(&HOSTS);
    desk.run(switch(groups()), "v1").await;
    desk.world.lock().modes.insert("green-1".into(), BackendMode::Serving);
    let rollout = desk.rollout(switch(groups()));
    let error = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("2 of blue, 1 of green"), "{error}");
    for (groups, says) in [
        (BlueGreen::groups("blue", "blue"), "two groups"),
        (BlueGreen::groups("blue", "gren"), "nearest=green"),
        (BlueGreen::groups("blue", "all"), "in both groups"),
    ] {
        let rollout = desk.rollout(switch(groups));
        let error = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
}
