use std::collections::BTreeMap;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{Context, Release, Result};

use super::begin::{Begin, Decision, Planned};
use super::gates::Failure;
use super::hooks::Occasion;
use super::ledger::no_predecessor;
use super::progress::{Progress, bad_turn};
use super::strategy::{Phase, When};
use super::target::{Crew, Turn, Way, say};
use super::{OnFailure, Rollout, RolloutOutcome};

/// The decision to go back. Once written, a resumed run goes on with it, whatever the world looks like by then.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GoBack {
    reason: String,
    hosts: Vec<String>,
    cancelled: bool,
}

/// How going back went.
#[derive(Debug)]
pub(super) struct Went {
    pub(super) outcome: RolloutOutcome,
    pub(super) reason: String,
    pub(super) cancelled: bool,
}

impl Went {
    pub(super) fn fail(&mut self, why: String) {
        self.outcome = RolloutOutcome::Failed;
        self.reason = format!("{}; {why}", self.reason);
    }
}

impl Rollout {
    /// Brings touched targets back to what was seen healthy. `cx` is not cancelled: a rollback is always finished.
    #[allow(clippy::too_many_arguments, reason = "one call, and every argument is a different thing")]
    pub(super) async fn go_back(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
        failure: Failure,
        cancelled: bool,
    ) -> Result<Went> {
        let mut went = Went { outcome: RolloutOutcome::RolledBack, reason: failure.reason.clone(), cancelled };
        if self.strategy.on_failure == OnFailure::Stop || failure.stop {
            went.outcome = RolloutOutcome::Failed;
            return Ok(went);
        }
        let order: Vec<String> = begin.targets.iter().map(|t| t.host.clone()).collect();
        let decision = GoBack { hosts: progress.victims(&order, cancelled), reason: failure.reason, cancelled };
        let decision: GoBack =
            cx.effect_idempotent("rollback", &decision.reason.clone(), |_| async move { Ok(decision) }).await?;
        (went.reason, went.cancelled) = (decision.reason, decision.cancelled);
        if decision.hosts.is_empty() {
            // Not "rolled back": the release was never tried, so nothing speaks against trying it.
            went.fail("no target was touched".to_owned());
        }
        say(cx, "rollback", &release.version, &went.reason);
        crew.desk.turn_back().await?;
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: false };
        // A hook's failure must not keep the former release from coming back; it is told, and the rest is done.
        if let Some(why) = crew.hooks(&cx.scoped("back"), When::Before, Phase::Rollback, of).await? {
            went.fail(why);
        }
        if self.strategy.blue_green.is_some() {
            self.switch_back(cx, begin, release, crew, progress, &mut went).await?;
        } else {
            self.targets_back(cx, begin, release, crew, progress, &decision.hosts, &mut went).await?;
        }
        let left = crew.compensate(cx, release, begin.from.as_deref()).await?;
        if !left.is_empty() {
            went.fail(left.join("; "));
        }
        if let Some(why) = crew.hooks(&cx.scoped("back"), When::After, Phase::Rollback, of).await? {
            went.fail(why);
        }
        Ok(went)
    }

    #[allow(clippy::too_many_arguments, reason = "as above")]
    async fn targets_back(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
        hosts: &[String],
        went: &mut Went,
    ) -> Result<()> {
        let planned = |host: &String| begin.targets.iter().find(|t| t.host == *host);
        let (todo, stuck): (Vec<&Planned>, Vec<&Planned>) =
            hosts.iter().filter_map(planned).partition(|t| t.back_to.is_some());
        if !stuck.is_empty() {
            let names: Vec<&str> = stuck.iter().map(|t| t.host.as_str()).collect();
            let why = if begin.decision == Decision::Repair {
                format!("{} is itself what was seen healthy", release.version)
            } else {
                no_predecessor(cx, release)
            };
            went.fail(format!("{why}, so there is nothing to roll back to on {}", names.join(", ")));
        }
        let all = begin.targets.len();
        let most = self.strategy.max_unavailable.map_or(usize::MAX, |most| most.size(all));
        let size = self.strategy.rollback_batch.unwrap_or(self.strategy.batch).size(all).min(most);
        for batch in todo.chunks(size) {
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
        Ok(())
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
            serves: forth.in_service == Some(true),
            ..planned.clone()
        };
        self.turn(cx, &there, old, Way::Back).await
    }
}
