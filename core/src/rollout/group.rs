use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    Action, Change, Context, Deployment, DeploymentOutcome, ErrorKind, GroupJob, GroupState, Host, Plan, Release,
    Result, TargetGroup, Timestamp,
};

use super::batches::Course;
use super::begin::{Decision, rollout_id};
use super::gates::{Failure, Judged};
use super::hooks::Occasion;
use super::ledger::{Ledger, Standing, detail};
use super::strategy::{Phase, When};
use super::target::{CALL_LIMIT, Crew, fatal, one_line, say, within};
use super::{OnFailure, Rollout, RolloutOutcome, RolloutReport, TargetOutcome, TargetReport};

/// What was decided before a group was touched; see [`Begin`](super::begin::Begin).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GroupBegin {
    run: String,
    started_at: Timestamp,
    decision: Decision,
    reason: Option<String>,
    from: Option<String>,
    back_to: Option<Release>,
}

/// A started job; `None`: the crash took its id, or it was over by then.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    job: Option<GroupJob>,
    failure: Option<String>,
}

/// What came of a start.
enum Begun {
    Failed(String),
    /// How its job ended.
    Ended(Result<GroupState, String>),
}

/// How moving a group ended. Journalled, so that a failure is not tried again by a resumed run.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    failure: Option<Failure>,
}

impl Rollout {
    /// Supervises a deployer that moves a whole group by itself.
    pub(super) async fn supervise(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<RolloutReport> {
        let whole = Instant::now();
        let hosts = self.group_hosts(crew)?;
        let intent = serde_json::json!({ "service": release.service, "version": release.version });
        let begin: GroupBegin = cx
            .effect_idempotent("begin", intent, |cx| async move { self.begin_group(&cx, release, crew).await })
            .await?;
        let mut report = RolloutReport {
            outcome: RolloutOutcome::Deployed,
            service: release.service.clone(),
            from: begin.from.clone(),
            to: release.version.clone(),
            reason: begin.reason.clone(),
            targets: Vec::new(),
            seconds: BTreeMap::new(),
        };
        let (mut state, mut version) = (TargetOutcome::Untouched, begin.from.clone());
        report.outcome = match begin.decision {
            Decision::Unchanged => RolloutOutcome::Unchanged,
            Decision::Superseded => RolloutOutcome::Superseded,
            Decision::Refused => RolloutOutcome::Refused,
            Decision::Roll | Decision::Repair => {
                let entry = group_entry(cx, &begin, release, DeploymentOutcome::Running, &report, &hosts);
                cx.effect_idempotent("ledger", &entry.outcome, |_| self.record(cx, &entry)).await?;
                crew.desk
                    .open(&rollout_id(&begin.run, release, begin.started_at), begin.from.as_deref(), hosts.len())
                    .await?;
                let failure = self.group_onward(cx, &begin, release, crew, &hosts).await;
                let calm = cx.shielded();
                match failure {
                    Ok(None) => {
                        (state, version) = (TargetOutcome::Updated, Some(release.version.clone()));
                        RolloutOutcome::Deployed
                    }
                    Err(e) if e.kind() == ErrorKind::Cancelled => {
                        (state, version) = (TargetOutcome::Failed, None);
                        report.reason = Some(one_line(&e));
                        RolloutOutcome::Cancelled
                    }
                    Err(e) => return Err(e),
                    Ok(Some(failure)) => {
                        let (outcome, reason) = self.group_back(&calm, &begin, release, crew, &hosts, failure).await?;
                        report.reason = Some(reason);
                        if outcome == RolloutOutcome::RolledBack {
                            (state, version) =
                                (TargetOutcome::RolledBack, begin.back_to.as_ref().map(|r| r.version.clone()));
                        } else {
                            (state, version) = (TargetOutcome::Failed, None);
                        }
                        outcome
                    }
                }
            }
        };
        if begin.decision == Decision::Unchanged {
            state = TargetOutcome::Unchanged;
        }
        report.targets = hosts
            .iter()
            .map(|h| TargetReport {
                host: h.name.clone(),
                before: begin.from.clone(),
                version: version.clone(),
                state,
                in_service: None,
                reason: None,
                cut_off: 0,
                seconds: BTreeMap::new(),
            })
            .collect();
        report.seconds.insert("total".into(), whole.elapsed().as_secs_f64());
        let phase = serde_json::to_value(report.outcome).unwrap_or_default();
        say(cx, phase.as_str().unwrap_or_default(), &release.version, report.reason.as_deref().unwrap_or_default());
        let Some(outcome) = report.outcome.in_ledger() else { return Ok(report) };
        let calm = cx.shielded();
        let entry = group_entry(cx, &begin, release, outcome, &report, &hosts);
        if report.outcome == RolloutOutcome::Cancelled {
            self.record(&calm, &entry).await?;
            crew.desk.close().await?;
            return Ok(report);
        }
        let report = calm
            .effect_idempotent("finish", outcome, |cx| async move {
                self.record(&cx, &entry).await?;
                Ok(report)
            })
            .await?;
        crew.desk.close().await?;
        Ok(report)
    }

    /// Hooks, the question, the move. Gives why it failed.
    async fn group_onward(
        &self,
        cx: &Context,
        begin: &GroupBegin,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[Host],
    ) -> Result<Option<Failure>> {
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: true };
        if let Some(why) = crew.hooks(cx, When::Before, Phase::Rollout, of).await? {
            return Ok(Some(why.into()));
        }
        if let Some(approval) = &self.strategy.approval {
            match self.approved(cx, "rollout", approval, release, crew).await? {
                Course::Well => {}
                Course::Failed(failure) => return Ok(Some(failure)),
                Course::Stopped(why) => return Err(stopped(why)),
            }
        }
        if let Some(failure) = self.move_group(cx, "update", release, crew, hosts).await? {
            return Ok(Some(failure));
        }
        Ok(crew.hooks(cx, When::After, Phase::Rollout, of).await?.map(Failure::from))
    }

