use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use towpath_core::pipeline::{Engine, Pipeline, RunOptions};
use towpath_core::rollout::{Batch, BlueGreen, CanaryStep, OnFailure, Rolling};
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{
    Backend, Balancer, Connector, Context, Deployer, ErrorKind, Faults, Json, MemoryStore, Monitor, Registry, RunState,
    Store, VerdictKind,
};

use super::dying::Dying;
use super::world::{World, release};
use super::{gate, strategy};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

fn registry(world: &World) -> Arc<Registry> {
    let mut registry = Registry::new();
    let w = world.clone();
    registry.deployer("world", move |_: Nothing, _| Ok(Arc::new(w.clone()) as Arc<dyn Deployer>));
    let w = world.clone();
    registry.balancer("world", move |_: Nothing, _| Ok(Arc::new(w.clone()) as Arc<dyn Balancer>));
    let w = world.clone();
    registry.monitor("world", move |_: Nothing, _| Ok(Arc::new(w.clone()) as Arc<dyn Monitor>));
    registry.connector("ssh", |_: Nothing, _| Ok(Arc::new(Nowhere) as Arc<dyn Connector>));
    Arc::new(registry)
}

fn pipeline(world: &World, strategy: &Rolling, version: &str) -> Pipeline {
    let step = json!({
        "name": "roll",
        "uses": { "verb": "deploy", "provider": "world", "config": {} },
        "inputs": { "release": release(version), "inventory": world.inventory(), "rollout": strategy },
    });
    serde_json::from_value(json!({ "name": format!("web {version}"), "steps": [step] })).unwrap()
}

/// Where a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Points {
    /// Before and after each entry of the journal.
    Journal,
    /// Before and after each change of the store: leases, the ledger and orders, too.
    Store,
}

/// Runs a pipeline in a process that dies at the `k`th point of its journal. `None`: it died.
async fn run(world: &World, store: &Arc<dyn Store>, pipeline: &Pipeline, k: usize) -> Option<RunState> {
    run_with(registry(world), store, pipeline, k).await
}

/// The same with other providers.
pub(super) async fn run_with(
    registry: Arc<Registry>,
    store: &Arc<dyn Store>,
    pipeline: &Pipeline,
    k: usize,
) -> Option<RunState> {
    let seen = AtomicUsize::new(0);
    let faults = Faults::at_every_point(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) == k {
            std::panic::panic_any("killed");
        }
    });
    go(Engine::new(registry, Arc::clone(store)).faults(faults), store, pipeline).await
}

/// The same, with each change of the store as a point.
pub(super) async fn run_dying(
    registry: Arc<Registry>,
    store: &Arc<dyn Store>,
    pipeline: &Pipeline,
    k: usize,
) -> Option<RunState> {
    go(Engine::new(registry, Arc::new(Dying::new(store, k))), store, pipeline).await
}

async fn go(engine: Engine, store: &Arc<dyn Store>, pipeline: &Pipeline) -> Option<RunState> {
    let pipeline = pipeline.clone();
    let done = tokio::spawn(async move { engine.run(&pipeline, RunOptions::default()).await }).await;
    match done {
        Ok(Ok(report)) => Some(report.state),
        died => {
            // Inside a step the engine itself sees the panic, and does nothing more.
            let panicked = match &died {
                Err(e) => e.is_panic(),
                Ok(Err(e)) => e.kind() == ErrorKind::Internal && e.report().contains("killed"),
                Ok(Ok(_)) => false,
            };
            assert!(panicked, "{died:?}");
            // The process of this test is alive, so nobody would believe that the engine is dead.
            for lease in store.leases().await.unwrap().iter().filter(|l| l.undo.is_none()) {
                store.release(&lease.fence()).await.unwrap();
            }
            None
        }
    }
}

/// What a guardian does when the deployer is dead.
async fn undo(world: &World, store: &Arc<dyn Store>) {
    for lease in store.leases().await.unwrap() {
        let Some(undo) = &lease.undo else { continue };
        let backend: Backend = serde_json::from_value(undo.arguments.clone()).unwrap();
        Balancer::add(world, &Context::new(), &backend).await.unwrap();
        store.release(&lease.fence()).await.unwrap();
    }
}

/// Kills the rollout of v2 over v1 at every point, with a guardian and without, lets a second process go on, and looks at what it
/// left. The fast tier takes every fifth point.
async fn at_every_point(hosts: &[&str], strategy: Rolling, bad: bool, least: usize) {
    for points in [Points::Journal, Points::Store] {
        for guarded in [false, true] {
            each_point(hosts, &strategy, bad, least, (points, guarded)).await;
        }
    }
}

