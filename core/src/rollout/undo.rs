use serde_json::json;

use crate::{Context, Deployment, DeploymentOutcome, Release, Result, Targets, Timestamp};

use super::ledger::Ledger;
use super::{Rollout, RolloutOutcome, RolloutReport};

impl Rollout {
    /// Rolls a release back that was deployed already: the ledger refuses it from now on, and the last release that was
    /// seen healthy before it is rolled out. The outcome is [`RolledBack`](RolloutOutcome::RolledBack), or
    /// [`Failed`](RolloutOutcome::Failed) where there is nothing to go back to or going back failed.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn undo(&self, cx: &Context, release: &Release, targets: &Targets, why: &str) -> Result<RolloutReport> {
        let (crew, per_target) = self.crew(cx, release, targets)?;
        let hosts = if per_target { self.strategy.select(&targets.inventory)? } else { Vec::new() };
        let (crew, hosts) = (&crew, &hosts);
        let intent = json!({ "service": release.service, "version": release.version });
        let back: Option<Release> = cx
            .effect_idempotent("choose", intent.clone(), |cx| async move {
                let entries = self.ledger(&cx, &release.service).await?;
                Ok(Ledger::new(&entries, release).predecessor("", None).cloned())
            })
            .await?;
        cx.effect_idempotent("refuse", intent, |cx| async move {
            let entry = self.refusal(&cx, release, why).await?;
            self.record(&cx, &entry).await?;
            self.record_on_hosts(&cx, crew, hosts, &entry).await;
            Ok(())
        })
        .await?;
        let mut report = RolloutReport {
            outcome: RolloutOutcome::Failed,
            service: release.service.clone(),
            from: Some(release.version.clone()),
            to: release.version.clone(),
            reason: Some(format!("{why}; no release was seen healthy before it, so it stays")),
            targets: Vec::new(),
            seconds: Default::default(),
        };
        let Some(back) = back else { return Ok(report) };
        let done = self.run(&cx.scoped("back"), &back, targets).await?;
        let well = matches!(done.outcome, RolloutOutcome::Deployed | RolloutOutcome::Unchanged);
        report.outcome = if well { RolloutOutcome::RolledBack } else { RolloutOutcome::Failed };
        report.reason = Some(match done.reason {
            Some(reason) if !well => format!("{why}; rolling back to {} failed: {reason}", back.version),
            _ => why.to_owned(),
        });
        report.targets = done.targets;
        report.seconds = done.seconds;
        Ok(report)
    }

    /// The entry by which the ledger refuses a release: that of its last rollout, changed.
    async fn refusal(&self, cx: &Context, release: &Release, why: &str) -> Result<Deployment> {
        let entries = match self.store_of(cx) {
            Some(store) => store.deployments(cx.environment(), &release.service).await?,
            None => Vec::new(),
        };
        let newest = entries.into_iter().rev().find(|d| d.release == *release);
        let entry = newest.unwrap_or_else(|| Deployment {
            environment: cx.environment().to_owned(),
            release: release.clone(),
            outcome: DeploymentOutcome::RolledBack,
            seen_healthy: false,
            targets: Default::default(),
            run: cx.run().map(|r| r.0.clone()).unwrap_or_default(),
            started_at: Timestamp::now(),
            finished_at: None,
            reason: None,
            detail: super::ledger::detail(release),
        });
        Ok(Deployment {
            outcome: DeploymentOutcome::RolledBack,
            seen_healthy: false,
            finished_at: Some(Timestamp::now()),
            reason: Some(why.to_owned()),
            ..entry
        })
    }
}
