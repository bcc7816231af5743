use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    Backend, BackendMode, Balancer, Connector, Context, Error, ErrorKind, EventKind, Group, Host, Inventory, Release,
    Result, Target, Undo,
};

use super::Rollout;
use super::begin::Planned;
use super::desk::Desk;
use super::gates::Judged;
use super::hooks::{Begun, Occasion};
use super::leases::Leases;
use super::strategy::{Phase, When};

/// What the work on all targets of one rollout has in common.
#[derive(Debug)]
pub(super) struct Crew<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) inventory: &'a Inventory,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) leases: Leases,
    pub(super) service: &'a str,
    pub(super) desk: Desk,
    pub(super) begun: Begun,
}

/// Which way a target moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Forth,
    Back,
}

/// What a target's turn came to. Journalled, so that a failure is not tried again by a resumed run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Turn {
    /// It runs the release and passed its health check.
    pub(super) well: bool,
    /// Its activation was started.
    pub(super) touched: bool,
    /// Whether it gets requests; `None`: there is no balancer.
    pub(super) in_service: Option<bool>,
    /// What runs on it, as far as known.
    pub(super) version: Option<String>,
    /// Why it is not well.
    pub(super) reason: Option<String>,
    /// Its gate's policy says that everything stays as it is.
    #[serde(default)]
    pub(super) stop: bool,
    pub(super) cut_off: u64,
    pub(super) seconds: BTreeMap<String, f64>,
}

/// A deployer's failure, kept as a value: what the journal must not do again is part of its result.
#[derive(Debug, Serialize, Deserialize)]
struct Tried {
    failure: Option<String>,
}

