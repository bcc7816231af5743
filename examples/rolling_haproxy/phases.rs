//! Good releases, all the ways there are, and the requests that failed meanwhile.

use std::time::{Duration, Instant};

use towpath::rollout::{RolloutOutcome, RolloutReport, TargetOutcome};
use towpath::{Balancer as _, Result};

use crate::fleet::{Fleet, HOSTS};
use crate::load::{Count, Load};

/// How long one host's turn takes, everything counted: the measure for how soon a bad release must be gone.
pub(crate) async fn one_turn(fleet: &Fleet) -> Result<Duration> {
    let from = Instant::now();
    fleet.deploy(&fleet.cx(), fleet.rolling(), &fleet.release("v0-again", "")?).await?;
    Ok(from.elapsed() / HOSTS)
}

struct Phase {
    name: &'static str,
    count: Count,
    seconds: f64,
    /// Seconds that drains, starts, checks and watches took: nobody can do without them.
    waits: f64,
    well: bool,
}

/// Deploys by turns, and prints what was lost.
pub(crate) async fn run(fleet: &Fleet, load: &Load, rounds: u32) -> Result<bool> {
    let mut phases = Vec::new();
    let mut version = 0;
    let mut next = || {
        version += 1;
        format!("v{version}")
    };
    let mut reports = Vec::new();
    let (from, before) = (Instant::now(), load.count());
    for _ in 0..rounds {
        reports.push(fleet.deploy(&fleet.cx(), fleet.rolling(), &fleet.release(&next(), "")?).await?);
    }
    phases.push(phase("rolling deploys", load, before, from, &reports, RolloutOutcome::Deployed));

    reports.clear();
    let (from, before) = (Instant::now(), load.count());
    for _ in 0..rounds.div_ceil(4) {
        let now = fleet.store.deployments(fleet.cx().environment(), "web").await?;
        let Some(last) = now.iter().rev().find(|d| d.seen_healthy).map(|d| d.release.clone()) else { continue };
        let rollout = fleet.rollout(fleet.rolling())?;
        reports.push(rollout.undo(&fleet.cx(), &last, &fleet.targets(), "somebody changed their mind").await?);
        reports.push(fleet.deploy(&fleet.cx(), fleet.rolling(), &fleet.release(&next(), "")?).await?);
    }
    phases.push(phase("rollbacks", load, before, from, &reports, RolloutOutcome::Deployed));

    // Three hosts are enough for a moment: the others become the second group.
    for host in fleet.inventory.hosts.iter().skip(3) {
        fleet.balancer()?.drain(&fleet.cx(), &host.name).await?;
    }
    reports.clear();
    let (from, before) = (Instant::now(), load.count());
    for _ in 0..rounds {
        reports.push(fleet.deploy(&fleet.cx(), fleet.blue_green(), &fleet.release(&next(), "")?).await?);
    }
    phases.push(phase("blue/green switches", load, before, from, &reports, RolloutOutcome::Deployed));
    // All six get requests again.
    let last = fleet.deploy(&fleet.cx(), fleet.rolling(), &fleet.release(&next(), "")?).await?;

    println!(
        "\n{:<22} {:>8} {:>9} {:>7} {:>9} {:>18}",
        "phase", "deploys", "requests", "failed", "s each", "time / its waits"
    );
    for p in &phases {
        let each = p.seconds / f64::from(rounds).max(1.0);
        println!(
            "{:<22} {:>8} {:>9} {:>7} {:>9.2} {:>17.2}x",
            p.name,
            rounds,
            p.count.sent,
            p.count.failed,
            each,
            p.seconds / p.waits
        );
    }
    for (why, times) in load.reasons() {
        println!("  failed {times} times: {why}");
    }
    let lost: u64 = phases.iter().map(|p| p.count.failed).sum();
    Ok(lost == 0 && last.outcome == RolloutOutcome::Deployed && phases.iter().all(|p| p.well))
}

fn phase(
    name: &'static str,
    load: &Load,
    before: Count,
    from: Instant,
    reports: &[RolloutReport],
    wanted: RolloutOutcome,
) -> Phase {
    let also = |r: &RolloutReport| r.outcome == wanted || r.outcome == RolloutOutcome::RolledBack;
    for bad in reports.iter().filter(|r| !also(r)) {
        println!("{name}: {} {:?}: {}", bad.to, bad.outcome, bad.reason.as_deref().unwrap_or_default());
    }
    let waits = reports.iter().map(waits).sum();
    let seconds = from.elapsed().as_secs_f64();
    Phase { name, count: load.count() - before, seconds, waits, well: reports.iter().all(also) }
}

/// What drains, starts, checks and watches took: one target after another, or, with two groups, all of them at the same time.
fn waits(report: &RolloutReport) -> f64 {
    let of = |name: &str| report.seconds.get(name).copied().unwrap_or_default();
    let turns = report.targets.iter().map(|t| &t.seconds);
    if report.targets.iter().all(|t| t.state != TargetOutcome::Retired) {
        return turns.flat_map(|t| t.values()).sum::<f64>() + of("stage") + of("watch");
    }
    let longest = |name: &str| turns.clone().filter_map(|t| t.get(name)).copied().fold(0.0, f64::max);
    ["activate", "health", "serve", "drain"].into_iter().map(longest).sum::<f64>() + of("stage") + of("watch")
}
