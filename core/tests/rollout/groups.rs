//! A deployer that moves a whole group, and wants something switched off meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use towpath_core::pipeline::Pipeline;
use towpath_core::rollout::{
    Approval, Hook, HookRun, Phase, Rolling, Rollout, RolloutOutcome, RolloutReport, TargetOutcome,
};
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{
    Capabilities, Connector, Context, Deployer, DeploymentOutcome, Error, ErrorKind, GroupJob, GroupState, Host,
    Inventory, Json, MemoryStore, Preflight, Registry, Release, Result, RunState, Staged, Store, Target, TargetGroup,
    TargetState, Targets, Undo,
};

use super::crash::{run_dying, run_with};
use super::hooks::Heard;
use super::world::release;

/// A group in memory, that notices what must not happen.
#[derive(Debug, Clone, Default)]
struct Fleet(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    current: Option<String>,
    suspended: bool,
    jobs: usize,
    bad: BTreeSet<String>,
    wrongs: Vec<String>,
    /// Every `resume` fails.
    stuck: bool,
    /// Every start fails so, but of v1.
    refuses: Option<ErrorKind>,
    cancelled: bool,
}

impl Fleet {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Only while it is suspended.
    fn moves(&self, what: &str) {
        let mut state = self.state();
        if !state.suspended {
            state.wrongs.push(format!("{what} while nothing was suspended"));
        }
    }

    fn rollout(&self, strategy: Rolling) -> Rollout {
        Rollout::new(Arc::new(self.clone()), strategy)
    }

    fn registry(&self) -> Arc<Registry> {
        let mut registry = Registry::new();
        let fleet = self.clone();
        registry.deployer("fleet", move |_: Json, _| Ok(Arc::new(fleet.clone()) as Arc<dyn Deployer>));
        registry.connector("ssh", |_: Json, _| Ok(Arc::new(Nowhere) as Arc<dyn Connector>));
        Arc::new(registry)
    }
}

fn no<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "fleet", "verb", "groups only"))
}

#[async_trait]
impl Deployer for Fleet {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["group"])
    }
    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }
    async fn stage(&self, _: &Context, _: &Target, _: &Release) -> Result<Staged> {
        no()
    }
    async fn activate(&self, _: &Context, _: &Target, _: &Release) -> Result<()> {
        no()
    }
    async fn deactivate(&self, _: &Context, _: &Target) -> Result<()> {
        no()
    }
    async fn probe(&self, _: &Context, _: &Target) -> Result<TargetState> {
        no()
    }

    async fn start(&self, _: &Context, _: &TargetGroup, release: &Release) -> Result<GroupJob> {
        self.moves("a start");
        let mut state = self.state();
        if let Some(kind) = state.refuses.filter(|_| release.version != "v1") {
            return Err(Error::new(kind, "fleet", "start", "not this one"));
        }
        state.jobs += 1;
        // Some instances are new already.
        state.current = None;
        Ok(GroupJob { id: release.version.clone(), detail: Json::Null })
    }

    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState> {
        self.moves("a move");
        if job.id == "endless" && !self.state().cancelled {
            cx.sleep("fleet", "follow", Duration::from_secs(600)).await?;
        }
        let mut state = self.state();
        if state.bad.contains(&job.id) {
            return Err(Error::new(ErrorKind::Unhealthy, "fleet", "follow", "it does not come up"));
        }
        state.current = Some(job.id.clone());
        Ok(GroupState { current: state.current.clone(), moving: false, healthy: true })
    }

    async fn cancel(&self, _: &Context, _: &GroupJob) -> Result<()> {
        self.state().cancelled = true;
        Ok(())
    }

    async fn probe_group(&self, _: &Context, _: &TargetGroup) -> Result<GroupState> {
        Ok(GroupState { current: self.state().current.clone(), moving: false, healthy: true })
    }

    fn suspends(&self, cx: &Context, group: &str) -> Option<Undo> {
        Some(Undo {
            provider: "fleet".into(),
            config: json!({}),
            verb: "resume".into(),
            arguments: json!(group),
            environment: cx.environment().to_owned(),
        })
    }

    async fn suspend(&self, _: &Context, _: &str) -> Result<()> {
        self.state().suspended = true;
        Ok(())
    }

    async fn resume(&self, _: &Context, group: &str) -> Result<()> {
        assert_eq!(group, "web");
        let mut state = self.state();
        if state.stuck {
            return Err(Error::new(ErrorKind::Denied, "fleet", "resume", "not today"));
        }
        state.suspended = false;
        Ok(())
    }
}

