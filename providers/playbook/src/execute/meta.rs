//! `meta` tasks.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Error, ErrorKind, Result, TaskStatus};

use super::linear::Turn;
use super::out::{Lane, Ordered};
use super::{Playing, Run, lock};
use crate::PLAYBOOK;
use crate::modules::{self, Fields};
use crate::report::PlaybookEvent;

/// The result of a `meta` task whose condition does not hold.
pub(super) fn skipped(what: &str, host: &str, role: Option<&str>) -> Fields {
    let rest = match what {
        "end_host" => format!(", continuing execution for {host}"),
        "end_play" => ", continuing play".to_owned(),
        "end_batch" => ", continuing current batch".to_owned(),
        // Ansible has no comma there.
        "end_role" => format!("continuing role {} for {host}", role.unwrap_or_default()),
        "clear_facts" => format!(", not clearing facts and fact cache for {host}"),
        "clear_host_errors" => format!(", not clearing host error state for {host}"),
        "flush_handlers" => format!(", not running handlers for {host}"),
        _ => String::new(),
    };
    let msg = match what {
        "end_host" => format!("{what} conditional evaluated to false{rest}"),
        _ => what.to_owned(),
    };
    modules::fields([
        ("msg", json!(msg)),
        ("skip_reason", json!(format!("{what} conditional evaluated to False{rest}"))),
    ])
}

impl Run<'_> {
    /// A `meta` task of the hosts whose turn it is. Some concern each host, others all of them, and the first one's condition
    /// decides.
    pub(super) async fn meta(&self, playing: &Playing<'_>, turn: &Turn) -> Result<()> {
        let what = turn.task.meta().unwrap_or_default().to_owned();
        let each = matches!(what.as_str(), "noop" | "reset_connection" | "end_host" | "end_role" | "flush_handlers");
        let hosts = if each { turn.hosts.as_slice() } else { turn.hosts.get(..1).unwrap_or_default() };
        let written = turn.task.pos != playing.play.pos;
        for host in hosts {
            let mut go = true;
            if written {
                let info = self.info(playing, &turn.task, host);
                self.out.say(&PlaybookEvent::TaskStarted { task: info.clone(), check: self.config.check });
                // As Ansible, conditions of these three count for nothing.
                let free = matches!(what.as_str(), "noop" | "reset_connection" | "refresh_inventory");
                if !turn.task.inherit.when.is_empty() && !free {
                    let lane = Lane { to: Ordered::new(self.out.clone(), 1), lane: 0 };
                    let outcome = self.task(playing, &turn.task, &info, host, &lane).await?;
                    go = !matches!(outcome.status, TaskStatus::Skipped | TaskStatus::Failed);
                    if outcome.status == TaskStatus::Failed {
                        let mut settled = super::settle::Settled::default();
                        self.settle(playing, &turn.task, &info, outcome, &[], &mut settled);
                    }
                }
            }
            if go {
                self.act_on_meta(playing, turn, &what, host).await?;
            }
        }
        Ok(())
    }

    async fn act_on_meta(&self, playing: &Playing<'_>, turn: &Turn, what: &str, host: &str) -> Result<()> {
        match what {
            "flush_handlers" => {
                let mut state = lock(&playing.state);
                let handlers = state.handlers.clone();
                if let Some(walk) = state.walks.get_mut(host) {
                    walk.flush(&turn.path, handlers);
                }
            }
            "end_host" => lock(&playing.state).end(host),
            "end_role" => {
                if let Some(walk) = lock(&playing.state).walks.get_mut(host) {
                    walk.end_role();
                }
            }
            "end_batch" | "end_play" => {
                let mut state = lock(&playing.state);
                for name in &playing.batch {
                    state.finish(name);
                }
                if what == "end_play" {
                    state.over = true;
                }
            }
            "clear_facts" => {
                for name in &playing.all {
                    self.world.learn(name, |known| known.facts = Arc::default());
                }
            }
            "clear_host_errors" => {
                let mut state = lock(&playing.state);
                state.forgiven.extend(playing.all.iter().cloned());
                let mut dead = lock(&self.dead);
                for name in &playing.all {
                    dead.remove(name);
                }
                // What is forgiven does not fail the run either.
                lock(&self.failures).retain(|(name, _)| !playing.all.contains(name));
            }
            "reset_connection" => self.connections.reset(host).await,
            "refresh_inventory" => {
                if let Some(sources) = self.sources.clone() {
                    let read = tokio::task::spawn_blocking(move || sources.load()).await;
                    let read = read.map_err(|e| {
                        Error::new(ErrorKind::Internal, PLAYBOOK, "apply", "reading the inventory broke off")
                            .caused_by(e)
                    })?;
                    self.world.refresh(read?.inventory)?;
                }
            }
            _ => {}
        }
        self.refresh_magic(playing);
        Ok(())
    }
}
