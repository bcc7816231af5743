use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, Gate, Host, Release, Result};

use super::Rollout;
use super::begin::{Begin, Planned};
use super::control::End;
use super::gates::{Failure, Judged};
use super::progress::Progress;
use super::strategy::Approval;
use super::target::{Crew, Turn, Way, one_line, say};

/// How far the batches came.
#[derive(Debug)]
pub(super) enum Course {
    /// Every target runs the release, but for those that the failure budget allowed to fail.
    Well,
    Failed(Failure),
    /// Somebody wants it to end where it is.
    Stopped(String),
}

/// A batch's end, journalled as a whole.
#[derive(Debug, Serialize, Deserialize)]
struct BatchEnd {
    turns: BTreeMap<String, Turn>,
    /// Why the batch failed as a whole: its watch, or the time.
    failed: Option<Failure>,
}

/// A part of the way with a judgement of its own: a step of a canary, or all the rest.
struct Leg<'a> {
    /// How many targets, of those that are to be changed, have had their turn when it is over.
    until: usize,
    bake: Option<&'a Gate>,
    approval: Option<&'a Approval>,
}

impl Course {
    pub(super) fn ended(end: End) -> Self {
        match end {
            End::Stop(said) => Self::Stopped(format!("stopped by {}", said.text())),
            End::RollBack(said) => Self::Failed(format!("{} wants it rolled back", said.text()).into()),
        }
    }
}

impl Rollout {
    /// The canary's steps, and then the rest.
    fn legs(&self, all: usize, todo: usize) -> Vec<Leg<'_>> {
        let steps = self.strategy.canary.iter().map(|step| Leg {
            until: step.targets.size(all).min(todo),
            bake: step.bake.as_ref(),
            approval: step.approval.as_ref(),
        });
        steps.chain([Leg { until: todo, bake: None, approval: None }]).collect()
    }

    /// Works through the targets.
    pub(super) async fn batches(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<Course> {
        let todo: Vec<&Planned> = begin.targets.iter().filter(|t| !t.stays).collect();
        let unchanged = begin.targets.len() - todo.len();
        let mut batches = 0;
        for (n, leg) in self.legs(begin.targets.len(), todo.len()).into_iter().enumerate() {
            let part = todo.get(..leg.until).unwrap_or(&todo);
            loop {
                if let Some(end) = crew.desk.safe_point(cx).await? {
                    return Ok(Course::ended(end));
                }
                let batch = match progress.next(&self.strategy, begin, part) {
                    Ok(batch) if batch.is_empty() => break,
                    Ok(batch) => batch,
                    Err(why) => return Ok(Course::Failed(why.into())),
                };
                match self.batch(cx, batches, &batch, release, crew, progress).await? {
                    Course::Well => {}
                    other => return Ok(other),
                }
                batches += 1;
                crew.desk.progress("rolling", unchanged + progress.well()).await?;
            }
            let from = Instant::now();
            let end = self.leg_end(cx, n, &leg, part, release, crew).await?;
            if leg.bake.is_some() {
                progress.took("bake", from.elapsed().as_secs_f64());
            }
            match end {
                Course::Well => {}
                other => return Ok(other),
            }
        }
        Ok(Course::Well)
    }

    /// One batch, and what its failures mean.
    async fn batch(
        &self,
        cx: &Context,
        n: usize,
        batch: &[&Planned],
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<Course> {
        let intent = serde_json::json!({ "hosts": batch.iter().map(|t| &t.host).collect::<Vec<_>>() });
        let end: Result<BatchEnd> = cx
            .effect_idempotent(&format!("batch/{n}"), intent, |cx| async move {
                self.turns(&cx, n, batch, release, crew, progress).await
            })
            .await;
        let end = match end {
            Err(e) => return crew.ordered(cx, e).await,
            Ok(end) => end,
        };
        // Also those of a batch that an earlier process finished.
        progress.turns().extend(end.turns);
        if let Some(failure) = end.failed {
            return Ok(Course::Failed(failure));
        }
        let bad = progress.bad();
        if !bad.is_empty()
            && let Some(end) = crew.desk.end().await?
        {
            return Ok(Course::ended(end));
        }
        let stop = progress.stops();
        if stop || bad.len() > usize::try_from(self.strategy.failure_budget).unwrap_or(usize::MAX) {
            return Ok(Course::Failed(Failure { reason: bad.join("; "), stop }));
        }
        for reason in bad {
            cx.warn(format!("within the failure budget: {reason}"));
        }
        Ok(Course::Well)
    }

    async fn turns(
        &self,
        cx: &Context,
        n: usize,
        batch: &[&Planned],
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<BatchEnd> {
        let late = |e: Error| if e.kind() == ErrorKind::Timeout { Ok(Failure::from(one_line(&e))) } else { Err(e) };
        if n > 0 && self.strategy.pause_s > 0.0 {
            say(cx, "pause", &release.version, "");
            progress.took("pause", self.strategy.pause_s);
            let pause = cx.sleep("core", "rollout", Duration::from_secs_f64(self.strategy.pause_s));
            match crew.desk.unless_ended(pause).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ended()),
                Err(e) => return Ok(BatchEnd { turns: BTreeMap::new(), failed: Some(late(e)?) }),
            }
        }
        if let Err(e) = cx.check("core", "rollout") {
            return Ok(BatchEnd { turns: BTreeMap::new(), failed: Some(late(e)?) });
        }
        let turns = crew.take_turns(cx, batch, release, progress, true).await?;
        let failed = match &self.strategy.watch {
            Some(gate) if turns.values().all(|t| t.well) => {
                say(cx, "watch", &release.version, "");
                let from = Instant::now();
                let failed = crew.gate(cx, &format!("watch/{n}"), batch, gate, release).await;
                progress.took("watch", from.elapsed().as_secs_f64());
                failed?
            }
            _ => None,
        };
        Ok(BatchEnd { turns, failed })
    }

    /// What stands between a canary's step and the next one.
    async fn leg_end(
        &self,
        cx: &Context,
        n: usize,
        leg: &Leg<'_>,
        part: &[&Planned],
        release: &Release,
        crew: &Crew<'_>,
    ) -> Result<Course> {
        if let Some(gate) = leg.bake {
            let intent = serde_json::json!({ "hosts": part.len() });
            let baked: Result<Option<Failure>> = cx
                .effect_idempotent(&format!("bake/{n}"), intent, |cx| async move {
                    say(&cx, "bake", &release.version, &format!("{} targets", part.len()));
                    crew.gate(&cx, &format!("bake/{n}"), part, gate, release).await
                })
                .await;
            match crew.course(cx, baked).await? {
                Course::Well => {}
                other => return Ok(other),
            }
        }
        match leg.approval {
            Some(approval) => self.approved(cx, &format!("canary/{n}"), approval, release, crew).await,
            None => Ok(Course::Well),
        }
    }

    /// Asks somebody.
    pub(super) async fn approved(
        &self,
        cx: &Context,
        key: &str,
        approval: &Approval,
        release: &Release,
        crew: &Crew<'_>,
    ) -> Result<Course> {
        Ok(match crew.desk.ask(cx, key, approval, release).await? {
            Ok(answer) if answer.granted => Course::Well,
            Ok(answer) => Course::Failed(format!("refused by {}", answer.said.text()).into()),
            Err(end) => Course::ended(end),
        })
    }
}

