use std::collections::BTreeMap;
use std::time::Instant;

use crate::{Context, Deployment, DeploymentOutcome, Error, ErrorKind, Release, Result, Timestamp};

use super::batches::Course;
use super::begin::{Begin, Decision};
use super::gates::Failure;
use super::hooks::Occasion;
use super::host_ledger::masked;
use super::ledger::detail;
use super::progress::Progress;
use super::strategy::{Phase, When};
use super::target::{Crew, one_line, say};
use super::{Rollout, RolloutOutcome, RolloutReport, TargetOutcome, TargetReport};

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
        let (running, found) = (&running, &begin.found);
        cx.effect_idempotent("ledger", &running.outcome, |cx| async move {
            self.keep_found(&cx, found).await?;
            self.record(&cx, running).await
        })
        .await?;
        crew.desk.open(&begin.id(release), begin.from.as_deref(), begin.targets.len()).await?;
        let progress = Progress::default();
        let course = match self.prepare(cx, &begin, release, crew, &mut report).await {
            Err(NotReady::Staging(e)) => return self.not_staged(cx, &begin, release, crew, report, e).await,
            Err(NotReady::Ended(e)) => Err(e),
            Ok(Course::Well) => {
                let from = Instant::now();
                let course = self.onward(cx, &begin, release, crew, &progress).await;
                report.seconds.insert("roll".into(), from.elapsed().as_secs_f64());
                course
            }
            Ok(other) => Ok(other),
        };
        let half = |why: &str| progress.unfinished().then(|| Failure::from(why.to_owned()));
        let mut cancelled = None;
        let failure = match course {
            Err(e) if e.kind() == ErrorKind::Cancelled && cx.is_cancelled() => {
                cancelled = Some("cancelled".to_owned());
                half("cancelled while a target was not healthy yet")
            }
            Ok(Course::Stopped(why)) => {
                cancelled = Some(why.clone());
                half(&why)
            }
            Ok(Course::Failed(failure)) => Some(failure),
            Ok(Course::Well) => None,
            Err(e) => return Err(e),
        };
        report.outcome = RolloutOutcome::Deployed;
        let calm = cx.shielded();
        if let Some(failure) = failure {
            let from = Instant::now();
            let went = self.go_back(&calm, &begin, release, crew, &progress, failure, cancelled.is_some()).await?;
            if went.cancelled {
                cancelled.get_or_insert_with(|| "cancelled".to_owned());
            }
            report.outcome = went.outcome;
            report.reason = Some(went.reason);
            report.seconds.insert("rollback".into(), from.elapsed().as_secs_f64());
        }
        if let Some(why) = cancelled {
            report.outcome = RolloutOutcome::Cancelled;
            report.reason.get_or_insert(why);
        }
        report.seconds.extend(progress.seconds());
        progress.settle(&calm, crew, &begin).await?;
        let deployed = report.outcome == RolloutOutcome::Deployed;
        if deployed && self.strategy.blue_green.as_ref().is_some_and(|groups| groups.stop_old) {
            self.stop_old(&calm, &begin, crew).await?;
        }
        progress.fill(&mut report, release, self.strategy.blue_green.is_some());
        report.seconds.insert("total".into(), whole.elapsed().as_secs_f64());
        let report = self.finish(&calm, &begin, release, crew, report).await?;
        crew.desk.close().await?;
        Ok(report)
    }

    /// All that comes before the first target is touched.
    async fn prepare(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        report: &mut RolloutReport,
    ) -> Result<Course, NotReady> {
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: true };
        for phase in [Phase::Rollout, Phase::Stage] {
            if let Some(why) = crew.hooks(cx, When::Before, phase, of).await.map_err(NotReady::Ended)? {
                return Ok(Course::Failed(why.into()));
            }
        }
        let from = Instant::now();
        crew.stage_all(cx, begin, release).await.map_err(NotReady::Staging)?;
        report.seconds.insert("stage".into(), from.elapsed().as_secs_f64());
        if let Some(why) = crew.hooks(cx, When::After, Phase::Stage, of).await.map_err(NotReady::Ended)? {
            return Ok(Course::Failed(why.into()));
        }
        match &self.strategy.approval {
            Some(approval) => self.approved(cx, "rollout", approval, release, crew).await.map_err(NotReady::Ended),
            None => Ok(Course::Well),
        }
    }

    /// From the first target to the last hook.
    async fn onward(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<Course> {
        let course = match &self.strategy.blue_green {
            Some(groups) => self.switch_over(cx, groups, begin, release, crew, progress).await?,
            None => self.batches(cx, begin, release, crew, progress).await?,
        };
        let Course::Well = course else { return Ok(course) };
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: true };
        Ok(match crew.hooks(cx, When::After, Phase::Rollout, of).await? {
            Some(why) => Course::Failed(why.into()),
            None => Course::Well,
        })
    }

    /// Nothing that serves was touched. A retry of the step goes on where this ended.
    async fn not_staged(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        mut report: RolloutReport,
        error: Error,
    ) -> Result<RolloutReport> {
        let cancelled = error.kind() == ErrorKind::Cancelled && cx.is_cancelled();
        report.outcome = if cancelled { RolloutOutcome::Cancelled } else { RolloutOutcome::Failed };
        report.reason = Some(format!("it could not be staged, nothing was touched: {}", one_line(&error)));
        let outcome = if cancelled { DeploymentOutcome::Cancelled } else { DeploymentOutcome::Failed };
        self.record(cx, &ledger_entry(cx, begin, release, outcome, &report)).await?;
        crew.desk.close().await?;
        if cancelled { Ok(report) } else { Err(error) }
    }

    async fn finish(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        report: RolloutReport,
    ) -> Result<RolloutReport> {
        let outcome = report.outcome.in_ledger().unwrap_or(DeploymentOutcome::Failed);
        let entry = ledger_entry(cx, begin, release, outcome, &report);
        if report.outcome == RolloutOutcome::Cancelled {
            // Not journalled: a cancelled run may be taken up again.
            self.record(cx, &entry).await?;
            return Ok(report);
        }
        let hosts = self.strategy.select(crew.inventory)?;
        let phase = serde_json::to_value(report.outcome).unwrap_or_default();
        cx.effect_idempotent("finish", outcome, |_| async move {
            self.record(cx, &entry).await?;
            self.record_on_hosts(cx, crew, &hosts, &entry).await;
            say(cx, phase.as_str().unwrap_or_default(), &release.version, report.reason.as_deref().unwrap_or_default());
            Ok(report)
        })
        .await
    }

    pub(super) async fn record(&self, cx: &Context, entry: &Deployment) -> Result<()> {
        match self.store_of(cx) {
            Some(store) => store.put_deployment(&masked(cx, entry)).await,
            None => Ok(()),
        }
    }
}

/// Why nothing was touched.
enum NotReady {
    Staging(Error),
    Ended(Error),
}

fn first_report(begin: &Begin, release: &Release) -> RolloutReport {
    let targets = begin.targets.iter().map(|t| TargetReport {
        host: t.host.clone(),
        before: t.before.clone(),
        version: t.before.clone(),
        state: if t.stays { TargetOutcome::Unchanged } else { TargetOutcome::Untouched },
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
    let well = |t: &TargetReport| {
        matches!(t.state, TargetOutcome::Updated | TargetOutcome::Unchanged | TargetOutcome::Retired)
    };
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