    pub(super) async fn plan_group(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<Plan> {
        let begin = self.begin_group(cx, release, crew).await?;
        let subject = format!("service {}", release.service);
        let before = begin.from.clone().map(Into::into);
        let group = self.group(crew).name;
        let mut change = if matches!(begin.decision, Decision::Roll | Decision::Repair) {
            let action = if before.is_some() { Action::Update } else { Action::Create };
            Change::will(group, subject, action).from_to(before, Some(release.version.clone().into()))
        } else {
            Change::will_not(group, subject).from_to(before.clone(), before)
        };
        change.reason = begin.reason;
        Ok(Plan { changes: vec![change], ..Plan::default() })
    }

    pub(super) fn group(&self, crew: &Crew<'_>) -> TargetGroup {
        TargetGroup {
            name: self.strategy.group.clone().unwrap_or_else(|| crew.service.to_owned()),
            inventory: crew.inventory.clone(),
            connector: Arc::clone(&crew.connector),
        }
    }

    /// A group's hosts, as far as known: none is fine.
    fn group_hosts(&self, crew: &Crew<'_>) -> Result<Vec<Host>> {
        if crew.inventory.hosts.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.strategy.select(crew.inventory)?.into_iter().cloned().collect())
    }

    async fn group_state(&self, cx: &Context, crew: &Crew<'_>) -> Result<GroupState> {
        let group = &self.group(crew);
        within(cx, CALL_LIMIT, |cx| async move { self.deployer.probe_group(&cx, group).await }).await
    }