impl Crew<'_> {
    /// Judges a gate over serving targets; gives why it failed. A cancel ends the wait only: the targets are at a safe point.
    /// That somebody ended the rollout comes as [`ended`].
    pub(super) async fn gate(
        &self,
        cx: &Context,
        key: &str,
        targets: &[&Planned],
        gate: &Gate,
        release: &Release,
    ) -> Result<Option<Failure>> {
        let hosts: Vec<Host> = targets.iter().map(|t| self.host(&t.host).cloned()).collect::<Result<_>>()?;
        let calm = cx.shielded();
        match cx.guard("core", "rollout", self.judge(&calm, key, &hosts, Some(gate), release)).await {
            Ok(Judged::Well) => Ok(None),
            Ok(Judged::Bad(failure)) => Ok(Some(failure)),
            Ok(Judged::Ended(_)) => Err(ended()),
            Err(e) if e.kind() == ErrorKind::Timeout => Ok(Some(one_line(&e).into())),
            Err(e) => Err(e),
        }
    }

    /// What an effect around a [`gate`](Self::gate) came to.
    pub(super) async fn course(&self, cx: &Context, judged: Result<Option<Failure>>) -> Result<Course> {
        match judged {
            Ok(None) => Ok(Course::Well),
            Ok(Some(failure)) => Ok(Course::Failed(failure)),
            Err(e) => self.ordered(cx, e).await,
        }
    }

    /// Lets targets take their turn at the same time; `serve`: up to being in service again.
    pub(super) async fn take_turns(
        &self,
        cx: &Context,
        targets: &[&Planned],
        release: &Release,
        progress: &Progress,
        serve: bool,
    ) -> Result<BTreeMap<String, Turn>> {
        let turns = join_all(targets.iter().map(|planned| {
            let cx = cx.for_host(&planned.host);
            let intent = serde_json::json!({ "from": planned.before, "to": release.version });
            async move {
                let turn: Turn = cx
                    .effect_idempotent(&format!("update/{}", planned.host), intent, |cx| async move {
                        match serve {
                            true => self.turn(&cx, planned, release, Way::Forth).await,
                            false => self.change(&cx, planned, release, Way::Forth).await,
                        }
                    })
                    .await?;
                progress.turns().insert(planned.host.clone(), turn.clone());
                Ok((planned.host.clone(), turn))
            }
        }));
        turns.await.into_iter().collect()
    }

    /// Reads an error of an effect that was left open: what [`ended`] carries is an order, and not journalled, so that it is still
    /// there for a process that goes on.
    pub(super) async fn ordered(&self, cx: &Context, error: Error) -> Result<Course> {
        if error.kind() != ErrorKind::Cancelled || cx.is_cancelled() {
            return Err(error);
        }
        Ok(match self.desk.end().await? {
            Some(end) => Course::ended(end),
            None => Course::Stopped(one_line(&error)),
        })
    }
}

/// Carries the word that somebody ended the rollout out of an effect, which is left open.
pub(super) fn ended() -> Error {
    Error::new(ErrorKind::Cancelled, "core", "rollout", "somebody ended the rollout")
}