impl Crew<'_> {
    pub(super) fn target(&self, host: &Host) -> Target {
        Target { host: self.inventory.effective(host), connector: Arc::clone(&self.connector) }
    }

    pub(super) fn host(&self, name: &str) -> Result<&Host> {
        self.inventory.host(name).ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "core",
                "rollout",
                "a host of the interrupted rollout is no longer in the inventory: start a new run",
            )
            .with("host", name)
        })
    }

    fn lease_key(&self, cx: &Context, host: &str) -> String {
        format!("drain/{}/{}/{host}", cx.environment(), self.service)
    }

    fn undo(&self, cx: &Context, backend: &Backend) -> Undo {
        let by = self.rollout.strategy.balancer.clone();
        let (provider, config) = by.map(|b| (b.provider, b.config)).unwrap_or_default();
        let arguments = serde_json::to_value(backend).unwrap_or_default();
        Undo { provider, config, verb: "add".to_owned(), arguments, environment: cx.environment().to_owned() }
    }

    /// Moves one target to `release`. Stopped by a cancel until it is touched; from then on it goes on to a safe point.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](ErrorKind::Cancelled), with the target as it was. Any other: the journal or the store can't be written.
    pub(super) async fn turn(&self, cx: &Context, planned: &Planned, release: &Release, way: Way) -> Result<Turn> {
        let mut turn = self.change(cx, planned, release, way).await?;
        if !turn.well {
            return Ok(turn);
        }
        let calm = cx.shielded();
        let of = self.occasion(planned, release, way);
        if !self.hooked(&calm, When::Before, Phase::Serve, of, &mut turn).await? {
            return Ok(turn);
        }
        self.serve(&calm, &mut turn, planned, release).await?;
        if turn.well {
            self.hooked(&calm, When::After, Phase::Serve, of, &mut turn).await?;
        }
        Ok(turn)
    }

    /// Puts a target into service that was changed and is well.
    pub(super) async fn serve(
        &self,
        cx: &Context,
        turn: &mut Turn,
        planned: &Planned,
        release: &Release,
    ) -> Result<()> {
        let (Some(balancer), Some(backend)) = (&self.rollout.balancer, &planned.backend) else { return Ok(()) };
        let from = Instant::now();
        say(cx, "serve", &release.version, "");
        self.put_back(cx, turn, balancer.as_ref(), backend, planned.moved()).await?;
        turn.took("serve", from);
        Ok(())
    }

    /// Takes one target out of service, activates the release and checks it. On return it is well, and not in service yet.
    pub(super) async fn change(&self, cx: &Context, planned: &Planned, release: &Release, way: Way) -> Result<Turn> {
        let host = self.host(&planned.host)?;
        cx.check("core", "rollout")?;
        let calm = cx.shielded();
        let of = self.occasion(planned, release, way);
        let (mut turn, mut drained) = (Turn { version: planned.before.clone(), ..Turn::default() }, false);
        if let (Some(balancer), Some(backend)) = (&self.rollout.balancer, &planned.backend) {
            // Looked at again: what was out of service when all this began may have been put back meanwhile.
            let serves =
                planned.serves || mode(&calm, balancer.as_ref(), &planned.host).await? == Some(BackendMode::Serving);
            turn.in_service = Some(serves);
            if serves {
                if !self.hooked(cx, When::Before, Phase::Drain, of, &mut turn).await? {
                    return Ok(turn);
                }
                if let Err(e) = self.take_out(cx, &mut turn, balancer.as_ref(), planned, backend, release).await {
                    let known = planned.known.as_ref().unwrap_or(backend);
                    let restored = self.put_back(&calm, &mut turn, balancer.as_ref(), known, false).await;
                    if fatal(&e) || (e.kind() == ErrorKind::Cancelled && cx.is_cancelled()) {
                        return Err(self.stranded(e, &turn, &host.name));
                    }
                    restored?;
                    turn.fail(format!("it could not be drained: {}", one_line(&e)));
                    return Ok(turn);
                }
                drained = true;
            }
        }
        turn.touched = true;
        if drained && !self.hooked(&calm, When::After, Phase::Drain, of, &mut turn).await? {
            return Ok(turn);
        }
        if !self.hooked(&calm, When::Before, Phase::Activate, of, &mut turn).await? {
            return Ok(turn);
        }
        let from = Instant::now();
        say(&calm, "activate", &release.version, "");
        let tried = self.activate(&calm, planned, host, release).await;
        turn.took("activate", from);
        let tried = tried.map_err(|e| self.stranded(e, &turn, &host.name))?;
        if let Some(failure) = tried.failure {
            turn.version = None;
            turn.fail(format!("it could not be activated: {failure}"));
            return Ok(turn);
        }
        turn.version = Some(release.version.clone());
        if !self.hooked(&calm, When::After, Phase::Activate, of, &mut turn).await?
            || !self.hooked(&calm, When::Before, Phase::Health, of, &mut turn).await?
        {
            return Ok(turn);
        }
        let from = Instant::now();
        say(&calm, "health", &release.version, "");
        let hosts = std::slice::from_ref(host);
        let key = format!("health/{}", host.name);
        let judged = self.judge(&calm, &key, hosts, self.rollout.strategy.health.as_ref(), release).await?;
        turn.took("health", from);
        match judged {
            Judged::Well => {}
            Judged::Bad(failure) => {
                say(&calm, "unhealthy", &release.version, &failure.reason);
                turn.stop = failure.stop;
                turn.fail(failure.reason);
                return Ok(turn);
            }
            // Half changed is no place to stop at: it goes back, as everything that is not well does.
            Judged::Ended(_) => {
                turn.fail("the rollout was ended before it was seen healthy".to_owned());
                return Ok(turn);
            }
        }
        turn.well = self.hooked(&calm, When::After, Phase::Health, of, &mut turn).await?;
        Ok(turn)
    }

    fn occasion<'a>(&self, planned: &'a Planned, release: &'a Release, way: Way) -> Occasion<'a> {
        Occasion { release, from: planned.before.as_deref(), host: Some(&planned.host), forth: way == Way::Forth }
    }

    /// Runs a target's hooks. `false`: one failed, and the target with it.
    async fn hooked(&self, cx: &Context, when: When, phase: Phase, of: Occasion<'_>, turn: &mut Turn) -> Result<bool> {
        match self.hooks(cx, when, phase, of).await? {
            Some(failure) => {
                turn.fail(failure);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Drains a target and waits until it is idle. On return nothing new reaches it.
    pub(super) async fn take_out(
        &self,
        cx: &Context,
        turn: &mut Turn,
        balancer: &dyn Balancer,
        planned: &Planned,
        backend: &Backend,
        release: &Release,
    ) -> Result<()> {
        let (from, name) = (Instant::now(), planned.host.as_str());
        let key = self.lease_key(cx, name);
        self.leases.take(cx, &key, &self.undo(cx, backend)).await?;
        say(cx, "drain", &release.version, "");
        self.withdraw(cx, turn, balancer, name).await?;
        // Somebody may have put it back while this process was stopped or slow. A target that serves is never touched.
        self.leases.confirm(&key).await?;
        if mode(&cx.shielded(), balancer, name).await? == Some(BackendMode::Serving) {
            turn.in_service = Some(true);
            return Err(Error::new(
                ErrorKind::Conflict,
                "core",
                "rollout",
                "the drained backend was put back by somebody else",
            ));
        }
        turn.took("drain", from);
        Ok(())
    }

    /// Drains a target and waits until it is idle, with no undo: for one that shall not come back.
    pub(super) async fn withdraw(
        &self,
        cx: &Context,
        turn: &mut Turn,
        balancer: &dyn Balancer,
        name: &str,
    ) -> Result<()> {
        // Dropped half-way, a drain would be neither done nor undone: it is awaited, whatever `cx` says.
        drain(&cx.shielded(), balancer, name).await?;
        turn.in_service = Some(false);
        let limit = Duration::from_secs_f64(self.rollout.strategy.drain_limit_s);
        turn.cut_off = match cx.guard("core", "rollout", balancer.wait_idle(cx, name, limit)).await {
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            other => other?,
        };
        if turn.cut_off > 0 {
            cx.warn(format!(
                "{} connections of {name} did not end within {} s and will be cut off",
                turn.cut_off, self.rollout.strategy.drain_limit_s
            ));
        }
        Ok(())
    }

    async fn activate(&self, cx: &Context, planned: &Planned, host: &Host, release: &Release) -> Result<Tried> {
        let (deployer, target) = (&self.rollout.deployer, self.target(host));
        let limit = Duration::from_secs_f64(self.rollout.strategy.activate_limit_s);
        let intent = serde_json::json!({ "host": host.name, "from": planned.before, "to": release.version });
        let new = planned.before.as_deref() != Some(release.version.as_str());
        cx.effect(
            "activate",
            intent,
            |cx| async move {
                let done =
                    within(&cx, limit, |cx| async move { deployer.activate(&cx, &self.target(host), release).await })
                        .await;
                Ok(Tried { failure: done.err().map(|e| one_line(&e)) })
            },
            |cx| async move {
                // The version tells nothing where it ran before with another content: activate again, it is idempotent.
                let state = within(&cx, limit, |cx| async move { deployer.probe(&cx, &target).await }).await;
                let there = state.is_ok_and(|s| s.running && s.current.as_deref() == Some(release.version.as_str()));
                Ok((new && there).then_some(Tried { failure: None }))
            },
        )
        .await
    }

    /// Puts a backend into service and gives its lease back. Where the balancer refuses, the lease is left to run out, so that
    /// a sweep tries again, and the turn says so.
    pub(super) async fn put_back(
        &self,
        cx: &Context,
        turn: &mut Turn,
        balancer: &dyn Balancer,
        backend: &Backend,
        replace: bool,
    ) -> Result<()> {
        let key = self.lease_key(cx, &backend.name);
        let until = Instant::now() + Duration::from_secs_f64(self.rollout.strategy.serve_limit_s);
        let mut tries = 0;
        let result = loop {
            tries += 1;
            // The first call waits as long as it may; after it there is time for a refusal.
            let limit = until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            let result = within(cx, limit, |cx| async move {
                if replace {
                    balancer.remove(&cx, &backend.name).await?;
                }
                balancer.add(&cx, backend).await
            })
            .await;
            if result.is_ok() || tries == 3 {
                break result;
            }
            tokio::time::sleep(Duration::from_millis(100 * tries)).await;
        };
        match result {
            Ok(()) => {
                turn.in_service = Some(true);
                self.leases.give_back(&key).await
            }
            Err(e) => {
                turn.in_service = Some(false);
                turn.fail(format!("the balancer did not take it back: {}", one_line(&e)));
                self.leases.abandon(&key).await;
                Ok(())
            }
        }
    }

    /// Keeps a target out of service for good: no undo is left that would put it back.
    pub(super) async fn leave_out(&self, cx: &Context, backend: &Backend) -> Result<()> {
        let Some(balancer) = &self.rollout.balancer else { return Ok(()) };
        let key = self.lease_key(cx, &backend.name);
        // Taken first, since it may still be that of the process before a crash.
        self.leases.take(cx, &key, &self.undo(cx, backend)).await?;
        // Somebody may have carried that one's undo out.
        if mode(cx, balancer.as_ref(), &backend.name).await? == Some(BackendMode::Serving) {
            self.withdraw(cx, &mut Turn::default(), balancer.as_ref(), &backend.name).await?;
        }
        self.leases.give_back(&key).await
    }

    fn stranded(&self, error: Error, turn: &Turn, host: &str) -> Error {
        let error = error.with_missing("host", host);
        if turn.in_service == Some(false) { error.with("out_of_service", host) } else { error }
    }
}

impl Turn {
    pub(super) fn fail(&mut self, reason: String) {
        self.well = false;
        self.reason = Some(match self.reason.take() {
            Some(first) => format!("{first}; {reason}"),
            None => reason,
        });
    }

    pub(super) fn took(&mut self, phase: &str, from: Instant) {
        *self.seconds.entry(phase.to_owned()).or_default() += from.elapsed().as_secs_f64();
    }
}

/// Longest time of one call to a balancer that is not a wait.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);

async fn drain(cx: &Context, balancer: &dyn Balancer, name: &str) -> Result<()> {
    match within(cx, CALL_LIMIT, |cx| async move { balancer.drain(&cx, name).await }).await {
        // A backend that is not there gets nothing.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) async fn mode(cx: &Context, balancer: &dyn Balancer, name: &str) -> Result<Option<BackendMode>> {
    let all = within(cx, CALL_LIMIT, |cx| async move { balancer.backends(&cx).await }).await?;
    Ok(all.iter().find(|b| b.backend.name == name).map(|b| b.mode))
}

/// Calls a provider with a deadline, and drops the call some time after it, for a provider that does not look at its
/// context.
pub(super) async fn within<T, F: Future<Output = Result<T>>>(
    cx: &Context,
    limit: Duration,
    call: impl FnOnce(Context) -> F,
) -> Result<T> {
    tokio::time::timeout(limit + Duration::from_secs(10), call(cx.with_timeout(limit))).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", limit.as_secs_f64());
        Err(Error::new(ErrorKind::Timeout, "core", "rollout", message).retry_later())
    })
}

/// The store or the journal is in trouble: nothing more can be done safely.
pub(super) fn fatal(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Storage | ErrorKind::Interrupted)
}

/// An error and its causes in one line, as reports and the ledger keep it.
pub(super) fn one_line(e: &Error) -> String {
    e.report().replace("\n  caused by: ", ": ").replace('\n', " ")
}

pub(super) fn say(cx: &Context, phase: &str, version: &str, detail: &str) {
    cx.emit(EventKind::Rollout { phase: phase.to_owned(), version: version.to_owned(), detail: detail.to_owned() });
}

/// The inventory with these hosts only; groups and variables stay, so that checks see the same variables.
pub(super) fn part(inventory: &Inventory, hosts: &[Host]) -> Inventory {
    let keep = |name: &String| hosts.iter().any(|h| h.name == *name);
    let groups = inventory.groups.iter().map(|(name, group)| {
        let hosts = group.hosts.iter().filter(|h| keep(h)).cloned().collect();
        (name.clone(), Group { hosts, ..group.clone() })
    });
    Inventory { hosts: hosts.to_vec(), groups: groups.collect(), vars: inventory.vars.clone() }
}
