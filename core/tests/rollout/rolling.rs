use towpath_core::rollout::{Batch, OnFailure, Policy, RolloutOutcome, TargetOutcome, Then, Verdicts};
use towpath_core::{ErrorKind, VerdictKind};

use super::world::release;
use super::{Desk, strategy};

const SIX: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[tokio::test]
async fn each_target_is_drained_changed_checked_and_put_back() {
    let desk = Desk::of(&["a", "b"]);
    assert_eq!(desk.run(strategy(), "v1").await.outcome, RolloutOutcome::Deployed);
    desk.world.lock().log.clear();
    let report = desk.run(strategy(), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Deployed);
    let wanted = [
        "stage a v2",
        "stage b v2",
        "drain a",
        "activate a v2",
        "assess a",
        "add a v2",
        "drain b",
        "activate b v2",
        "assess b",
        "add b v2",
    ];
    assert_eq!(desk.world.log(), wanted);
    assert_eq!(desk.world.wrongs(), [""; 0]);
    assert_eq!(desk.left().await, []);
}

#[tokio::test]
async fn a_target_that_was_never_in_service_leaves_no_undo_that_would_put_it_there() {
    let desk = Desk::of(&["a"]);
    desk.world.lock().broken.insert("v1".into());
    let report = desk.run(strategy(), "v1").await;
    assert_eq!(report.outcome, RolloutOutcome::Failed);
    assert!(!desk.world.log().iter().any(|l| l.starts_with("add")), "{:?}", desk.world.log());
    assert!(desk.store.leases().await.unwrap().is_empty());
}

#[tokio::test]
async fn batches_shrink_to_what_may_be_out_of_service() {
    let desk = Desk::of(&SIX);
    desk.run(strategy(), "v1").await;
    desk.world.lock().least = 4;
    let wide = strategy().batch(Batch::Percent(100));
    let report = desk.run(wide.clone().max_unavailable(Batch::Count(2)), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Deployed);
    let report = desk.run(wide.min_healthy(Batch::Percent(60)), "v3").await;
    assert_eq!(report.outcome, RolloutOutcome::Deployed);
    assert_eq!(desk.world.wrongs(), [""; 0]);
    assert_eq!(desk.world.serving().values().filter(|v| *v == "v3").count(), 6);
}

#[tokio::test]
async fn a_fleet_that_is_too_small_already_is_not_made_smaller() {
    let desk = Desk::of(&["a", "b", "c"]);
    desk.run(strategy(), "v1").await;
    let report = desk.run(strategy().min_healthy(Batch::Count(3)), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Failed);
    assert!(report.reason.as_deref().unwrap().contains("3 of 3 targets are in service"), "{report:?}");
    assert_eq!(desk.world.serving().values().filter(|v| *v == "v1").count(), 3);
    // It was never tried, so it is not refused once there is room.
    assert_eq!(desk.run(strategy(), "v2").await.outcome, RolloutOutcome::Deployed);
}

#[tokio::test]
async fn a_bad_release_goes_back_wherever_it_fails() {
    for (n, version) in ["exits", "ill", "ill under load"].into_iter().enumerate() {
        let desk = Desk::of(&SIX);
        desk.run(strategy(), "v1").await;
        let version = version.replace(' ', "-");
        {
            let mut state = desk.world.lock();
            state.least = 5;
            match n {
                0 => state.broken.insert(version.clone()),
                1 => state.bad.insert(version.clone()),
                _ => state.bad_under_load.insert(version.clone()),
            };
        }
        let report = desk.run(strategy().watch(super::gate()), &version).await;
        assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
        assert_eq!(report.target("a").unwrap().state, TargetOutcome::RolledBack);
        assert_eq!(report.target("b").unwrap().state, TargetOutcome::Untouched);
        assert_eq!(desk.world.serving().values().filter(|v| *v == "v1").count(), 6);
        assert_eq!(desk.world.wrongs(), [""; 0]);
        let again = desk.run(strategy(), &version).await;
        assert_eq!(again.outcome, RolloutOutcome::Refused);
    }
}

