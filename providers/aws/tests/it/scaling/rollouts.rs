//! Core's rollout on top: verdicts, the way back, and scaling that is suspended meanwhile and always resumed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use towpath_aws::AwsAutoScaling;
use towpath_core::pipeline::Engine;
use towpath_core::rollout::{Rolling, Rollout, RolloutOutcome};
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{Context, Faults, Inventory, Journal, MemoryStore, Registry, RunId, Store as _, Targets};

use super::simulator::{BAD_AMI, Simulator};
use super::{both, config, refresh, release};
use crate::support::Seen;

const USUAL: [&str; 3] = ["AZRebalance", "AlarmNotification", "ScheduledActions"];

struct Desk {
    simulator: Simulator,
    store: Arc<MemoryStore>,
}

impl Desk {
    fn new(desired: usize, max: usize) -> Self {
        Self { simulator: Simulator::start(desired, max), store: Arc::new(MemoryStore::new()) }
    }

    fn rollout(&self, how: towpath_aws::Replacement) -> Rollout {
        let deployer = AwsAutoScaling::new(config(&self.simulator, how)).unwrap();
        Rollout::new(Arc::new(deployer), Rolling { drain_lease_s: 1.0, ..Rolling::default() })
    }

    /// The context of a process of this run that starts now.
    async fn context(&self, run: &RunId, seen: &Seen) -> Context {
        let entries = self.store.journal(run).await.unwrap_or_default();
        let journal = Journal::in_store(self.store.clone(), run.clone(), None, &entries, Faults::none());
        seen.context()
            .environment("production")
            .store(self.store.clone())
            .journal(run.clone(), journal)
            .build()
            .for_step("roll out")
    }

    async fn run(
        &self,
        how: towpath_aws::Replacement,
        version: &str,
        ami: &str,
    ) -> towpath_core::rollout::RolloutReport {
        let cx = self.context(&RunId::new(), &Seen::default()).await;
        self.rollout(how).run(&cx, &release(version, ami), &targets()).await.unwrap()
    }

    fn suspended(&self) -> Vec<String> {
        self.simulator.world().suspended.iter().cloned().collect()
    }
}

fn targets() -> Targets {
    Targets::new(Inventory::default(), Arc::new(Nowhere))
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_goes_back_and_scaling_is_resumed() {
    for how in both() {
        let desk = Desk::new(2, 4);
        desk.simulator.world().suspended.insert("ScheduledActions".into());
        assert_eq!(desk.run(how.clone(), "v1", "ami-00aa").await.outcome, RolloutOutcome::Deployed);
        assert_eq!(desk.run(how.clone(), "v1", "ami-00aa").await.outcome, RolloutOutcome::Unchanged);
        let report = desk.run(how.clone(), "v2", BAD_AMI).await;
        assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
        assert_eq!(desk.suspended(), ["ScheduledActions"], "what others suspended stays so, and nothing else");
        assert!(desk.store.leases().await.unwrap().is_empty());
        let world = desk.simulator.world();
        assert_eq!(world.amis(), ["ami-00aa"; 2]);
        assert_eq!(world.fewest, 2, "no capacity was lost on the way there or back");
        assert!(world.tags.is_empty(), "{:?}", world.tags);
        // Once for each of three moves: there, there, back.
        assert_eq!(world.calls.iter().filter(|c| *c == "SuspendProcesses").count(), 3);
    }
}

/// An AMI that is not there, or a permission that is missing: to go "back" would replace every instance for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_can_not_be_started_replaces_nothing_and_may_come_again() {
    for how in both() {
        let desk = Desk::new(2, 4);
        assert_eq!(desk.run(how.clone(), "v1", "ami-00aa").await.outcome, RolloutOutcome::Deployed);
        let starts = ["StartInstanceRefresh", "UpdateAutoScalingGroup"];
        let begun = || starts.map(|call| desk.simulator.count(call)).iter().sum::<usize>();
        let before = begun();
        let fails = |report: towpath_core::rollout::RolloutReport, why: &str| {
            let reason = report.reason.clone().unwrap_or_default();
            assert_eq!(report.outcome, RolloutOutcome::Failed, "{report:?}");
            assert!(reason.contains(why) && reason.ends_with("the group was not touched"), "{reason}");
        };
        fails(desk.run(how.clone(), "v2", "ami-0404").await, "there is no such AMI in this region");
        assert_eq!(begun(), before, "nothing was started");
        let denied = starts.map(|call| (call.to_owned(), 1, "AccessDenied".to_owned()));
        desk.simulator.world().fails.extend(denied);
        fails(desk.run(how.clone(), "v2", "ami-00bb").await, "it could not be started");
        assert_eq!(begun(), before + 1, "it was asked once, in vain");
        desk.simulator.world().fails.clear();
        assert!(desk.simulator.world().tags.is_empty(), "{:?}", desk.simulator.world().tags);
        assert_eq!(desk.simulator.world().amis(), ["ami-00aa"; 2]);
        assert_eq!(desk.run(how.clone(), "v2", "ami-00bb").await.outcome, RolloutOutcome::Deployed);
        assert_eq!(desk.simulator.world().amis(), ["ami-00bb"; 2]);
    }
}

