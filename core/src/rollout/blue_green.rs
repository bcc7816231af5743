use std::time::Instant;

use futures::future::join_all;

use crate::{BackendMode, Context, Error, ErrorKind, Host, Release, Result};

use super::Rollout;
use super::back::Went;
use super::batches::Course;
use super::begin::{Begin, Planned};
use super::gates::Failure;
use super::hooks::Occasion;
use super::progress::{Progress, bad_turn};
use super::strategy::{BlueGreen, Phase, When};
use super::target::{Crew, Turn, fatal, mode, one_line, say};

impl Rollout {
    /// Which group is live: the one that gets requests. The other one is to be changed; nothing is, if the live one runs the
    /// release and is in service as a whole.
    pub(super) fn colour(&self, groups: &BlueGreen, hosts: [Vec<&Host>; 2], targets: &mut [Planned]) -> Result<()> {
        let is_in = |group: &[&Host], t: &Planned| group.iter().any(|h| h.name == t.host);
        let [blue, green] = &hosts;
        let serving = |group: &[&Host]| targets.iter().filter(|t| is_in(group, t) && t.serves).count();
        let live = match (serving(blue), serving(green)) {
            // The first release goes to the first group.
            (0, 0) => green,
            (_, 0) => blue,
            (0, _) => green,
            (b, g) => {
                let [blue, green] = &groups.groups;
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "core",
                    "rollout",
                    "both groups get requests, so that none of them can be changed: drain one at the balancer",
                )
                .with("in_service", format!("{b} of {blue}, {g} of {green}")));
            }
        };
        let lives = |t: &Planned| is_in(live, t);
        let unchanged = targets.iter().filter(|t| lives(t)).all(|t| t.stays);
        for target in targets.iter_mut() {
            target.stays = unchanged || lives(target);
        }
        Ok(())
    }

    /// Changes the group that gets no requests, and then sends everything there.
    pub(super) async fn switch_over(
        &self,
        cx: &Context,
        groups: &BlueGreen,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<Course> {
        let (old, new): (Vec<&Planned>, Vec<&Planned>) = begin.targets.iter().partition(|t| t.stays);
        if let Some(end) = crew.desk.safe_point(cx).await? {
            return Ok(Course::ended(end));
        }
        crew.take_turns(cx, &new, release, progress, false).await?;
        crew.desk.progress("rolling", progress.well()).await?;
        let bad = progress.bad();
        if let Some(end) = crew.desk.end().await? {
            return Ok(Course::ended(end));
        }
        if !bad.is_empty() {
            return Ok(Course::Failed(Failure { reason: bad.join("; "), stop: progress.stops() }));
        }
        if let Some(approval) = &groups.approval {
            match self.approved(cx, "switch", approval, release, crew).await? {
                Course::Well => {}
                other => return Ok(other),
            }
        }
        if let Some(end) = crew.desk.safe_point(cx).await? {
            return Ok(Course::ended(end));
        }
        let of = Occasion { release, from: begin.from.as_deref(), host: None, forth: true };
        let calm = cx.shielded();
        if let Some(why) = crew.hooks(&calm, When::Before, Phase::Switch, of).await? {
            return Ok(Course::Failed(why.into()));
        }
        say(cx, "switch", &release.version, "");
        // From here to the last drain nothing stops it: both groups serve in between, which is no place to stay at.
        if let Some(why) = self.switch(&calm, &old, &new, release, crew, progress).await? {
            return Ok(Course::Failed(why.into()));
        }
        if let Some(why) = crew.hooks(&calm, When::After, Phase::Switch, of).await? {
            return Ok(Course::Failed(why.into()));
        }
        let from = Instant::now();
        let watched = self.watch_switched(cx, &new, release, crew).await?;
        progress.took("watch", from.elapsed().as_secs_f64());
        Ok(watched)
    }

    /// Puts the new group into service, then takes the old one out. Gives why it could not.
    async fn switch(
        &self,
        cx: &Context,
        old: &[&Planned],
        new: &[&Planned],
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
    ) -> Result<Option<String>> {
        let serves = join_all(new.iter().map(|planned| {
            let cx = cx.for_host(&planned.host);
            async move {
                let mut turn = progress.turns().get(&planned.host).cloned().unwrap_or_default();
                let turn: Turn = cx
                    .effect_idempotent(&format!("serve/{}", planned.host), &release.version, |cx| async move {
                        crew.serve(&cx, &mut turn, planned, release).await?;
                        Ok(turn)
                    })
                    .await?;
                progress.turns().insert(planned.host.clone(), turn);
                Ok(())
            }
        }));
        serves.await.into_iter().collect::<Result<Vec<()>>>()?;
        let bad = progress.bad();
        if !bad.is_empty() {
            return Ok(Some(bad.join("; ")));
        }
        let retires = join_all(old.iter().filter(|t| t.serves).map(|planned| {
            let cx = cx.for_host(&planned.host);
            async move {
                let turn: Turn = cx
                    .effect_idempotent(&format!("retire/{}", planned.host), &release.version, |cx| async move {
                        crew.retire(&cx, planned, release).await
                    })
                    .await?;
                let bad = bad_turn(&planned.host, &turn);
                progress.retired().insert(planned.host.clone(), turn);
                Ok(bad)
            }
        }));
        let bad: Vec<String> = retires.await.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok((!bad.is_empty()).then(|| bad.join("; ")))
    }

    /// The watch over the new group. While it lasts the old one can be put back by whoever finds this process dead.
    async fn watch_switched(
        &self,
        cx: &Context,
        new: &[&Planned],
        release: &Release,
        crew: &Crew<'_>,
    ) -> Result<Course> {
        let Some(gate) = &self.strategy.watch else { return Ok(Course::Well) };
        let watched: Result<Option<Failure>> = cx
            .effect_idempotent("watch", &release.version, |cx| async move {
                say(&cx, "watch", &release.version, "");
                crew.gate(&cx, "watch", new, gate, release).await
            })
            .await;
        crew.course(cx, watched).await
    }

    /// Stops the former release. The last thing of all: nothing goes back after it, and no lease is left whose undo would put a
    /// stopped target into service.
    pub(super) async fn stop_old(&self, cx: &Context, begin: &Begin, crew: &Crew<'_>) -> Result<()> {
        for planned in begin.targets.iter().filter(|t| t.stays) {
            let target = crew.target(crew.host(&planned.host)?);
            let cx = cx.for_host(&planned.host);
            let stopped: Option<String> = cx
                .effect_idempotent(&stop_key(&planned.host), &planned.before, |cx| async move {
                    Ok(self.deployer.deactivate(&cx, &target).await.err().map(|e| one_line(&e)))
                })
                .await?;
            if let Some(why) = stopped {
                // The rollout is over and good; a leftover is told, and harms nobody.
                cx.warn(format!("the former release could not be stopped: {why}"));
            }
        }
        Ok(())
    }

    /// Sends everything to the old group again: it still runs what was seen healthy, so this is a switch and nothing else.
    pub(super) async fn switch_back(
        &self,
        cx: &Context,
        begin: &Begin,
        release: &Release,
        crew: &Crew<'_>,
        progress: &Progress,
        went: &mut Went,
    ) -> Result<()> {
        let Some(balancer) = &self.balancer else { return Ok(()) };
        let (old, new): (Vec<&Planned>, Vec<&Planned>) = begin.targets.iter().partition(|t| t.stays);
        let mut bad = Vec::new();
        for planned in old.iter().filter(|t| t.serves) {
            let Some(mut turn) = progress.retired().get(&planned.host).cloned() else { continue };
            let Some(backend) = planned.known.as_ref().or(planned.backend.as_ref()) else { continue };
            let cx = cx.for_host(&planned.host);
            let turn: Turn = cx
                .effect_idempotent(&format!("serve-again/{}", planned.host), &planned.before, |cx| async move {
                    turn.reason = None;
                    say(&cx, "serve", planned.before.as_deref().unwrap_or_default(), "");
                    crew.put_back(&cx, &mut turn, balancer.as_ref(), backend, false).await?;
                    Ok(turn)
                })
                .await?;
            bad.extend(turn.reason.as_ref().map(|why| format!("{}: {why}", planned.host)));
            progress.retired().insert(planned.host.clone(), turn);
        }
        if !bad.is_empty() {
            // With too little of the old group in service, the new one is all there is: it is left as it is.
            went.fail(format!("the rollback failed: {}", bad.join("; ")));
            return Ok(());
        }
        let nothing_served = !begin.targets.iter().any(|t| t.serves);
        for planned in new {
            let turn = progress.turns().get(&planned.host).cloned().unwrap_or_default();
            if !turn.touched {
                continue;
            }
            let cx = cx.for_host(&planned.host);
            let back: Turn = cx
                .effect_idempotent(&format!("retire-again/{}", planned.host), &release.version, |cx| async move {
                    let mut out =
                        Turn { version: turn.version.clone(), reason: turn.reason.clone(), ..Turn::default() };
                    out.in_service = Some(false);
                    if mode(&cx, balancer.as_ref(), &planned.host).await? != Some(BackendMode::Serving) {
                        return Ok(Turn { well: true, ..out });
                    }
                    // No lease: its undo would put into service what was just found to be bad.
                    match crew.withdraw(&cx, &mut out, balancer.as_ref(), &planned.host).await {
                        Ok(()) => out.well = true,
                        Err(e) if fatal(&e) => return Err(e),
                        Err(e) => out.fail(format!("it could not be drained: {}", one_line(&e))),
                    }
                    Ok(out)
                })
                .await?;
            bad.extend(bad_turn(&planned.host, &back));
            if let Some(backend) = &planned.backend {
                crew.leave_out(&cx, backend).await?;
            }
            progress.back().insert(planned.host.clone(), back);
        }
        if !bad.is_empty() {
            went.fail(format!("the rollback failed: {}", bad.join("; ")));
        } else if nothing_served {
            went.fail("nothing was in service before, so there is nothing to go back to".to_owned());
        }
        Ok(())
    }
}