#[tokio::test]
async fn each_answer_of_a_gate_has_its_own_policy() {
    let of = |error: Policy, inconclusive: Policy| Verdicts { error, inconclusive, ..Verdicts::default() };
    let again = || Policy::default().again_s(30.0);
    // Asked again, the monitor answers.
    let desk = Desk::of(&["a"]);
    desk.run(strategy(), "v1").await;
    desk.world.lock().verdicts.extend([VerdictKind::Error, VerdictKind::Error]);
    let report = desk.run(strategy().verdicts(of(again(), Policy::default())), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    // No clear answer is taken for a good one, since the policy says so.
    desk.world.lock().verdicts.extend([VerdictKind::Inconclusive]);
    let report = desk.run(strategy().verdicts(of(Policy::default(), Policy::then(Then::Proceed))), "v3").await;
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    // It stops, and nothing is rolled back.
    desk.world.lock().verdicts.extend([VerdictKind::Error]);
    let report = desk.run(strategy().verdicts(of(Policy::then(Then::Stop), Policy::default())), "v4").await;
    assert_eq!(report.outcome, RolloutOutcome::Failed, "{report:?}");
    assert_eq!(report.out_of_service(), ["a"]);
    assert_eq!(desk.world.lock().hosts["a"].current.as_deref(), Some("v4"));
    // Without a policy it goes back.
    desk.world.lock().verdicts.extend([VerdictKind::Inconclusive]);
    let report = desk.run(strategy(), "v5").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(desk.world.serving()["a"], "v3");
}

#[tokio::test]
async fn going_back_may_be_faster_than_going_on() {
    let desk = Desk::of(&SIX);
    desk.run(strategy(), "v1").await;
    desk.world.lock().least = 3;
    // All six run it before it shows.
    let canary = [towpath_core::rollout::CanaryStep::of(Batch::Percent(100)).bake(super::gate())];
    let slow = towpath_core::rollout::Rolling { canary: canary.into(), ..strategy() };
    desk.world.lock().verdicts.extend([VerdictKind::Pass; 6]);
    desk.world.lock().verdicts.extend([VerdictKind::Fail]);
    let report = desk.run(slow.rollback_batch(Batch::Count(3)), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    let log = desk.world.log();
    // Three at once: all of them are out before the first one is back.
    let last = |what: &str| log.iter().rposition(|l| l == what).unwrap();
    assert!(last("drain d") < last("add f v1") && last("drain c") > last("add f v1"), "{log:?}");
    assert_eq!(desk.world.wrongs(), [""; 0]);
    assert_eq!(desk.world.serving().values().filter(|v| *v == "v1").count(), 6);
}

#[tokio::test]
async fn what_can_t_be_meant_is_refused_before_anything_is_touched() {
    let desk = Desk::of(&["a"]);
    let wrong = [
        ("max_unavailable", strategy().max_unavailable(Batch::Count(0))),
        ("rollback_batch", strategy().rollback_batch(Batch::Percent(101))),
        (
            "canary",
            towpath_core::rollout::Rolling {
                canary: [2, 1].map(|n| towpath_core::rollout::CanaryStep::of(Batch::Count(n))).into(),
                ..strategy()
            },
        ),
        ("approval.question", strategy().approval(towpath_core::rollout::Approval::ask(" "))),
        (
            "verdicts.error",
            strategy().verdicts(Verdicts { error: Policy::default().again_s(f64::NAN), ..Verdicts::default() }),
        ),
    ];
    for (field, strategy) in wrong {
        let error = desk.rollout(strategy).run(&desk.cx(), &release("v1"), &desk.world.targets()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{field}");
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
    assert_eq!(desk.world.log(), [""; 0]);
    let stop = strategy().on_failure(OnFailure::Stop);
    assert_eq!(desk.run(stop, "v1").await.outcome, RolloutOutcome::Deployed);
}
