//! Supervises a deployer that moves a whole group by itself.

mod freeze;
mod job;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{
    Action, Change, Context, Deployment, DeploymentOutcome, ErrorKind, GroupState, Host, Plan, Release, Result,
    TargetGroup, Timestamp,
};

use self::job::{Begun, stopped};
use super::batches::Course;
use super::begin::{Decision, rollout_id};
use super::gates::{Failure, Judged};
use super::hooks::Occasion;
use super::ledger::{Ledger, Standing, detail, no_predecessor};
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

/// How moving a group ended. Journalled, so that a failure is not tried again by a resumed run.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    failure: Option<Failure>,
    /// It failed before anything of the group was moved.
    #[serde(default)]
    untouched: bool,
}

/// Why a rollout of a group goes back.
struct Fell {
    failure: Failure,
    /// Nothing of the group was moved.
    untouched: bool,
}

impl Fell {
    fn before_it_moved(failure: impl Into<Failure>) -> Self {
        Self { failure: failure.into(), untouched: true }
    }
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
                let fell = self.group_onward(cx, &begin, release, crew, &hosts).await;
                let calm = cx.shielded();
                match fell {
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
                    Ok(Some(fell)) => {
                        let untouched = fell.untouched;
                        let (outcome, reason) = self.group_back(&calm, &begin, release, crew, &hosts, fell).await?;
                        report.reason = Some(reason);
                        (state, version) = match outcome {
                            _ if untouched => (state, version),
                            RolloutOutcome::RolledBack => {
                                (TargetOutcome::RolledBack, begin.back_to.as_ref().map(|r| r.version.clone()))
                            }
                            _ => (TargetOutcome::Failed, None),
                        };
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

    /// Hooks, the question, the move. Gives why it goes back.
    async fn group_onward(
        &self,
        cx: &Context,
        begin: &GroupBegin,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[Host],
    ) -> Result<Option<Fell>> {
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: true };
        if let Some(why) = crew.hooks(cx, When::Before, Phase::Rollout, of).await? {
            return Ok(Some(Fell::before_it_moved(why)));
        }
        if let Some(approval) = &self.strategy.approval {
            match self.approved(cx, "rollout", approval, release, crew).await? {
                Course::Well => {}
                Course::Failed(failure) => return Ok(Some(Fell::before_it_moved(failure))),
                Course::Stopped(why) => return Err(stopped(why)),
            }
        }
        let moved = self.move_group(cx, "update", release, crew, hosts).await?;
        if let Some(failure) = moved.failure {
            return Ok(Some(Fell { failure, untouched: moved.untouched }));
        }
        let after = crew.hooks(cx, When::After, Phase::Rollout, of).await?;
        Ok(after.map(|why| Fell { failure: why.into(), untouched: false }))
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

    /// Moves the group and judges it.
    async fn move_group(
        &self,
        cx: &Context,
        key: &str,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[Host],
    ) -> Result<Moved> {
        cx.effect_idempotent(key, &release.version, |cx| async move {
            let frozen = match self.freeze(&cx, crew).await? {
                Ok(frozen) => frozen,
                Err(why) => return Ok(Moved { failure: Some(why.into()), untouched: true }),
            };
            let end = self.start_and_follow(&cx, release, crew).await;
            // Where nothing can be written any more, the lease's undo is what switches it on.
            if let Some(frozen) = frozen
                && !end.as_ref().is_err_and(fatal)
            {
                self.thaw(&cx, crew, frozen).await?;
            }
            let state = match end? {
                Begun::Refused(why) => return Ok(Moved { failure: Some(why.into()), untouched: true }),
                Begun::Failed(why) => return Ok(Moved { failure: Some(why.into()), untouched: false }),
                Begun::Ended(state) => state,
            };
            Ok(Moved { failure: self.judge(&cx, state, release, crew, hosts).await?, untouched: false })
        })
        .await
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
        fell: Fell,
    ) -> Result<(RolloutOutcome, String)> {
        let reason = fell.failure.reason;
        if self.strategy.on_failure == OnFailure::Stop || fell.failure.stop {
            return Ok((RolloutOutcome::Failed, reason));
        }
        crew.desk.turn_back().await?;
        let back_to = match &begin.back_to {
            _ if fell.untouched => None,
            Some(old) => Some(old),
            None => {
                let why = no_predecessor(cx, release);
                return Ok((RolloutOutcome::Failed, format!("{reason}; {why}, so there is nothing to roll back to")));
            }
        };
        say(cx, "rollback", &release.version, &reason);
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: false };
        let around = cx.scoped("back");
        let mut bad: Vec<String> = crew.hooks(&around, When::Before, Phase::Rollback, of).await?.into_iter().collect();
        match back_to {
            Some(old) => {
                let moved = self.move_group(cx, "rollback", old, crew, hosts).await?;
                bad.extend(moved.failure.map(|failure| format!("the rollback failed: {}", failure.reason)));
            }
            // Not "rolled back": the release was never tried, so nothing speaks against trying it.
            None => bad.push("the group was not touched".to_owned()),
        }
        bad.extend(crew.compensate(cx, release, begin.from.as_deref()).await?);
        bad.extend(crew.hooks(&around, When::After, Phase::Rollback, of).await?);
        Ok(if bad.is_empty() {
            (RolloutOutcome::RolledBack, reason)
        } else {
            (RolloutOutcome::Failed, format!("{reason}; {}", bad.join("; ")))
        })
    }
}

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