impl Crew<'_> {
    /// Takes a target out of service and leaves what runs there alone. Its lease's undo puts it back.
    async fn retire(&self, cx: &Context, planned: &Planned, release: &Release) -> Result<Turn> {
        let mut turn = Turn { version: planned.before.clone(), in_service: Some(false), well: true, ..Turn::default() };
        let (Some(balancer), Some(backend)) = (&self.rollout.balancer, &planned.backend) else { return Ok(turn) };
        match self.take_out(cx, &mut turn, balancer.as_ref(), planned, backend, release).await {
            Ok(()) => Ok(turn),
            Err(e) if fatal(&e) => Err(e),
            Err(e) => {
                turn.fail(format!("it could not be drained: {}", one_line(&e)));
                Ok(turn)
            }
        }
    }
}

impl Progress {
    /// Leaves the group that was taken out of service as it is: nobody shall put it back.
    pub(super) async fn settle_switched(&self, cx: &Context, crew: &Crew<'_>, begin: &Begin) -> Result<()> {
        let out: Vec<String> =
            self.retired().iter().filter(|(_, t)| t.in_service == Some(false)).map(|(h, _)| h.clone()).collect();
        for planned in begin.targets.iter().filter(|t| out.contains(&t.host)) {
            let Some(backend) = &planned.backend else { continue };
            // Settled before it was stopped; not even for a moment may a lease be there that would put it back.
            if cx.is_done(&stop_key(&planned.host)) {
                continue;
            }
            crew.leave_out(cx, backend).await?;
        }
        Ok(())
    }
}

fn stop_key(host: &str) -> String {
    format!("stop/{host}")
}
