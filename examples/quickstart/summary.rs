//! What the run came to.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};
use towpath::StepState;
use towpath::listen::Left;
use towpath::pipeline::RunReport;
use towpath::rollout::{RolloutOutcome, RolloutReport};

/// The result of a run, as people and programs read it.
pub(crate) struct Summary<'a> {
    report: &'a RunReport,
    releases: Vec<(String, RolloutReport)>,
    hosts: BTreeSet<String>,
    sent: u64,
    failed: u64,
    per_second: f64,
    serving: Option<String>,
    files: Left,
}

impl<'a> Summary<'a> {
    pub(crate) async fn of(report: &'a RunReport, balancer: &str, files: Left) -> Self {
        let mut releases = Vec::new();
        for step in report.steps.iter().filter(|s| s.name.starts_with("release ")) {
            let found = step.outputs.get("report").cloned();
            if let Some(Ok(found)) = found.map(serde_json::from_value::<RolloutReport>) {
                releases.push((found.to.clone(), found));
            }
        }
        let number = |name: &str| report.step("traffic").and_then(|s| s.outputs.get(name)).cloned().unwrap_or_default();
        let hosts = releases.iter().flat_map(|(_, r)| r.targets.iter().map(|t| t.host.clone())).collect();
        Self {
            report,
            hosts,
            sent: number("sent").as_u64().unwrap_or_default(),
            failed: number("failed").as_u64().unwrap_or_default(),
            per_second: number("per_second").as_f64().unwrap_or_default(),
            serving: serving(balancer).await,
            releases,
            files,
        }
    }

    /// Whether the run shows what it is there to show.
    pub(crate) fn is_well(&self) -> bool {
        let outcome = |v: &str| self.releases.iter().find(|(name, _)| name == v).map(|(_, r)| r.outcome);
        let kept = [Some(RolloutOutcome::Deployed), Some(RolloutOutcome::Unchanged), Some(RolloutOutcome::Superseded)];
        let refused = [Some(RolloutOutcome::RolledBack), Some(RolloutOutcome::Refused)];
        let steps = self.report.steps.iter().all(|s| match s.state {
            Some(StepState::Done | StepState::Unchanged) => true,
            Some(_) => s.name == super::LAST_RELEASE,
            None => false,
        });
        steps
            && kept.contains(&outcome("v1"))
            && kept.contains(&outcome("v2"))
            && refused.contains(&outcome("v3"))
            && self.serving.as_deref() == Some("v2")
            && self.failed == 0
            && self.sent > 0
    }

    pub(crate) fn json(&self) -> String {
        let steps: Vec<Value> = self
            .report
            .steps
            .iter()
            .map(|s| json!({ "name": s.name, "state": s.state, "seconds": s.seconds, "attempts": s.attempts }))
            .collect();
        let releases: Vec<Value> =
            self.releases.iter().map(|(name, r)| json!({ "release": name, "outcome": r.outcome })).collect();
        json!({
            "run": self.report.run,
            "resumed": self.report.resumed,
            "hosts": self.hosts.len(),
            "steps": steps,
            "requests": { "sent": self.sent, "failed": self.failed, "per_second": self.per_second },
            "releases": releases,
            "serving": self.serving,
            "seconds": self.report.seconds,
            "run_page": self.files.page,
            "journal": self.files.journal,
        })
        .to_string()
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nsteps")?;
        for step in &self.report.steps {
            let state = step
                .state
                .map_or_else(|| "not finished".to_owned(), |s| json!(s).as_str().unwrap_or("").replace('_', " "));
            writeln!(f, "  {:<14} {state:<12} {:>7.2} s", step.name, step.seconds)?;
        }
        writeln!(f, "releases, on {} hosts", self.hosts.len())?;
        for (name, release) in &self.releases {
            let outcome = json!(release.outcome).as_str().unwrap_or_default().replace('_', " ");
            let why = release.reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
            writeln!(f, "  {name} {outcome}{why}")?;
        }
        writeln!(f, "requests  {} sent, {} failed, {:.0} a second", self.sent, self.failed, self.per_second)?;
        writeln!(f, "serving   {}", self.serving.as_deref().unwrap_or("nothing"))?;
        for (name, path) in [("run page", &self.files.page), ("journal", &self.files.journal)] {
            if let Some(path) = path {
                writeln!(f, "{name:<9} {}", path.display())?;
            }
        }
        write!(f, "{} in {:.1} s", if self.is_well() { "done" } else { "NOT AS IT SHOULD BE" }, self.report.seconds)
    }
}

/// Asks the service which version answers, often enough to meet every host.
async fn serving(balancer: &str) -> Option<String> {
    let mut versions = BTreeSet::new();
    for _ in 0..9 {
        versions.insert(super::traffic::get(balancer).await.ok()?);
    }
    (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(" and "))
}
