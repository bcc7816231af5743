use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Context, Gate, Host, Release, Result, Targets, VerdictKind};

use super::control::End;
use super::strategy::{Approval, Then};
use super::target::{Crew, one_line, part, say, within};

/// Why a target, a batch or the whole rollout is not well. Journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Everything stays as it is, whatever `on_failure` says.
    #[serde(default)]
    pub(super) stop: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, stop: false }
    }
}

/// What a gate came to, its policy applied.
#[derive(Debug)]
pub(super) enum Judged {
    Well,
    Bad(Failure),
    /// Somebody wants the rollout to end.
    Ended(End),
}

impl Crew<'_> {
    /// Judges a gate, or asks the deployer where there is none, and applies the strategy's policy to the answer. `key` names the
    /// question where somebody is asked.
    pub(super) async fn judge(
        &self,
        cx: &Context,
        key: &str,
        hosts: &[Host],
        gate: Option<&Gate>,
        release: &Release,
    ) -> Result<Judged> {
        let from = Instant::now();
        loop {
            let (kind, reason) =
                match self.desk.unless_ended(async { Ok(self.assess(cx, hosts, gate, release).await) }).await? {
                    Ok(answer) => answer,
                    Err(end) => return Ok(Judged::Ended(end)),
                };
            let Some(policy) = self.rollout.strategy.verdicts.of(kind) else { return Ok(Judged::Well) };
            if from.elapsed().as_secs_f64() < policy.again_s {
                say(cx, "again", &release.version, &reason);
                cx.sleep("core", "rollout", Duration::from_millis(500)).await?;
                continue;
            }
            return match policy.then {
                Then::Fail => Ok(Judged::Bad(reason.into())),
                Then::Stop => Ok(Judged::Bad(Failure { reason, stop: true })),
                Then::Proceed => {
                    cx.warn(format!("it goes on all the same, as its policy says: {reason}"));
                    Ok(Judged::Well)
                }
                Then::Ask => {
                    let limit = policy.ask_limit_s.unwrap_or(3600.0);
                    let approval = Approval::ask(format!("{reason}. Go on?")).limit_s(limit);
                    match self.desk.ask(cx, key, &approval, release).await? {
                        Ok(answer) if answer.granted => Ok(Judged::Well),
                        Ok(answer) => Ok(Judged::Bad(format!("{reason}; refused by {}", answer.said.text()).into())),
                        Err(end) => Ok(Judged::Ended(end)),
                    }
                }
            };
        }
    }

    async fn assess(
        &self,
        cx: &Context,
        hosts: &[Host],
        gate: Option<&Gate>,
        release: &Release,
    ) -> (VerdictKind, String) {
        let (Some(gate), Some(monitor)) = (gate, &self.rollout.monitor) else {
            return self.look(cx, hosts, release).await;
        };
        let mut targets = Targets::new(part(self.inventory, hosts), Arc::clone(&self.connector));
        targets.extra_vars.insert("release_version".into(), release.version.clone().into());
        let targets = &targets;
        // The monitor ends by itself; the rest of the time is for one that does not.
        let limit = Duration::from_secs_f64(gate.deadline_s + gate.start_period_s + gate.hold_s + 30.0);
        match within(cx, limit, |cx| async move { monitor.assess(&cx, gate, targets).await }).await {
            Ok(verdict) => {
                let reason = match verdict.kind {
                    VerdictKind::Inconclusive => format!("no clear answer in time: {}", verdict.reason),
                    VerdictKind::Error => format!("the check could not be made: {}", verdict.reason),
                    _ => verdict.reason,
                };
                (verdict.kind, reason)
            }
            Err(e) => (VerdictKind::Error, format!("the check could not be made: {}", one_line(&e))),
        }
    }

    /// The deployer's own look at the hosts.
    async fn look(&self, cx: &Context, hosts: &[Host], release: &Release) -> (VerdictKind, String) {
        for host in hosts {
            let target = self.target(host);
            let state = within(cx, Duration::from_secs(60), |cx| {
                let target = target.clone();
                async move { self.rollout.deployer.probe(&cx, &target).await }
            });
            match state.await {
                Err(e) => return (VerdictKind::Error, format!("{}: {}", host.name, one_line(&e))),
                Ok(state) if !state.running || state.current.as_deref() != Some(release.version.as_str()) => {
                    let reason = format!("{}: the deployer says that {} does not run", host.name, release.version);
                    return (VerdictKind::Fail, reason);
                }
                Ok(_) => {}
            }
        }
        (VerdictKind::Pass, String::new())
    }
}
