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
        let intent = json!({ "service": release.service, "version": release.version });
        let back: Option<Release> = cx
            .effect_idempotent("choose", intent.clone(), |cx| async move {
                let entries = self.ledger(&cx, &release.service).await?;
                Ok(Ledger::new(&entries, release).predecessor("", None).cloned())
            })
            .await?;
        cx.effect_idempotent("refuse", intent, |cx| async move { self.refuse(&cx, release, why).await }).await?;
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

    async fn refuse(&self, cx: &Context, release: &Release, why: &str) -> Result<()> {
        let Some(store) = self.store_of(cx) else { return Ok(()) };
        let entries = store.deployments(cx.environment(), &release.service).await?;
        let newest = entries.into_iter().rev().find(|d| d.release == *release);
        let mut entry = newest.unwrap_or_else(|| Deployment {
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
        entry.outcome = DeploymentOutcome::RolledBack;
        entry.seen_healthy = false;
        entry.finished_at = Some(Timestamp::now());
        entry.reason = Some(why.to_owned());
        self.record(cx, &entry).await
    }
}