    async fn begin_group(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<GroupBegin> {
        let entries = self.ledger(cx, &release.service).await?;
        let ledger = Ledger::new(&entries, release);
        let state = self.group_state(cx, crew).await?;
        let runs = !state.moving && state.healthy && state.current.as_deref() == Some(release.version.as_str());
        let (decision, reason) = match ledger.standing(&self.strategy) {
            Standing::Refused(why) => (Decision::Refused, Some(why)),
            Standing::Superseded(by) => (Decision::Superseded, Some(format!("{by} has replaced it"))),
            Standing::Open if ledger.is_known() && runs => (Decision::Unchanged, None),
            Standing::Open => (Decision::Roll, None),
        };
        Ok(GroupBegin {
            run: cx.run().map_or_else(|| crate::RunId::new().0, |run| run.0.clone()),
            started_at: Timestamp::now(),
            decision,
            reason,
            back_to: ledger.predecessor(&self.group(crew).name, state.current.as_deref()).cloned(),
            from: state.current,
        })
    }

    /// Moves the group and judges it. Gives why it failed, or `None`.
    async fn move_group(
        &self,
        cx: &Context,
        key: &str,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[Host],
    ) -> Result<Option<Failure>> {
        let moved: Moved = cx
            .effect_idempotent(key, &release.version, |cx| async move {
                let frozen = match self.freeze(&cx, crew).await? {
                    Ok(frozen) => frozen,
                    Err(why) => return Ok(Moved { failure: Some(why.into()) }),
                };
                let end = self.start_and_follow(&cx, release, crew).await;
                // Where nothing can be written any more, the lease's undo is what switches it on.
                if let Some(frozen) = frozen
                    && !end.as_ref().is_err_and(fatal)
                {
                    self.thaw(&cx, crew, frozen).await?;
                }
                let state = match end? {
                    Begun::Failed(why) => return Ok(Moved { failure: Some(why.into()) }),
                    Begun::Ended(state) => state,
                };
                Ok(Moved { failure: self.judge(&cx, state, release, crew, hosts).await? })
            })
            .await?;
        Ok(moved.failure)
    }

    async fn start_and_follow(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<Begun> {
        let started = self.start(cx, release, crew).await?;
        if let Some(why) = started.failure {
            return Ok(Begun::Failed(why));
        }
        say(cx, "follow", &release.version, "");
        Ok(Begun::Ended(match &started.job {
            Some(job) => self.follow(cx, job, crew).await?,
            None => self.wait_still(cx, crew).await.map_err(|e| one_line(&e)),
        }))
    }

    async fn start(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<Started> {
        cx.check("core", "rollout")?;
        let group = self.group(crew);
        // Not stopped by a cancel: a start whose answer is thrown away is a job that nobody can end.
        cx.shielded()
            .effect(
                "start",
                serde_json::json!({ "group": group.name, "version": release.version }),
                |cx| async move {
                    say(&cx, "start", &release.version, "");
                    let group = &group;
                    let job =
                        within(&cx, CALL_LIMIT, |cx| async move { self.deployer.start(&cx, group, release).await })
                            .await;
                    Ok(match job {
                        Ok(job) => Started { job: Some(job), failure: None },
                        Err(e) => {
                            Started { job: None, failure: Some(format!("it could not be started: {}", one_line(&e))) }
                        }
                    })
                },
                |cx| async move {
                    // The crash took the job's id. A job under way can only be waited for; a still group tells by its version.
                    let state = self.wait_still(&cx, crew).await?;
                    let there = state.current.as_deref() == Some(release.version.as_str());
                    Ok(there.then_some(Started { job: None, failure: None }))
                },
            )
            .await
    }

    /// Follows a job to its end; on a cancel it asks the system to stop it, and waits until it has.
    async fn follow(&self, cx: &Context, job: &GroupJob, crew: &Crew<'_>) -> Result<Result<GroupState, String>> {
        let done = match crew.desk.unless_ended(async { Ok(self.deployer.follow(cx, job).await) }).await? {
            Ok(done) => done,
            Err(end) => {
                let rest = self.end_job(cx, job).await?;
                return match Course::ended(end) {
                    Course::Stopped(why) => Err(stopped(format!("{why}; {rest}"))),
                    Course::Failed(failure) => Ok(Err(format!("{}; {rest}", failure.reason))),
                    Course::Well => Ok(Err(rest)),
                };
            }
        };
        match done {
            Err(_) if cx.is_cancelled() => {
                let rest = self.end_job(cx, job).await?;
                Err(crate::Error::new(ErrorKind::Cancelled, "core", "rollout", format!("cancelled; {rest}")))
            }
            Ok(state) => Ok(Ok(state)),
            Err(e) => Ok(Err(one_line(&e))),
        }
    }

    /// Asks the system to stop a job, and waits until it has. Says how that went.
    async fn end_job(&self, cx: &Context, job: &GroupJob) -> Result<String> {
        let calm = cx.shielded();
        within(&calm, CALL_LIMIT, |cx| async move { self.deployer.cancel(&cx, job).await })
            .await
            .map_err(|e| e.with("still_running", &job.id))?;
        let end = within(&calm, STOP_LIMIT, |cx| async move { self.deployer.follow(&cx, job).await }).await;
        Ok(match end {
            Ok(_) => "its job was stopped".to_owned(),
            Err(e) if matches!(e.kind(), ErrorKind::Timeout | ErrorKind::Unreachable) => {
                format!("its job {} may still run: {}", job.id, one_line(&e))
            }
            // What systems say of a job that was stopped.
            Err(e) => format!("its job has ended: {}", one_line(&e)),
        })
    }

    async fn wait_still(&self, cx: &Context, crew: &Crew<'_>) -> Result<GroupState> {
        loop {
            let state = self.group_state(cx, crew).await?;
            if !state.moving {
                return Ok(state);
            }
            cx.sleep("core", "rollout", Duration::from_millis(500)).await?;
        }
    }

    async fn judge(
        &self,
        cx: &Context,
        state: Result<GroupState, String>,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[Host],
    ) -> Result<Option<Failure>> {
        let state = match state {
            Ok(state) => state,
            Err(why) => return Ok(Some(why.into())),
        };
        if state.current.as_deref() != Some(release.version.as_str()) {
            let now = state.current.unwrap_or_else(|| "several versions".to_owned());
            return Ok(Some(format!("the group was to run {}, and runs {now}", release.version).into()));
        }
        if !state.healthy {
            return Ok(Some(format!("the group runs {}, and its system calls it unhealthy", release.version).into()));
        }
        let gates = [("health", &self.strategy.health), ("watch", &self.strategy.watch)];
        for (phase, gate) in gates {
            let Some(gate) = gate else { continue };
            say(cx, phase, &release.version, "");
            let calm = cx.shielded();
            match cx.guard("core", "rollout", crew.judge(&calm, phase, hosts, Some(gate), release)).await? {
                Judged::Well => {}
                Judged::Bad(failure) => return Ok(Some(failure)),
                Judged::Ended(end) => match Course::ended(end) {
                    Course::Failed(failure) => return Ok(Some(failure)),
                    Course::Stopped(why) => return Err(stopped(why)),
                    Course::Well => {}
                },
            }
        }
        Ok(None)
    }

    async fn group_back(
        &self,
        cx: &Context,
        begin: &GroupBegin,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[Host],
        failure: Failure,
    ) -> Result<(RolloutOutcome, String)> {
        let reason = failure.reason;
        if self.strategy.on_failure == OnFailure::Stop || failure.stop {
            return Ok((RolloutOutcome::Failed, reason));
        }
        crew.desk.turn_back().await?;
        let Some(old) = &begin.back_to else {
            let why = format!(
                "no earlier release of {} was seen healthy in environment {}",
                release.service,
                cx.environment()
            );
            return Ok((RolloutOutcome::Failed, format!("{reason}; {why}, so there is nothing to roll back to")));
        };
        say(cx, "rollback", &release.version, &reason);
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: false };
        let around = cx.scoped("back");
        let mut bad: Vec<String> = crew.hooks(&around, When::Before, Phase::Rollback, of).await?.into_iter().collect();
        let moved = self.move_group(cx, "rollback", old, crew, hosts).await?;
        bad.extend(moved.map(|failure| format!("the rollback failed: {}", failure.reason)));
        bad.extend(crew.compensate(cx, release, begin.from.as_deref()).await?);
        bad.extend(crew.hooks(&around, When::After, Phase::Rollback, of).await?);
        Ok(if bad.is_empty() {
            (RolloutOutcome::RolledBack, reason)
        } else {
            (RolloutOutcome::Failed, format!("{reason}; {}", bad.join("; ")))
        })
    }
}

fn stopped(why: String) -> crate::Error {
    crate::Error::new(ErrorKind::Cancelled, "core", "rollout", why)
}

/// Longest wait for a cancelled job to stop.
const STOP_LIMIT: Duration = Duration::from_secs(300);

fn group_entry(
    cx: &Context,
    begin: &GroupBegin,
    release: &Release,
    outcome: DeploymentOutcome,
    report: &RolloutReport,
    hosts: &[Host],
) -> Deployment {
    let version = match report.outcome {
        _ if outcome == DeploymentOutcome::Deployed => Some(release.version.clone()),
        RolloutOutcome::RolledBack => begin.back_to.as_ref().map(|r| r.version.clone()),
        _ => None,
    };
    let ended = outcome != DeploymentOutcome::Running;
    Deployment {
        environment: cx.environment().to_owned(),
        release: release.clone(),
        outcome,
        seen_healthy: outcome == DeploymentOutcome::Deployed,
        targets: version.map(|v| hosts.iter().map(|h| (h.name.clone(), v.clone())).collect()).unwrap_or_default(),
        run: begin.run.clone(),
        started_at: begin.started_at,
        finished_at: ended.then(Timestamp::now),
        reason: if ended { report.reason.clone() } else { None },
        detail: detail(release),
    }
}
