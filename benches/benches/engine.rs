//! What the engine costs: 10,000 independent steps that do nothing, and a chain of 1,000, both journalled durably in SQLite.
//!
//! Prints seconds, microseconds per step and the growth of the process's memory. `cargo bench -p towpath-benches --bench engine`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use towpath::pipeline::{Engine, Pipeline, PipelineBuilder, RunOptions, Values};
use towpath::{Context, Registry, RunState};

fn independent(count: usize) -> Pipeline {
    let p = PipelineBuilder::new("independent");
    for i in 0..count {
        let _ = p.call(&format!("step {i}"), "nothing/v1");
    }
    p.finish()
}

fn chain(count: usize) -> Pipeline {
    let p = PipelineBuilder::new("chain");
    let mut last = p.call("step 0", "nothing/v1");
    for i in 1..count {
        last = p.call(&format!("step {i}"), "nothing/v1").after(&last);
    }
    p.finish()
}

/// Peak memory of this process in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut registry = Registry::new();
        registry.function("nothing/v1", |_: Context, _: Values| async { Ok(()) });
        let registry = Arc::new(registry);
        for (name, count, pipeline) in [
            ("independent", 1_000, independent(1_000)),
            ("independent", 10_000, independent(10_000)),
            ("chain", 100, chain(100)),
            ("chain", 1_000, chain(1_000)),
        ] {
            // Beside the target folder, since a temporary folder may be in memory, where a sync costs nothing.
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let url = format!("sqlite:{}", dir.path().join("store.db").display());
            let store = towpath::open_store(&url).await.unwrap();
            let from = Instant::now();
            let report = Engine::new(Arc::clone(&registry), store).run(&pipeline, RunOptions::default()).await.unwrap();
            let seconds = from.elapsed().as_secs_f64();
            assert_eq!((report.state, report.steps.len()), (RunState::Done, count));
            let each = seconds * 1e6 / f64::from(u32::try_from(count).unwrap());
            println!("{name} {count:>6} steps: {seconds:.3} s, {each:.0} us per step, peak {} MiB", peak_mib());
        }
    });
}
