use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{Context, Deployment, DeploymentOutcome, Error, ErrorKind, Host, Release, Result, Timestamp};

use super::begin::{Begin, Decision, Planned};
use super::ledger::detail;
use super::target::{Crew, Turn, one_line, say};
use super::{OnFailure, Rollout, RolloutOutcome, RolloutReport, TargetOutcome, TargetReport};

/// What became of the targets so far.
#[derive(Debug, Default)]
struct Progress {
    turns: Mutex<BTreeMap<String, Turn>>,
    /// Those that went back, or tried to.
    back: Mutex<BTreeMap<String, Turn>>,
}

/// A batch's end, journalled as a whole.
#[derive(Debug, Serialize, Deserialize)]
struct BatchEnd {
    turns: BTreeMap<String, Turn>,
    /// Why the batch failed as a whole: its watch, or the time.
    failed: Option<String>,
}

/// The decision to go back. Once written, a resumed run goes on with it, whatever the world looks like by then.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GoBack {
    reason: String,
    hosts: Vec<String>,
    cancelled: bool,
}

impl Rollout {
    pub(super) async fn roll(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<RolloutReport> {
        let whole = Instant::now();
        let hosts = self.strategy.select(crew.inventory)?;
        let intent = serde_json::json!({ "service": release.service, "version": release.version });
        let begin: Begin = cx
            .effect_idempotent("begin", intent, |cx| async move { self.begin(&cx, release, crew, &hosts).await })
            .await?;
        let mut report = first_report(&begin, release);
        let settled = match begin.decision {
            Decision::Roll | Decision::Repair => None,
            Decision::Unchanged => Some(RolloutOutcome::Unchanged),
            Decision::Superseded => Some(RolloutOutcome::Superseded),
            Decision::Refused => Some(RolloutOutcome::Refused),
        };
        if let Some(outcome) = settled {
            report.outcome = outcome;
            let phase = serde_json::to_value(outcome).unwrap_or_default();
            say(cx, phase.as_str().unwrap_or_default(), &release.version, report.reason.as_deref().unwrap_or_default());
            report.seconds.insert("total".into(), whole.elapsed().as_secs_f64());
            return Ok(report);
        }
        let running = ledger_entry(cx, &begin, release, DeploymentOutcome::Running, &report);
        cx.effect_idempotent("ledger", &running.outcome, |_| self.record(cx, &running)).await?;
        let from = Instant::now();
        if let Err(e) = crew.stage_all(cx, &begin, release).await {
            return self.not_staged(cx, &begin, release, report, e).await;
        }
        report.seconds.insert("stage".into(), from.elapsed().as_secs_f64());
        let progress = Progress::default();
        let from = Instant::now();
        let failure = self.batches(cx, &begin, release, crew, &progress).await;
        report.seconds.insert("roll".into(), from.elapsed().as_secs_f64());
        let mut cancelled = false;
        let failure = match failure {
            Err(e) if e.kind() == ErrorKind::Cancelled && cx.is_cancelled() => {
                cancelled = true;
                progress.unfinished().then(|| "cancelled while a target was not healthy yet".to_owned())
            }
            other => other?,
        };
        report.outcome = RolloutOutcome::Deployed;
        let calm = cx.shielded();
        if let Some(reason) = failure {
            let from = Instant::now();
            let went = self.go_back(&calm, &begin, release, crew, &progress, reason, cancelled).await?;
            cancelled |= went.cancelled;
            report.outcome = went.outcome;
            report.reason = Some(went.reason);
            report.seconds.insert("rollback".into(), from.elapsed().as_secs_f64());
        }
        if cancelled {
            report.outcome = RolloutOutcome::Cancelled;
            report.reason.get_or_insert_with(|| "cancelled".to_owned());
        }
        progress.settle(&calm, crew, &begin).await?;
        progress.fill(&mut report, release);
        report.seconds.insert("total".into(), whole.elapsed().as_secs_f64());
        self.finish(&calm, &begin, release, report).await
    }

    /// Works through the batches. Gives why the rollout has failed, or `None`.
    async fn batches(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<Option<String>> {
        let todo: Vec<&Planned> = begin.targets.iter().filter(|t| !t.done).collect();
        for (n, batch) in todo.chunks(self.strategy.batch.size(begin.targets.len())).enumerate() {
            let intent = serde_json::json!({ "hosts": batch.iter().map(|t| &t.host).collect::<Vec<_>>() });
            let end: BatchEnd = cx
                .effect_idempotent(&format!("batch/{n}"), intent, |cx| async move {
                    self.batch(&cx, n, batch, release, crew, progress).await
                })
                .await?;
            // Also those of a batch that an earlier process finished.
            progress.turns().extend(end.turns);
            if end.failed.is_some() {
                return Ok(end.failed);
            }
            let bad = progress.bad();
            if bad.len() > usize::try_from(self.strategy.failure_budget).unwrap_or(usize::MAX) {
                return Ok(Some(bad.join("; ")));
            }
            for reason in bad {
                cx.warn(format!("within the failure budget: {reason}"));
            }
        }
        Ok(None)
    }

    async fn batch(
        &self,
        cx: &Context,
        n: usize,
        batch: &[&Planned],
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<BatchEnd> {
        let late = |e: Error| if e.kind() == ErrorKind::Timeout { Ok(one_line(&e)) } else { Err(e) };
        if n > 0 && self.strategy.pause_s > 0.0 {
            say(cx, "pause", &release.version, "");
            if let Err(e) = cx.sleep("core", "rollout", Duration::from_secs_f64(self.strategy.pause_s)).await {
                return Ok(BatchEnd { turns: BTreeMap::new(), failed: Some(late(e)?) });
            }
        }
        if let Err(e) = cx.check("core", "rollout") {
            return Ok(BatchEnd { turns: BTreeMap::new(), failed: Some(late(e)?) });
        }
        let turns = join_all(batch.iter().map(|planned| {
            let cx = cx.for_host(&planned.host);
            let intent = serde_json::json!({ "from": planned.before, "to": release.version });
            async move {
                let turn: Turn = cx
                    .effect_idempotent(&format!("update/{}", planned.host), intent, |cx| async move {
                        crew.turn(&cx, planned, release).await
                    })
                    .await?;
                progress.turns().insert(planned.host.clone(), turn.clone());
                Ok((planned.host.clone(), turn))
            }
        }))
        .await
        .into_iter()
        .collect::<Result<BTreeMap<String, Turn>>>()?;
        let failed = match &self.strategy.watch {
            Some(gate) if turns.values().all(|t| t.well) => {
                say(cx, "watch", &release.version, "");
                let hosts: Vec<Host> = batch.iter().map(|t| crew.host(&t.host).cloned()).collect::<Result<_>>()?;
                // A cancel ends the watch only: the targets are at a safe point.
                let watch = async { Ok(crew.health(&cx.shielded(), &hosts, Some(gate), release).await.err()) };
                match cx.guard("core", "rollout", watch).await {
                    Err(e) => Some(late(e)?),
                    Ok(failed) => failed,
                }
            }
            _ => None,
        };
        Ok(BatchEnd { turns, failed })
    }

    /// Brings touched targets back to what was seen healthy. `cx` is not cancelled: a rollback is always finished.
    #[allow(clippy::too_many_arguments, reason = "one call, and every argument is a different thing")]
    async fn go_back(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
        reason: String,
        cancelled: bool,
    ) -> Result<Went> {
        let planned = |host: &str| begin.targets.iter().find(|t| t.host == host);
        let order: Vec<String> = begin.targets.iter().map(|t| t.host.clone()).collect();
        let decision = GoBack { hosts: progress.victims(&order, cancelled), reason, cancelled };
        let decision: GoBack = if self.strategy.on_failure == OnFailure::Rollback {
            cx.effect_idempotent("rollback", &decision.reason.clone(), |_| async move { Ok(decision) }).await?
        } else {
            GoBack { hosts: Vec::new(), ..decision }
        };
        let mut went =
            Went { outcome: RolloutOutcome::RolledBack, reason: decision.reason, cancelled: decision.cancelled };
        if self.strategy.on_failure == OnFailure::Stop {
            went.outcome = RolloutOutcome::Failed;
            return Ok(went);
        }
        say(cx, "rollback", &release.version, &went.reason);
        let (todo, stuck): (Vec<&Planned>, Vec<&Planned>) =
            decision.hosts.iter().filter_map(|h| planned(h)).partition(|t| t.back_to.is_some());
        if !stuck.is_empty() {
            let names: Vec<&str> = stuck.iter().map(|t| t.host.as_str()).collect();
            let why = if begin.decision == Decision::Repair {
                format!("{} is itself what was seen healthy", release.version)
            } else {
                format!(
                    "no earlier release of {} was seen healthy in environment {}",
                    release.service,
                    cx.environment()
                )
            };
            went.fail(format!("{why}, so there is nothing to roll back to on {}", names.join(", ")));
        }
        for batch in todo.chunks(self.strategy.batch.size(begin.targets.len())) {
            let turns = join_all(batch.iter().map(|planned| {
                let cx = cx.for_host(&planned.host);
                async move {
                    let Some(old) = &planned.back_to else { return Ok((planned.host.clone(), Turn::default())) };
                    let before = progress.turns().get(&planned.host).cloned().unwrap_or_default();
                    let turn = cx
                        .effect_idempotent(&format!("rollback/{}", planned.host), &old.version, |cx| async move {
                            crew.turn_back(&cx, planned, &before, release, old).await
                        })
                        .await?;
                    Ok((planned.host.clone(), turn))
                }
            }))
            .await
            .into_iter()
            .collect::<Result<BTreeMap<String, Turn>>>()?;
            let bad: Vec<String> = turns.iter().filter_map(|(h, t)| bad_turn(h, t)).collect();
            progress.back().extend(turns);
            if !bad.is_empty() {
                // Going on would take the next target, which serves, out for a release that does not come up either.
                went.fail(format!("the rollback failed: {}", bad.join("; ")));
                break;
            }
        }
        Ok(went)
    }

    /// Nothing that serves was touched. A retry of the step goes on where this ended.
    async fn not_staged(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        mut report: RolloutReport,
        error: Error,
    ) -> Result<RolloutReport> {
        let cancelled = error.kind() == ErrorKind::Cancelled && cx.is_cancelled();
        report.outcome = if cancelled { RolloutOutcome::Cancelled } else { RolloutOutcome::Failed };
        report.reason = Some(format!("it could not be staged, nothing was touched: {}", one_line(&error)));
        let outcome = if cancelled { DeploymentOutcome::Cancelled } else { DeploymentOutcome::Failed };
        self.record(cx, &ledger_entry(cx, begin, release, outcome, &report)).await?;
        if cancelled { Ok(report) } else { Err(error) }
    }

    async fn finish(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        report: RolloutReport,
    ) -> Result<RolloutReport> {
        let outcome = report.outcome.in_ledger().unwrap_or(DeploymentOutcome::Failed);
        let entry = ledger_entry(cx, begin, release, outcome, &report);
        if report.outcome == RolloutOutcome::Cancelled {
            // Not journalled: a cancelled run may be taken up again.
            self.record(cx, &entry).await?;
            return Ok(report);
        }
        let phase = serde_json::to_value(report.outcome).unwrap_or_default();
        cx.effect_idempotent("finish", outcome, |_| async move {
            self.record(cx, &entry).await?;
            say(cx, phase.as_str().unwrap_or_default(), &release.version, report.reason.as_deref().unwrap_or_default());
            Ok(report)
        })
        .await
    }

    pub(super) async fn record(&self, cx: &Context, entry: &Deployment) -> Result<()> {
        match self.store_of(cx) {
            Some(store) => store.put_deployment(entry).await,
            None => Ok(()),
        }
    }
}

/// How going back went.
#[derive(Debug)]
struct Went {
    outcome: RolloutOutcome,
    reason: String,
    cancelled: bool,
}

impl Went {
    fn fail(&mut self, why: String) {
        self.outcome = RolloutOutcome::Failed;
        self.reason = format!("{}; {why}", self.reason);
    }
}

impl Crew<'_> {
    /// Moves one target back to `old`, drained and health checked as on the way forth.
    async fn turn_back(
        &self,
        cx: &Context,
        planned: &Planned,
        forth: &Turn,
        bad: &Release,
        old: &Release,
    ) -> Result<Turn> {
        // Staged while it may still serve: staging touches nothing that does.
        if let Some(reason) = self.restage(cx, &planned.host, old).await? {
            return Ok(Turn { well: false, reason: Some(reason), seconds: BTreeMap::new(), ..forth.clone() });
        }
        let there = Planned {
            // What runs there now decides whether a probe can tell that the old release is back.
            before: Some(bad.version.clone()),
            known: planned.backend.clone().filter(|_| planned.known.is_some() || forth.in_service == Some(true)),
            ..planned.clone()
        };
        self.turn(cx, &there, old).await
    }
}

impl Progress {
    fn turns(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn back(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Turn>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why each failed target failed.
    fn bad(&self) -> Vec<String> {
        self.turns().iter().filter_map(|(h, t)| bad_turn(h, t)).collect()
    }

    fn unfinished(&self) -> bool {
        self.turns().values().any(|t| t.touched && !t.well)
    }

    /// Who goes back: all touched targets, those that do not serve first, then the last one first. After a cancel only those
    /// that are not well.
    fn victims(&self, order: &[String], cancelled: bool) -> Vec<String> {
        let turns = self.turns();
        let touched = |h: &&String| turns.get(*h).is_some_and(|t| t.touched);
        let well = |h: &&String| turns.get(*h).is_some_and(|t| t.well);
        let out = order.iter().filter(touched).filter(|h| !well(h));
        let serving = order.iter().rev().filter(touched).filter(well).filter(|_| !cancelled);
        out.chain(serving).cloned().collect()
    }

    /// Leaves no drain behind that is not meant: a target that is well goes back into service, one that is not is kept out for
    /// good.
    async fn settle(&self, cx: &Context, crew: &Crew<'_>, begin: &Begin) -> Result<()> {
        let Some(balancer) = &crew.rollout.balancer else { return Ok(()) };
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

    fn fill(&self, report: &mut RolloutReport, release: &Release) {
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
                target.state = if back.well { TargetOutcome::RolledBack } else { TargetOutcome::Failed };
                if let Some(why) = &back.reason {
                    target.reason = Some(why.clone());
                }
            }
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
}

fn bad_turn(host: &str, turn: &Turn) -> Option<String> {
    (!turn.well).then(|| format!("{host}: {}", turn.reason.as_deref().unwrap_or("failed")))
}

fn first_report(begin: &Begin, release: &Release) -> RolloutReport {
    let targets = begin.targets.iter().map(|t| TargetReport {
        host: t.host.clone(),
        before: t.before.clone(),
        version: t.before.clone(),
        state: if t.done { TargetOutcome::Unchanged } else { TargetOutcome::Untouched },
        in_service: t.backend.as_ref().map(|_| t.known.is_some()),
        reason: None,
        cut_off: 0,
        seconds: BTreeMap::new(),
    });
    RolloutReport {
        outcome: RolloutOutcome::Unchanged,
        service: release.service.clone(),
        from: begin.from.clone(),
        to: release.version.clone(),
        reason: begin.reason.clone(),
        targets: targets.collect(),
        seconds: BTreeMap::new(),
    }
}

fn ledger_entry(
    cx: &Context,
    begin: &Begin,
    release: &Release,
    outcome: DeploymentOutcome,
    report: &RolloutReport,
) -> Deployment {
    let runs = |t: &TargetReport| t.version.clone().map(|v| (t.host.clone(), v));
    let well = |t: &TargetReport| matches!(t.state, TargetOutcome::Updated | TargetOutcome::Unchanged);
    let ended = outcome != DeploymentOutcome::Running;
    Deployment {
        environment: cx.environment().to_owned(),
        release: release.clone(),
        outcome,
        seen_healthy: outcome == DeploymentOutcome::Deployed && report.targets.iter().all(well),
        targets: report.targets.iter().filter_map(runs).collect(),
        run: begin.run.clone(),
        started_at: begin.started_at,
        finished_at: ended.then(Timestamp::now),
        reason: if ended { report.reason.clone() } else { None },
        detail: detail(release),
    }
}
