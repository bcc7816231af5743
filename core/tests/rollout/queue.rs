use std::sync::Arc;
use std::time::Duration;

use towpath_core::rollout::{Approval, RolloutOutcome};
use towpath_core::{LeaseOwner, OwnerProcess, RunId, waiting};

use super::world::release;
use super::{Desk, strategy};

#[tokio::test]
async fn rollouts_of_a_service_wait_for_their_turn_in_the_order_in_which_they_came() {
    let desk = Arc::new(Desk::of(&["a"]));
    desk.run(strategy(), "v1").await;
    let key = format!("deploy/{}/web", desk.cx().environment());
    let start = |version: &'static str, ask: bool| {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let asks = strategy().approval(Approval::ask("now?"));
            desk.run(if ask { asks } else { strategy() }, version).await
        })
    };
    let first = start("v2", true);
    while desk.control().status().await.unwrap().is_none_or(|s| s.phase != "asking") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut others = Vec::new();
    for (n, version) in ["v3", "v4", "v5"].into_iter().enumerate() {
        others.push(start(version, false));
        while waiting(&desk.store, &key).await.unwrap().len() <= n {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let reasons: Vec<String> = waiting(&desk.store, &key).await.unwrap().into_iter().map(|w| w.reason).collect();
    assert_eq!(reasons, ["rolls out web v3", "rolls out web v4", "rolls out web v5"]);
    desk.control().answer(true, "anna", "").await.unwrap();
    assert_eq!(first.await.unwrap().outcome, RolloutOutcome::Deployed);
    for other in others {
        assert_eq!(other.await.unwrap().outcome, RolloutOutcome::Deployed);
    }
    let activated: Vec<String> = desk.world.log().into_iter().filter(|l| l.starts_with("activate")).collect();
    assert_eq!(activated, ["activate a v1", "activate a v2", "activate a v3", "activate a v4", "activate a v5"]);
    assert!(waiting(&desk.store, &key).await.unwrap().is_empty());
    assert!(desk.store.leases().await.unwrap().is_empty());
}

/// Two steps of one run may roll out the same service. The second one must not take the first one for an earlier process of its own.
#[tokio::test]
async fn two_steps_of_one_run_wait_for_each_other_too() {
    let desk = Arc::new(Desk::of(&["a"]));
    desk.run(strategy(), "v1").await;
    let run = RunId::new();
    let start = |version: &'static str, ask: bool| {
        let (desk, run) = (Arc::clone(&desk), run.clone());
        tokio::spawn(async move {
            let (id, process) = (version.to_owned(), OwnerProcess::this());
            let owner = LeaseOwner { id, run: Some(run), label: "one process".into(), process };
            let asks = if ask { strategy().approval(Approval::ask("now?")) } else { strategy() };
            desk.rollout(asks).owner(owner).run(&desk.cx(), &release(version), &desk.world.targets()).await.unwrap()
        })
    };
    let first = start("v2", true);
    while desk.control().status().await.unwrap().is_none_or(|s| s.phase != "asking") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = start("v3", false);
    let key = format!("deploy/{}/web", desk.cx().environment());
    while waiting(&desk.store, &key).await.unwrap().is_empty() {
        assert!(!second.is_finished(), "it waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    desk.control().answer(true, "anna", "").await.unwrap();
    assert_eq!(first.await.unwrap().outcome, RolloutOutcome::Deployed);
    assert_eq!(second.await.unwrap().outcome, RolloutOutcome::Deployed);
    assert_eq!(desk.world.serving()["a"], "v3");
}
