//! Twelve bad releases: how soon each is found and gone, and what it cost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use towpath::rollout::RolloutOutcome;
use towpath::{Context, Event, EventKind, Listener, Observation, Result};

use crate::fleet::{ENVIRONMENT, Fleet, HOSTS};
use crate::load::Load;
use crate::service::FAULTS;

/// When the first check failed, or the first activation.
#[derive(Default)]
struct Watch(Mutex<Option<Instant>>);

impl Listener for Watch {
    fn on_event(&self, event: &Event) {
        let bad = match &event.kind {
            EventKind::Observed { observation: Observation::Check(check) } => !check.passed,
            // A release that can't even be activated is never checked.
            EventKind::Rollout { phase, .. } => phase == "rollback",
            _ => false,
        };
        if bad {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    }
}

/// Rolls each of them out, and prints what became of it.
pub(crate) async fn run(fleet: &Fleet, load: &Load, one_turn: Duration) -> Result<bool> {
    println!("\none host's turn takes {:.2} s; a drain at most 5 s", one_turn.as_secs_f64());
    println!(
        "{:<56} {:>12} {:>9} {:>8} {:>9} {:>7}",
        "a release that", "outcome", "healthy s", "requests", "failed", "share"
    );
    let mut well = true;
    for (fault, what) in FAULTS {
        let release = fleet.release(&format!("bad-{fault}"), fault)?;
        let watch = Arc::new(Watch::default());
        let listener = Arc::clone(&watch) as Arc<dyn Listener>;
        let cx = Context::builder().environment(ENVIRONMENT).store(Arc::clone(&fleet.store)).listener(listener).build();
        let before = load.count();
        let report = fleet.deploy(&cx, fleet.rolling(), &release).await?;
        let found = *watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        let healthy_again = found.map_or(f64::NAN, |at| at.elapsed().as_secs_f64());
        let count = load.count() - before;
        let serving = fleet.serving().await?.len();
        let share = count.failed as f64 / count.sent.max(1) as f64;
        // Within one batch's time and a drain, counted from the first check that failed.
        let good = report.outcome == RolloutOutcome::RolledBack
            && serving == HOSTS as usize
            && healthy_again <= one_turn.as_secs_f64() + 5.0
            && share <= 1.0 / f64::from(HOSTS);
        well &= good;
        println!(
            "{what:<56} {:>12} {healthy_again:>9.2} {:>8} {:>9} {:>6.2}%{}",
            format!("{:?}", report.outcome),
            count.sent,
            count.failed,
            share * 100.0,
            if good { "" } else { "  NOT WELL" }
        );
        if !good {
            println!("    {serving} of {HOSTS} serve: {}", report.reason.as_deref().unwrap_or_default());
        }
        for (why, times) in load.reasons() {
            println!("    failed {times} times: {why}");
        }
    }
    Ok(well)
}