fn pipeline(version: &str) -> Pipeline {
    let step = json!({
        "name": "roll",
        "uses": { "verb": "deploy", "provider": "fleet", "config": {} },
        "inputs": { "release": release(version), "inventory": Inventory::default(), "rollout": Rolling::default() },
    });
    serde_json::from_value(json!({ "name": format!("web {version}"), "steps": [step] })).unwrap()
}

/// What a guardian does when the deployer is dead.
async fn undo(fleet: &Fleet, store: &Arc<dyn Store>) {
    for lease in store.leases().await.unwrap() {
        let Some(undo) = &lease.undo else { continue };
        assert_eq!((undo.verb.as_str(), &undo.arguments), ("resume", &json!("web")));
        fleet.resume(&Context::new(), "web").await.unwrap();
        store.release(&lease.fence()).await.unwrap();
    }
}

/// At each change of the store a process dies; a guardian makes it safe or does not; the next process goes on.
async fn each_point(bad: bool, guarded: bool) {
    for k in 0.. {
        let (fleet, store) = (Fleet::default(), Arc::new(MemoryStore::new()) as Arc<dyn Store>);
        let first = run_with(fleet.registry(), &store, &pipeline("v1"), usize::MAX).await;
        assert_eq!((first, fleet.state().suspended), (Some(RunState::Done), false));
        if bad {
            fleet.state().bad.insert("v2".into());
        }
        let whole = run_dying(fleet.registry(), &store, &pipeline("v2"), k).await;
        let at = format!("killed at {k}, guarded: {guarded}, bad: {bad}");
        if whole.is_none() && guarded {
            undo(&fleet, &store).await;
            assert!(!fleet.state().suspended, "{at}");
        }
        let state = match whole {
            Some(state) => state,
            None => run_with(fleet.registry(), &store, &pipeline("v2"), usize::MAX).await.unwrap(),
        };
        let wanted = if bad { (RunState::RolledBack, "v1") } else { (RunState::Done, "v2") };
        let (current, suspended, wrongs) = {
            let seen = fleet.state();
            (seen.current.clone(), seen.suspended, seen.wrongs.clone())
        };
        assert_eq!((state, current.as_deref()), (wanted.0, Some(wanted.1)), "{at}");
        assert!(!suspended && wrongs.is_empty(), "{at}: {wrongs:?}");
        let leases: Vec<String> = store.leases().await.unwrap().into_iter().map(|l| l.key).collect();
        assert_eq!(leases, [""; 0], "{at}");
        if whole.is_some() {
            assert!(k > 40, "only {k} points");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_suspended_is_on_again_after_a_crash_at_every_point() {
    each_point(false, false).await;
    each_point(false, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_after_a_crash_on_the_way_back() {
    each_point(true, false).await;
    each_point(true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_resumes_it_and_a_resume_that_fails_leaves_a_lease() {
    let (fleet, store) = (Fleet::default(), Arc::new(MemoryStore::new()) as Arc<dyn Store>);
    let targets = Targets::new(Inventory::default(), Arc::new(Nowhere));
    let rollout = || Rollout::new(Arc::new(fleet.clone()), Rolling { drain_lease_s: 1.0, ..Rolling::default() });
    let (cx, token) = Context::builder().store(Arc::clone(&store)).build().child();
    let (rolling, to) = (rollout(), targets.clone());
    let running = tokio::spawn(async move { rolling.run(&cx, &release("endless"), &to).await });
    while !(fleet.state().suspended && fleet.state().jobs == 1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    token.cancel();
    assert_eq!(running.await.unwrap().unwrap().outcome, RolloutOutcome::Cancelled);
    assert!(!fleet.state().suspended);
    assert!(store.leases().await.unwrap().is_empty());
    fleet.state().stuck = true;
    let cx = Context::builder().store(Arc::clone(&store)).build();
    let report = rollout().run(&cx, &release("v1"), &targets).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    assert!(fleet.state().suspended);
    let leases: Vec<String> = store.leases().await.unwrap().into_iter().map(|l| l.key).collect();
    assert_eq!(leases, ["freeze/default/web"], "for whoever comes next");
}

/// A group of one known host, that runs v1.
async fn running_v1() -> (Fleet, Arc<dyn Store>) {
    let (fleet, store) = (Fleet::default(), Arc::new(MemoryStore::new()) as Arc<dyn Store>);
    assert_eq!(roll(&store, fleet.rollout(Rolling::default()), "v1").await.outcome, RolloutOutcome::Deployed);
    (fleet, store)
}

async fn roll(store: &Arc<dyn Store>, rollout: Rollout, version: &str) -> RolloutReport {
    let hosts = vec![Host { name: "i-1".into(), ..Host::default() }];
    let targets = Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::new(Nowhere));
    let cx = Context::builder().store(Arc::clone(store)).build();
    rollout.run(&cx, &release(version), &targets).await.unwrap()
}

/// Jobs until now, and what the ledger says of v2.
async fn seen(fleet: &Fleet, store: &Arc<dyn Store>) -> (usize, Option<DeploymentOutcome>) {
    let entries = store.deployments("default", "web").await.unwrap();
    (fleet.state().jobs, entries.iter().rfind(|d| d.release.version == "v2").map(|d| d.outcome))
}

/// An image that is not there, or somebody else's move under way: going "back" would replace instances for nothing, and the
/// release would be refused from then on.
#[tokio::test]
async fn a_group_that_was_not_touched_is_not_taken_back_and_the_release_may_come_again() {
    let answer = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(answer.path(), "no\n").unwrap();
    let (call, heard) = (HookRun::function, Heard::new());
    let hooked = Rolling::default().hook(Hook::before(Phase::Rollout, call("migrate")).undo(call("unmigrate")));
    let asks = Rolling::default().approval(Approval::ask("go?").file(answer.path()).limit_s(5.0));
    let not_started = "it could not be started: fleet start: not this one";
    let cases = [
        (hooked.clone(), Some(ErrorKind::NotFound), "", not_started),
        (Rolling::default(), Some(ErrorKind::Conflict), "", not_started),
        (asks, None, "", "no"),
        (hooked, None, "migrate", "the hook before rollout failed"),
    ];
    for (strategy, refuses, failing, why) in cases {
        let (fleet, store) = running_v1().await;
        fleet.state().refuses = refuses;
        let hooks = strategy.hooks.len();
        let rollout = heard.with(fleet.rollout(strategy), &["migrate", "unmigrate"], failing);
        let report = roll(&store, rollout, "v2").await;
        let reason = report.reason.clone().unwrap_or_default();
        assert_eq!(report.outcome, RolloutOutcome::Failed, "{report:?}");
        let calls = ["migrate web v1->v2 -", "unmigrate web v1->v2 -"];
        assert_eq!(heard.lines(), calls[..2 * hooks], "what hooks did is taken back");
        assert!(reason.contains(why) && reason.ends_with("the group was not touched"), "{reason}");
        let target = &report.targets[0];
        assert_eq!((target.state, target.version.as_deref()), (TargetOutcome::Untouched, Some("v1")), "{report:?}");
        assert_eq!(seen(&fleet, &store).await, (1, Some(DeploymentOutcome::Failed)), "{why}");
        assert!(!fleet.state().suspended);
        fleet.state().refuses = None;
        assert_eq!(
            roll(&store, fleet.rollout(Rolling::default()), "v2").await.outcome,
            RolloutOutcome::Deployed,
            "{why}"
        );
    }
}

/// An answer that did not come says nothing: it may have begun.
#[tokio::test]
async fn a_start_of_which_nobody_knows_is_taken_back() {
    let (fleet, store) = running_v1().await;
    fleet.state().refuses = Some(ErrorKind::Unreachable);
    let report = roll(&store, fleet.rollout(Rolling::default()), "v2").await;
    let wanted = (RolloutOutcome::RolledBack, TargetOutcome::RolledBack);
    assert_eq!((report.outcome, report.targets[0].state), wanted, "{report:?}");
    assert_eq!(seen(&fleet, &store).await, (2, Some(DeploymentOutcome::RolledBack)));
}

/// The start of before the crash has moved something: that the one after it is refused does not make the group whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_a_crash_has_taken_counts_as_one() {
    let mut gone_back = 0;
    for k in 0.. {
        let (fleet, store) = (Fleet::default(), Arc::new(MemoryStore::new()) as Arc<dyn Store>);
        run_with(fleet.registry(), &store, &pipeline("v1"), usize::MAX).await.unwrap();
        let whole = run_dying(fleet.registry(), &store, &pipeline("v2"), k).await;
        if whole.is_some() {
            break;
        }
        let mixed = fleet.state().current.is_none();
        fleet.state().refuses = Some(ErrorKind::NotFound);
        run_with(fleet.registry(), &store, &pipeline("v2"), usize::MAX).await.unwrap();
        let current = fleet.state().current.clone();
        assert!(current.is_some(), "killed at {k}: a mixed group was left alone");
        gone_back += usize::from(mixed && current.as_deref() == Some("v1"));
    }
    assert!(gone_back > 0, "no kill came between a start and its record");
}
