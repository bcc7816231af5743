//! The strategy `linear`: a task runs on all hosts before the next one starts.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use towpath_core::{Error, ErrorKind, Result};

use super::out::{Lane, Ordered};
use super::settle::Settled;
use super::task::Outcome;
use super::{Mode, Playing, Run, lock};
use crate::load::Task;
use crate::render::truthy;
use crate::report::{PlaybookEvent, TaskInfo};
use crate::{PLAYBOOK, Step};

/// What the hosts of a step do.
pub(super) struct Turn {
    pub(super) path: Vec<u32>,
    pub(super) task: Arc<Task>,
    pub(super) hosts: Vec<String>,
}

impl Run<'_> {
    /// The next step: the task that comes first, and the hosts that are there.
    fn turn(&self, playing: &Playing<'_>) -> Option<Turn> {
        let wanted = |task: &Task| self.wanted(playing, task);
        let mut state = lock(&playing.state);
        let mut best: Option<Turn> = None;
        for host in &playing.batch {
            let Some(walk) = state.walks.get_mut(host) else { continue };
            let Some((path, task)) = walk.peek(&wanted) else { continue };
            match &mut best {
                Some(turn) if turn.path < *path => {}
                Some(turn) if turn.path == *path => turn.hosts.push(host.clone()),
                _ => best = Some(Turn { path: path.clone(), task: task.clone(), hosts: vec![host.clone()] }),
            }
        }
        let turn = best?;
        for host in &turn.hosts {
            if let Some(walk) = state.walks.get_mut(host) {
                walk.take();
            }
        }
        Some(turn)
    }

    /// Runs a batch to its end.
    pub(super) async fn linear(&self, playing: &Playing<'_>) -> Result<()> {
        let mut alive = self.alive(playing);
        while let Some(turn) = self.turn(playing) {
            self.cx.check(PLAYBOOK, "apply")?;
            let now = self.alive(playing);
            if now != alive {
                alive = now;
                self.refresh_magic(playing);
            }
            if !self.reached(playing, &turn).await {
                continue;
            }
            if turn.task.meta().is_some() {
                self.meta(playing, &turn).await?;
            } else {
                self.step(playing, &turn).await?;
            }
        }
        self.refresh_magic(playing);
        Ok(())
    }

    /// Hosts of the batch that have neither failed nor been lost.
    pub(super) fn alive(&self, playing: &Playing<'_>) -> usize {
        let state = lock(&playing.state);
        playing.batch.iter().filter(|h| !state.lost(h)).count()
    }

    /// `start_at_task` and `step`: whether a task runs at all.
    pub(super) async fn reached(&self, playing: &Playing<'_>, turn: &Turn) -> bool {
        let Some(host) = turn.hosts.first() else { return false };
        let written = turn.task.pos != playing.play.pos;
        let waits = lock(&self.waiting).clone();
        if let (Some(start), true) = (waits, written) {
            let name = self.info(playing, &turn.task, host).name.clone();
            let short = turn.task.name.clone().unwrap_or_default();
            let glob = globset::Glob::new(&start).map(|g| g.compile_matcher()).ok();
            let hit = |n: &str| n == start || glob.as_ref().is_some_and(|g| g.is_match(n));
            if !hit(&name) && !hit(&short) {
                return false;
            }
            *lock(&self.waiting) = None;
        }
        if let (Some(ask), true, true) = (self.ask, written, self.mode == Mode::Apply) {
            use std::sync::atomic::Ordering;
            if !self.agreed.load(Ordering::Relaxed) {
                match ask.step(&self.info(playing, &turn.task, host)).await {
                    Step::Run => {}
                    Step::Skip => return false,
                    Step::Continue => self.agreed.store(true, Ordering::Relaxed),
                }
            }
        }
        true
    }

    /// One task on the hosts whose turn it is.
    async fn step(&self, playing: &Playing<'_>, turn: &Turn) -> Result<()> {
        let task = &turn.task;
        let Some(first) = turn.hosts.first() else { return Ok(()) };
        let for_all = self.once(playing, task, first);
        let once = for_all || matches!(task.action.as_str(), "add_host" | "pause");
        let chosen = if once { turn.hosts.get(..1).unwrap_or_default() } else { &turn.hosts };
        let info = self.info(playing, task, first);
        self.out.say(&PlaybookEvent::TaskStarted { task: info.clone(), check: self.config.check });
        let changes = lock(&self.plan).changes.len();
        let outcomes = self.on_each(playing, task, &info, chosen).await?;
        if self.mode == Mode::Plan {
            // Arrival order is nobody's business.
            if let Some(new) = lock(&self.plan).changes.get_mut(changes..) {
                new.sort_by_key(|c| chosen.iter().position(|n| *n == c.target));
            }
        }
        // What these two do for all is known to the first host only.
        let others = if for_all { turn.hosts.as_slice() } else { &[] };
        let mut settled = Settled::default();
        for outcome in outcomes {
            self.settle(playing, task, &info, outcome, others, &mut settled);
        }
        self.read_includes(playing, task, &info, &turn.path, &mut settled);
        if !settled.failed.is_empty() && self.mode == Mode::Apply {
            self.after_failure(playing, task, &info, &settled.failed, once);
        }
        Ok(())
    }

    fn once(&self, playing: &Playing<'_>, task: &Task, host: &str) -> bool {
        let Some(v) = &task.inherit.run_once else { return false };
        truthy(v).unwrap_or_else(|| {
            let known = self.world.known(host);
            let view =
                super::vars::View { host, known: &known, task: Some(task), locals: Arc::default(), delegated: None };
            super::task::keyword(&self.scope(playing, &view), &Some(v.clone()), false)
        })
    }

    /// Reads what a step includes. What can't be read fails the hosts that want it, whatever they ignore.
    pub(super) fn read_includes(
        &self,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        info: &Arc<TaskInfo>,
        path: &[u32],
        settled: &mut Settled,
    ) {
        let wishes = std::mem::take(&mut settled.includes);
        if wishes.is_empty() {
            return;
        }
        let failed = self.include(playing, task, path, wishes);
        self.refresh_magic(playing);
        for (host, reason) in failed {
            settled.failed.push(host.clone());
            let fields = crate::modules::fields([
                ("failed", true.into()),
                ("reason", reason.clone().into()),
                ("include", task.args.get("_raw_params").cloned().unwrap_or_default()),
            ]);
            let error = super::result::failed(task, &info.name, &host, &fields, false);
            if self.mode == Mode::Plan {
                lock(&self.plan).warnings.push(format!("{host}: {} would fail: {}", info.name, error.report()));
                lock(&playing.state).end(&host);
                continue;
            }
            self.out.say(&PlaybookEvent::TaskFinished(crate::report::HostResult {
                host: host.clone(),
                delegated: None,
                task: info.clone(),
                status: towpath_core::TaskStatus::Failed,
                result: fields.clone(),
                item: None,
                looped: false,
                seconds: 0.0,
            }));
            self.count(&host, |sum| sum.failed += 1);
            self.fail(playing, task, info, &host, fields.into(), error);
        }
    }

    /// Runs a task on hosts at the same time, as many as `forks` and `throttle` allow.
    pub(super) async fn on_each(
        &self,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        info: &Arc<TaskInfo>,
        hosts: &[String],
    ) -> Result<Vec<Outcome>> {
        let ordered = Ordered::new(self.out.clone(), hosts.len());
        let width = match self.throttle(playing, task, hosts.first()) {
            0 => self.config.forks,
            n => n.min(self.config.forks),
        };
        let work = hosts.iter().enumerate().map(|(at, host)| {
            let lane = Lane { to: ordered.clone(), lane: at };
            async move {
                let outcome = self.task(playing, task, info, host, &lane).await;
                lane.to.done(at);
                (at, outcome)
            }
        });
        let work: Vec<_> = work.collect();
        let mut results: Vec<(usize, Result<Outcome>)> = stream::iter(work).buffer_unordered(width).collect().await;
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, r)| r).collect()
    }

    pub(super) fn throttle(&self, playing: &Playing<'_>, task: &Task, host: Option<&String>) -> usize {
        let Some(v) = &task.inherit.throttle else { return 0 };
        let number = |v: &towpath_core::Json| v.as_u64().or_else(|| v.as_str()?.trim().parse().ok());
        let n = number(v).or_else(|| {
            let known = self.world.known(host?);
            let view = super::vars::View {
                host: host?,
                known: &known,
                task: Some(task),
                locals: Arc::default(),
                delegated: None,
            };
            self.scope(playing, &view).render(v).ok().as_ref().and_then(number)
        });
        n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    /// What a failure means for the other hosts: `any_errors_fatal` and `max_fail_percentage`.
    fn after_failure(&self, playing: &Playing<'_>, task: &Task, info: &TaskInfo, failed: &[String], once: bool) {
        let Some(first) = failed.first() else { return };
        let wanted = |task: &Task| self.wanted(playing, task);
        let known = self.world.known(first);
        let view =
            super::vars::View { host: first, known: &known, task: Some(task), locals: Arc::default(), delegated: None };
        let scope = self.scope(playing, &view);
        let fatal = task.inherit.any_errors_fatal.is_some()
            && super::task::keyword(&scope, &task.inherit.any_errors_fatal, true);
        let mut state = lock(&playing.state);
        for host in playing.batch.iter().filter(|h| !failed.contains(h)) {
            if !state.takes_part(host) {
                continue;
            }
            if fatal {
                if let Some(walk) = state.walks.get_mut(host).filter(|w| !w.failing()) {
                    walk.fail();
                }
            } else if once {
                // Nothing rescues those for whom it ran elsewhere.
                state.kill(host);
            }
        }
        // A host has failed when nothing more is to come that could mend it.
        let mut dead = 0;
        for host in &playing.batch {
            if let Some(walk) = state.walks.get_mut(host) {
                walk.peek(&wanted);
                dead += usize::from(walk.failed);
            } else if state.lost(host) {
                dead += 1;
            }
        }
        let limit = playing.play.max_fail_percentage.as_ref().and_then(|v| {
            let v = scope.render(v).ok()?;
            v.as_f64().or_else(|| v.as_str()?.trim().trim_end_matches('%').parse().ok())
        });
        let Some(limit) = limit else { return };
        #[allow(clippy::cast_precision_loss, reason = "numbers of hosts are small")]
        let share = dead as f64 * 100.0 / playing.batch.len().max(1) as f64;
        if share > limit {
            for host in &playing.batch {
                if state.takes_part(host) {
                    state.kill(host);
                }
            }
            state.last = true;
            let error = Error::new(
                ErrorKind::ToolFailed,
                PLAYBOOK,
                "apply",
                "more hosts failed than `max_fail_percentage` allows",
            )
            .with("task", &info.name)
            .with("file", &task.pos);
            drop(state);
            for _ in 0..2 {
                self.out.say(&PlaybookEvent::NoHostsRemaining);
            }
            lock(&self.failures).push((first.to_owned(), error));
        }
    }
}
