//! The strategies `free` and `host_pinned`: each host runs on by itself.

use futures::stream::{self, StreamExt as _};
use towpath_core::Result;

use super::linear::Turn;
use super::out::{Lane, Ordered};
use super::settle::Settled;
use super::{Playing, Run, lock};
use crate::PLAYBOOK;
use crate::load::Task;
use crate::report::PlaybookEvent;

impl Run<'_> {
    /// Runs a batch to its end. Pinned, as many hosts as `forks` run from their first task to their last; else as many tasks.
    pub(super) async fn free(&self, playing: &Playing<'_>, pinned: bool) -> Result<()> {
        let width = if pinned { self.config.forks } else { playing.batch.len().max(1) };
        let hosts: Vec<_> = playing.batch.iter().map(|host| self.alone(playing, host, pinned)).collect();
        let results: Vec<Result<()>> = stream::iter(hosts).buffer_unordered(width).collect().await;
        results.into_iter().collect()
    }

    async fn alone(&self, playing: &Playing<'_>, host: &str, pinned: bool) -> Result<()> {
        let names = [host.to_owned()];
        loop {
            self.cx.check(PLAYBOOK, "apply")?;
            let next = {
                let wanted = |task: &Task| self.wanted(playing, task);
                let mut state = lock(&playing.state);
                let Some(walk) = state.walks.get_mut(host) else { return Ok(()) };
                let next = walk.peek(&wanted).cloned();
                walk.take();
                next
            };
            let Some((path, task)) = next else { break };
            let turn = Turn { path, task, hosts: names.to_vec() };
            if !self.reached(playing, &turn).await {
                continue;
            }
            let task = &turn.task;
            if task.meta().is_some() {
                self.meta(playing, &turn).await?;
                continue;
            }
            let slot = if pinned { None } else { self.forks.acquire().await.ok() };
            let throttle = self.throttle(playing, task, names.first());
            let gate = (throttle > 0).then(|| {
                let key = std::sync::Arc::as_ptr(task) as usize;
                let new = || std::sync::Arc::new(tokio::sync::Semaphore::new(throttle));
                lock(&self.throttles).entry(key).or_insert_with(new).clone()
            });
            let gate = match gate {
                Some(gate) => gate.acquire_owned().await.ok(),
                None => None,
            };
            let info = self.info(playing, task, host);
            self.out.say(&PlaybookEvent::TaskStarted { task: info.clone(), check: self.config.check });
            let lane = Lane { to: Ordered::new(self.out.clone(), 1), lane: 0 };
            let outcome = self.task(playing, task, &info, host, &lane).await;
            drop((slot, gate));
            let mut settled = Settled::default();
            self.settle(playing, task, &info, outcome?, &[], &mut settled);
            self.read_includes(playing, task, &info, &turn.path, &mut settled);
            if !settled.failed.is_empty() {
                self.refresh_magic(playing);
            }
        }
        Ok(())
    }
}
