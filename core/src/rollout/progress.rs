use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Context, Release, Result};

use super::begin::{Begin, Planned};
use super::strategy::Rolling;
use super::target::{Crew, Turn};
use super::{RolloutOutcome, RolloutReport, TargetOutcome};

/// What became of the targets so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    turns: Mutex<BTreeMap<String, Turn>>,
    /// Those that went back, or tried to.
    back: Mutex<BTreeMap<String, Turn>>,
    /// Those of the other group, out of service after a switch.
    retired: Mutex<BTreeMap<String, Turn>>,
    /// What took how long beside the targets' turns.
    seconds: Mutex<BTreeMap<String, f64>>,
}

impl Progress {
    pub(super) fn turns(&self) -> MutexGuard<'_, BTreeMap<String, Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn back(&self) -> MutexGuard<'_, BTreeMap<String, Turn>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn retired(&self) -> MutexGuard<'_, BTreeMap<String, Turn>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn took(&self, what: &str, seconds: f64) {
        *self.seconds.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += seconds;
    }

    pub(super) fn seconds(&self) -> BTreeMap<String, f64> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why each failed target failed.
    pub(super) fn bad(&self) -> Vec<String> {
        self.turns().iter().filter_map(|(h, t)| bad_turn(h, t)).collect()
    }

    pub(super) fn unfinished(&self) -> bool {
        self.turns().values().any(|t| t.touched && !t.well)
    }

    /// Who goes back: all touched targets, those that do not serve first, then the last one first. After a cancel only those
    /// that are not well.
    pub(super) fn victims(&self, order: &[String], cancelled: bool) -> Vec<String> {
        let turns = self.turns();
        let touched = |h: &&String| turns.get(*h).is_some_and(|t| t.touched);
        let well = |h: &&String| turns.get(*h).is_some_and(|t| t.well);
        let out = order.iter().filter(touched).filter(|h| !well(h));
        let serving = order.iter().rev().filter(touched).filter(well).filter(|_| !cancelled);
        out.chain(serving).cloned().collect()
    }

    /// Leaves no drain behind that is not meant: a target that is well goes back into service, one that is not is kept out for
    /// good.
    pub(super) async fn settle(&self, cx: &Context, crew: &Crew<'_>, begin: &Begin) -> Result<()> {
        let Some(balancer) = &crew.rollout.balancer else { return Ok(()) };
        if crew.rollout.strategy.blue_green.is_some() {
            return self.settle_switched(cx, crew, begin).await;
        }
        for planned in &begin.targets {
            let Some(backend) = &planned.backend else { continue };
            let last = self.back().get(&planned.host).or(self.turns().get(&planned.host)).cloned();
            let Some(mut turn) = last.filter(|t| t.in_service == Some(false)) else { continue };
            // A target whose activation was never started is as it was before.
            let sound = turn.well || !turn.touched;
            if sound && planned.known.is_some() {
                turn.reason = None;
                crew.put_back(cx, &mut turn, balancer.as_ref(), backend, false).await?;
                let mut turns = if self.back().contains_key(&planned.host) { self.back() } else { self.turns() };
                turns.insert(planned.host.clone(), turn);
            } else {
                crew.leave_out(cx, backend).await?;
            }
        }
        Ok(())
    }

    pub(super) fn fill(&self, report: &mut RolloutReport, release: &Release, switched: bool) {
        let (turns, back) = (self.turns(), self.back());
        for target in &mut report.targets {
            let Some(turn) = turns.get(&target.host) else { continue };
            target.version.clone_from(&turn.version);
            target.in_service = turn.in_service;
            target.reason.clone_from(&turn.reason);
            target.cut_off = turn.cut_off;
            target.seconds.clone_from(&turn.seconds);
            target.state = if turn.well { TargetOutcome::Updated } else { TargetOutcome::Failed };
            if let Some(back) = back.get(&target.host) {
                target.version.clone_from(&back.version);
                target.in_service = back.in_service;
                target.cut_off += back.cut_off;
                target.seconds.insert("rollback".into(), back.seconds.values().sum());
                target.state = match back.well {
                    true if switched => TargetOutcome::Retired,
                    true => TargetOutcome::RolledBack,
                    false => TargetOutcome::Failed,
                };
                if let Some(why) = &back.reason {
                    target.reason = Some(why.clone());
                }
            }
        }
        if switched {
            for (host, turn) in self.retired().iter() {
                let Some(target) = report.targets.iter_mut().find(|t| t.host == *host) else { continue };
                target.in_service = turn.in_service;
                target.cut_off = turn.cut_off;
                target.seconds.clone_from(&turn.seconds);
                if turn.in_service == Some(false) {
                    target.state = TargetOutcome::Retired;
                }
            }
            // One of the two groups is out of service, and shall be.
            return;
        }
        let out = report.out_of_service().join(", ");
        if report.outcome == RolloutOutcome::RolledBack && !out.is_empty() {
            report.outcome = RolloutOutcome::Failed;
            let reason = report.reason.take().unwrap_or_default();
            report.reason = Some(format!("{reason}; rolled back, but out of service: {out}"));
        }
        if report.outcome == RolloutOutcome::Deployed && !out.is_empty() {
            report.reason =
                Some(format!("{} runs, but out of service within the failure budget: {out}", release.version));
        }
    }

    /// The targets that take their turn next: at most a batch, and no more than may be out of service at once. `Err`: not even one
    /// may be.
    pub(super) fn next<'a>(
        &self,
        strategy: &Rolling,
        begin: &'a Begin,
        todo: &[&'a Planned],
    ) -> Result<Vec<&'a Planned>, String> {
        let turns = self.turns();
        let all = begin.targets.len();
        let serves = |t: &Planned| turns.get(&t.host).map_or(t.serves, |turn| turn.in_service.unwrap_or(turn.well));
        let serving = begin.targets.iter().filter(|t| serves(t)).count();
        let most = strategy.max_unavailable.map_or(usize::MAX, |most| most.size(all).saturating_sub(all - serving));
        let least = strategy.min_healthy.map_or(usize::MAX, |least| serving.saturating_sub(least.size_up(all)));
        let mut room = most.min(least);
        let mut batch = Vec::new();
        for planned in todo.iter().filter(|t| !turns.contains_key(&t.host)).take(strategy.batch.size(all)) {
            // One that gets no requests anyhow costs nothing.
            if serves(planned) {
                if room == 0 {
                    break;
                }
                room -= 1;
            }
            batch.push(*planned);
        }
        let waits = todo.iter().any(|t| !turns.contains_key(&t.host));
        if batch.is_empty() && waits {
            return Err(format!(
                "{serving} of {all} targets are in service, so that `max_unavailable` and `min_healthy` let none of them be taken out"
            ));
        }
        Ok(batch)
    }

    /// How many targets run the release and are well.
    pub(super) fn well(&self) -> usize {
        self.turns().values().filter(|t| t.well).count()
    }

    /// Whether a failed target's policy says that everything stays as it is.
    pub(super) fn stops(&self) -> bool {
        self.turns().values().any(|t| !t.well && t.stop)
    }
}

pub(super) fn bad_turn(host: &str, turn: &Turn) -> Option<String> {
    (!turn.well).then(|| format!("{host}: {}", turn.reason.as_deref().unwrap_or("failed")))
}