async fn each_point(hosts: &[&str], strategy: &Rolling, bad: bool, least: usize, how: (Points, bool)) {
    let (points, guarded) = how;
    let mut ends = BTreeSet::new();
    let stride = if std::env::var_os("TOWPATH_TEST_FULL").is_some() { 1 } else { 5 };
    for k in (0..).step_by(stride) {
        let (world, store) = (World::of(hosts), Arc::new(MemoryStore::new()) as Arc<dyn Store>);
        let first = run(&world, &store, &pipeline(&world, strategy, "v1"), usize::MAX).await;
        assert_eq!(first, Some(RunState::Done));
        let before = world.serving();
        if bad {
            world.lock().bad_under_load.insert("v2".into());
        }
        world.lock().least = least;
        let v2 = pipeline(&world, strategy, "v2");
        let whole = match points {
            Points::Journal => run(&world, &store, &v2, k).await,
            Points::Store => run_dying(registry(&world), &store, &v2, k).await,
        };
        let state = match whole {
            Some(state) => state,
            None => {
                if guarded {
                    undo(&world, &store).await;
                }
                run(&world, &store, &v2, usize::MAX).await.unwrap()
            }
        };
        ends.insert(format!("{state:?}"));
        let serving = world.serving();
        assert_eq!(world.wrongs(), [""; 0], "killed at {k}, {how:?}");
        assert_eq!(serving.len(), before.len(), "killed at {k}, {how:?}: {serving:?}");
        let wanted = if bad { "v1" } else { "v2" };
        assert!(serving.values().all(|v| v == wanted), "killed at {k}, {how:?}: {serving:?}");
        let leases: Vec<String> = store.leases().await.unwrap().into_iter().map(|l| l.key).collect();
        assert_eq!(leases, [""; 0], "killed at {k}, {how:?}");
        assert!(store.documents("rollout/default/web").await.unwrap().is_empty(), "killed at {k}, {how:?}");
        if whole.is_some() {
            assert!(k > 40, "only {k} points");
            break;
        }
    }
    let wanted = if bad { "RolledBack" } else { "Done" };
    assert_eq!(ends, BTreeSet::from([wanted.to_owned()]));
}

fn canary() -> Rolling {
    let first = CanaryStep::of(Batch::Count(1)).bake(gate());
    Rolling { canary: vec![first], ..strategy() }.batch(Batch::Count(2)).watch(gate())
}

fn blue_green() -> Rolling {
    Rolling { blue_green: Some(BlueGreen::groups("blue", "green")), ..strategy() }.watch(gate())
}

const COLOURED: [&str; 4] = ["blue-1", "blue-2", "green-1", "green-2"];

#[tokio::test]
async fn rolling_on() {
    at_every_point(&["a", "b", "c"], strategy().watch(gate()), false, 2).await;
}

#[tokio::test]
async fn rolling_back() {
    at_every_point(&["a", "b", "c"], strategy().watch(gate()), true, 2).await;
}

#[tokio::test]
async fn a_canary_going_on() {
    at_every_point(&["a", "b", "c", "d"], canary(), false, 2).await;
}

#[tokio::test]
async fn a_canary_going_back() {
    at_every_point(&["a", "b", "c", "d"], canary(), true, 2).await;
}

#[tokio::test]
async fn a_switch() {
    at_every_point(&COLOURED, blue_green(), false, 2).await;
}

#[tokio::test]
async fn a_switch_and_back() {
    at_every_point(&COLOURED, blue_green(), true, 2).await;
}

/// Nothing is rolled back: the ill target stays as it is, and nobody puts it into service, whoever carried the undo out.
#[tokio::test]
async fn stopping_where_it_is() {
    let stops = strategy().on_failure(OnFailure::Stop);
    for k in 0.. {
        let (world, store) = (World::of(&["a", "b"]), Arc::new(MemoryStore::new()) as Arc<dyn Store>);
        run(&world, &store, &pipeline(&world, &stops, "v1"), usize::MAX).await;
        world.lock().verdicts.extend([VerdictKind::Fail; 20]);
        let v2 = pipeline(&world, &stops, "v2");
        let whole = run(&world, &store, &v2, k).await;
        if whole.is_none() {
            undo(&world, &store).await;
            run(&world, &store, &v2, usize::MAX).await.unwrap();
        }
        let serving: Vec<String> = world.serving().into_iter().map(|(h, v)| format!("{h} {v}")).collect();
        assert_eq!(serving, ["b v1"], "killed at {k}");
        assert!(store.leases().await.unwrap().is_empty(), "killed at {k}");
        if whole.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn a_switch_that_stops_the_former_release() {
    let stops = BlueGreen::groups("blue", "green").stop_old(true);
    at_every_point(&COLOURED, Rolling { blue_green: Some(stops), ..blue_green() }, false, 2).await;
}

#[test]
fn a_strategy_reads_what_it_writes() {
    for strategy in [canary(), blue_green(), strategy()] {
        let written: Json = serde_json::to_value(&strategy).unwrap();
        assert_eq!(serde_json::from_value::<Rolling>(written).unwrap(), strategy);
    }
}
