//! Ends the process at every fault point of a small pipeline with every kind of effect, one after another, and runs it again.
//!
//! Without a test harness: the same program is the child that dies. Each time the next run must end in the same state, no
//! finished effect may have run twice, and no lease may be left.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use towpath_core::pipeline::{CallStep, Engine, OutputKind, PipelineBuilder, RetryPolicy, RunOptions, Values};
use towpath_core::{
    Context, Error, ErrorKind, FaultPoint, Faults, Record, Registry, Result, RunFilter, RunState, StepState,
};

const DIR: &str = "TOWPATH_CRASH_DIR";
const AT: &str = "TOWPATH_CRASH_AT";

/// One line per effect that happened, written through to the disk, as the world would remember it.
fn happen(dir: &Path, what: &str) {
    let mut log = std::fs::File::options().append(true).create(true).open(dir.join("world")).unwrap();
    log.write_all(format!("{what}\n").as_bytes()).unwrap();
    log.sync_all().unwrap();
}

fn happened(dir: &Path, what: &str) -> usize {
    std::fs::read_to_string(dir.join("world")).unwrap_or_default().lines().filter(|l| *l == what).count()
}

fn registry(dir: &Path) -> Registry {
    let mut registry = Registry::new();
    let world = dir.to_owned();
    registry
        .function("probed/v1", move |cx: Context, inputs: Values| {
            let world = world.clone();
            async move {
                let name = inputs["name"].as_str().unwrap().to_owned();
                let (acts, looks) = ((world.clone(), name.clone()), (world, name.clone()));
                let act = |_| async move {
                    happen(&acts.0, &acts.1);
                    Ok("made".to_owned())
                };
                let probe = |_| async move { Ok((happened(&looks.0, &looks.1) > 0).then(|| "made".to_owned())) };
                let made: String = cx.effect("make", json!({ "name": name }), act, probe).await?;
                Ok(Values::from([("made".to_owned(), json!(made))]))
            }
        })
        .output("made", OutputKind::String);
    let world = dir.to_owned();
    registry.function("idempotent/v1", move |cx: Context, inputs: Values| {
        let world = world.clone();
        async move {
            let name = inputs["name"].as_str().unwrap().to_owned();
            // Nested: the outer one is replayed whole, the inner ones one by one.
            cx.effect_idempotent("outer", json!({}), |cx| async move {
                cx.note("pid", json!(4711)).await?;
                for part in ["a", "b"] {
                    let (world, what) = (world.clone(), format!("{name}/{part}"));
                    cx.effect_idempotent(part, json!({}), |_| async move {
                        happen(&world, &what);
                        Ok(())
                    })
                    .await?;
                }
                cx.note("pid", json!(null)).await
            })
            .await
        }
    });
    let world = dir.to_owned();
    registry.function("flaky/v1", move |cx: Context, _: Values| {
        let world = world.clone();
        async move {
            let first = happened(&world, "flaky") == 0;
            let w = world.clone();
            cx.effect_opaque("try", json!({}), |_| async move {
                happen(&w, "flaky");
                if first {
                    return Err(Error::new(ErrorKind::Conflict, "test", "try", "not the first time").retry_later());
                }
                Ok(())
            })
            .await
        }
    });
    registry
}

async fn child(dir: PathBuf, at: usize) -> Result<()> {
    let p = PipelineBuilder::new("crash");
    let name = |s: CallStep, n: &str| s.input("name", json!(n));
    let first = name(p.call("first", "probed/v1"), "first");
    let left = name(p.call("left", "idempotent/v1"), "left").input("made", first.output::<String>("made"));
    let right = name(p.call("right", "probed/v1"), "right").after(&first).lease("shared");
    let policy = RetryPolicy { wait_s: 0.001, ..RetryPolicy::attempts(9) };
    let flaky = p.call("flaky", "flaky/v1").after(&left).after(&right).retry(policy).rerun_on_interrupt();
    let _ = name(p.call("last", "probed/v1"), "last").after(&flaky);

    let store = towpath_sql::open(&format!("sqlite:{}", dir.join("store.db").display())).await?;
    let count = AtomicUsize::new(0);
    let faults = Faults::at_every_point(move |point: &FaultPoint<'_>| {
        let _ = point;
        if count.fetch_add(1, Ordering::SeqCst) + 1 == at {
            std::process::abort();
        }
    });
    let engine = Engine::new(Arc::new(registry(&dir)), Arc::clone(&store)).faults(faults);
    let report = engine.run(&p.finish(), RunOptions::default()).await?;
    assert_eq!(report.state, RunState::Done);
    assert!(report.steps.iter().all(|s| s.state == Some(StepState::Done)), "{report:?}");
    assert!(store.leases().await?.is_empty(), "no lease is left");
    check(&dir, store.as_ref()).await
}

/// What must hold after any crash: an effect that the journal calls done has happened, and only interrupted ones twice.
async fn check(dir: &Path, store: &dyn towpath_core::Store) -> Result<()> {
    let run = store.runs(&RunFilter::default(), 9).await?;
    assert_eq!(run.len(), 1, "the crash was continued, not started anew");
    let mut intents: BTreeMap<String, usize> = BTreeMap::new();
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for entry in store.journal(&run[0].id).await? {
        match entry.record {
            Record::EffectIntent { path, .. } => *intents.entry(path).or_default() += 1,
            Record::EffectDone { path, .. } => *done.entry(path).or_default() += 1,
            _ => {}
        }
    }
    assert!(done.values().all(|n| *n == 1), "a finished effect ran again: {done:?}");
    for (what, path) in [("first", "first/make"), ("right", "right/make"), ("last", "last/make")] {
        assert_eq!(happened(dir, what), 1, "a probed effect happens once");
        assert_eq!(done.get(path), Some(&1));
    }
    for part in ["a", "b"] {
        let times = happened(dir, &format!("left/{part}"));
        assert!((1..=intents[&format!("left/outer/{part}")]).contains(&times), "{times} times");
    }
    Ok(())
}

fn run(dir: &Path, at: usize) -> std::process::ExitStatus {
    Command::new(std::env::current_exe().unwrap()).env(DIR, dir).env(AT, at.to_string()).status().unwrap()
}

fn main() {
    if let Some(dir) = std::env::var_os(DIR) {
        let at = std::env::var(AT).unwrap().parse().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(child(dir.into(), at)).unwrap();
        return;
    }
    let mut crashes = 0;
    for at in 1.. {
        let dir = tempfile::tempdir().unwrap();
        if run(dir.path(), at).success() {
            break;
        }
        crashes += 1;
        assert!(run(dir.path(), 0).success(), "the run after a crash at point {at} did not end well");
        assert!(crashes < 1000, "it never gets through");
    }
    assert!(crashes > 40, "only {crashes} fault points were reached");
    println!("crashed at each of {crashes} points; every next run ended in the same state");
}
