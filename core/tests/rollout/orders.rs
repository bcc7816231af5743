use std::time::Duration;

use towpath_core::ErrorKind;
use towpath_core::rollout::{Approval, Policy, RolloutOutcome, RolloutStatus, Then, Verdicts};

use super::{Desk, holding, strategy};

/// Waits until the rollout's status is as wanted.
async fn until(desk: &Desk, wanted: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
    loop {
        if let Some(status) = desk.control().status().await.unwrap().filter(&wanted) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_paused_rollout_waits_between_targets_and_goes_on() {
    let desk = Desk::of(&["a", "b", "c"]);
    desk.run(strategy(), "v1").await;
    let ordering = async {
        until(&desk, |s| s.phase == "asking").await;
        desk.control().pause("anna", "lunch").await.unwrap();
        desk.control().answer(true, "bert", "").await.unwrap();
        let status = until(&desk, |s| s.phase == "paused").await;
        assert_eq!((status.version.as_str(), status.from.as_deref(), status.total), ("v2", Some("v1"), 3));
        assert!(desk.world.serving().values().all(|v| v == "v1"));
        desk.control().resume().await.unwrap();
    };
    let (report, ()) = tokio::join!(desk.run(strategy().approval(Approval::ask("now?")), "v2"), ordering);
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    assert_eq!(desk.left().await, []);
}

#[tokio::test]
async fn a_stop_leaves_each_target_at_a_safe_point() {
    let desk = Desk::of(&["a", "b", "c"]);
    desk.run(strategy(), "v1").await;
    let ordering = async {
        while desk.world.serving().get("a").is_none_or(|v| v == "v1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        desk.control().stop("anna", "wrong ticket").await.unwrap();
    };
    // The watch lasts long enough for an order in its middle; nobody waits for its end.
    let (report, ()) = tokio::join!(desk.run(strategy().watch(holding(600.0)), "v2"), ordering);
    assert_eq!(report.outcome, RolloutOutcome::Cancelled, "{report:?}");
    assert_eq!(report.reason.as_deref(), Some("stopped by anna: wrong ticket"));
    let serving = desk.world.serving();
    assert_eq!(serving.values().collect::<Vec<_>>(), ["v2", "v1", "v1"]);
    assert_eq!(desk.world.wrongs(), [""; 0]);
    // The order was for that rollout; the next one does not hear it.
    assert_eq!(desk.run(strategy(), "v2").await.outcome, RolloutOutcome::Deployed);
}

#[tokio::test]
async fn somebody_wants_it_back_while_a_gate_waits() {
    let desk = Desk::of(&["a", "b", "c"]);
    desk.run(strategy(), "v1").await;
    let ordering = async {
        while desk.world.serving().get("a").is_none_or(|v| v == "v1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        desk.control().roll_back("anna", "5xx").await.unwrap();
    };
    let (report, ()) = tokio::join!(desk.run(strategy().watch(holding(600.0)), "v2"), ordering);
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(report.reason.as_deref(), Some("anna: 5xx wants it rolled back"));
    assert!(desk.world.serving().values().all(|v| v == "v1"));
    assert_eq!(desk.world.wrongs(), [""; 0]);
}

#[tokio::test]
async fn a_gate_s_policy_may_ask_somebody() {
    let desk = Desk::of(&["a", "b"]);
    desk.run(strategy(), "v1").await;
    desk.world.lock().verdicts.extend([towpath_core::VerdictKind::Error]);
    let policy = Verdicts { error: Policy::then(Then::Ask), ..Verdicts::default() };
    let ordering = async {
        let status = until(&desk, |s| !s.questions.is_empty()).await;
        assert_eq!(status.questions[0].key, "health/a");
        desk.control().answer(true, "anna", "the monitor is down, the page is fine").await.unwrap();
    };
    let (report, ()) = tokio::join!(desk.run(strategy().verdicts(policy), "v2"), ordering);
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
}

#[tokio::test]
async fn orders_to_nobody_are_refused() {
    let desk = Desk::of(&["a"]);
    let control = desk.control();
    assert!(control.status().await.unwrap().is_none());
    for refused in
        [control.pause("anna", "").await, control.stop("anna", "").await, control.answer(true, "anna", "").await]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("service=web"), "{error}");
    }
}