/// Killed while Auto Scaling works: a sweep resumes scaling, and the run goes on with the same refresh.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_a_lease_whose_undo_resumes_scaling() {
    let desk = Desk::new(2, 4);
    desk.simulator.world().frozen = true;
    let (run, seen) = (RunId::new(), Seen::default());
    let (cx, rollout) = (desk.context(&run, &seen).await, desk.rollout(refresh()));
    let rolling = tokio::spawn(async move { rollout.run(&cx, &release("v1", "ami-00aa"), &targets()).await });
    until("it is followed", || seen.text().contains("instance refresh Pending")).await;
    assert_eq!(desk.suspended(), USUAL);
    let leases = desk.store.leases().await.unwrap();
    let freeze = leases.iter().find(|l| l.key == "freeze/production/web").expect("it is a lease");
    assert_eq!(freeze.undo.as_ref().map(|u| u.verb.as_str()), Some("resume"));
    rolling.abort();
    assert!(rolling.await.unwrap_err().is_cancelled());
    // Nobody here can see that it is dead: this process lives.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mut registry = Registry::new();
    towpath_aws::register(&mut registry);
    let engine = Engine::new(Arc::new(registry), desk.store.clone());
    let swept = engine.sweep().await.unwrap();
    let outcome = &swept.iter().find(|s| s.lease.key == "freeze/production/web").expect("it is swept").outcome;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(desk.suspended().is_empty());
    desk.simulator.world().frozen = false;
    let cx = desk.context(&run, &Seen::default()).await;
    let report = desk.rollout(refresh()).run(&cx, &release("v1", "ami-00aa"), &targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    assert_eq!(desk.simulator.count("StartInstanceRefresh"), 1, "the same refresh");
    assert!(desk.suspended().is_empty());
    assert!(desk.simulator.world().tags.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_rollout_ends_its_move_and_resumes_scaling() {
    for how in both() {
        let desk = Desk::new(2, 4);
        let by_refresh = how == refresh();
        desk.simulator.world().frozen = by_refresh;
        let seen = Seen::default();
        let (cx, token) = desk.context(&RunId::new(), &seen).await.child();
        let rollout = desk.rollout(how);
        let rolling = tokio::spawn(async move { rollout.run(&cx, &release("v1", BAD_AMI), &targets()).await });
        until("it is followed", || seen.text().contains("phase: \"follow\"")).await;
        assert_eq!(desk.suspended(), USUAL);
        token.cancel();
        until("a cancel gets there", || !by_refresh || desk.simulator.count("CancelInstanceRefresh") == 1).await;
        desk.simulator.world().frozen = false;
        let report = rolling.await.unwrap().unwrap();
        assert_eq!(report.outcome, RolloutOutcome::Cancelled, "{report:?}");
        assert!(desk.suspended().is_empty());
        assert!(desk.store.leases().await.unwrap().is_empty());
        assert_eq!(desk.simulator.world().amis().into_iter().collect::<BTreeSet<_>>(), ["ami-0000".to_owned()].into());
    }
}

/// Where AWS refuses to resume for long, the lease is left for whoever comes next, and a warning says so.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_that_can_not_be_resumed_is_left_to_a_sweep() {
    let desk = Desk::new(1, 3);
    desk.simulator.world().fails.push(("ResumeProcesses".into(), 100, "AccessDenied".into()));
    let seen = Seen::default();
    let cx = desk.context(&RunId::new(), &seen).await;
    let report = desk.rollout(refresh()).run(&cx, &release("v1", "ami-00aa"), &targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    assert!(seen.text().contains("scaling of web is still suspended"), "{}", seen.text());
    assert_eq!(desk.suspended(), USUAL);
    assert!(desk.store.leases().await.unwrap().iter().any(|l| l.key == "freeze/production/web"));
    desk.simulator.world().fails.clear();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mut registry = Registry::new();
    towpath_aws::register(&mut registry);
    Engine::new(Arc::new(registry), desk.store.clone()).sweep().await.unwrap();
    assert!(desk.suspended().is_empty());
    assert!(desk.store.leases().await.unwrap().is_empty());
}
