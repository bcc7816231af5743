//! Running plays. One subject per file: where a host is in its play (`walk`), who goes next (`linear`, `free`), a task on a host
//! (`task`, `item`), how an action is carried out (`drive`), and what its result means for the play (`settle`).

mod ahead;
mod argspec;
mod background;
mod connect;
mod drive;
mod free;
mod handlers;
mod include;
pub(crate) mod inventory;
mod item;
mod linear;
mod loops;
mod meta;
mod out;
mod pattern;
mod plan;
mod play;
mod pool;
mod result;
mod sessions;
mod settle;
mod tags;
mod task;
mod vars;
mod walk;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use towpath_core::{Configured, Context, Error, ErrorKind, HostSummary, Plan, Result, Targets, Vars};

use crate::load::{Loader, Play};
use crate::report::{PlaybookEvent, Report};
use crate::{Ask, InventorySources, PLAYBOOK, PlaybookConfig};
pub(crate) use inventory::{Beside, Index};
use out::Out;
use play::Playing;
pub(crate) use tags::chosen as selected;
use world::World;

/// Whether changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plan,
    Apply,
}

/// What a run needs.
#[derive(Clone)]
pub(crate) struct Setup<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) config: &'a PlaybookConfig,
    pub(crate) loader: &'a Loader,
    pub(crate) targets: &'a Targets,
    pub(crate) mode: Mode,
    pub(crate) report: Option<&'a Arc<dyn Report>>,
    pub(crate) ask: Option<&'a Arc<dyn Ask>>,
    pub(crate) sources: Option<Arc<InventorySources>>,
}

/// A run of a playbook over an inventory.
pub(crate) struct Run<'a> {
    cx: &'a Context,
    config: &'a PlaybookConfig,
    loader: &'a Loader,
    targets: &'a Targets,
    mode: Mode,
    ask: Option<&'a Arc<dyn Ask>>,
    sources: Option<Arc<InventorySources>>,
    out: Out,
    world: Arc<World>,
    selected: Option<BTreeSet<String>>,
    connections: pool::Pools,
    ahead: ahead::Ahead,
    stats: Mutex<BTreeMap<String, HostSummary>>,
    /// Why a host failed, by host.
    failures: Mutex<Vec<(String, Error)>>,
    /// Hosts that take no part in later plays.
    dead: Mutex<BTreeSet<String>>,
    plan: Mutex<Plan>,
    doubts: Mutex<HashMap<String, plan::Doubt>>,
    /// What `set_stats` collected.
    custom: Mutex<BTreeMap<String, Vars>>,
    jobs: background::Jobs,
    throttles: Mutex<HashMap<usize, Arc<tokio::sync::Semaphore>>>,
    forks: tokio::sync::Semaphore,
    /// The task to start at, until it was reached.
    waiting: Mutex<Option<String>>,
    /// `step`: everything else was agreed to.
    agreed: std::sync::atomic::AtomicBool,
}

pub(crate) fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    pub(crate) fn new(setup: Setup<'a>) -> Result<Self> {
        let Setup { cx, config, loader, targets, mode, report, ask, sources } = setup;
        let mut extra = config.extra_vars.clone();
        extra.extend(targets.extra_vars.clone());
        let dir = loader.playbook_dir.clone();
        let world = World::new(loader.engine.clone(), targets.inventory.clone(), dir, Arc::new(extra))?;
        let world = Arc::new(world);
        let selected = match &targets.limit {
            None => None,
            Some(limit) => {
                let wrong = |message: &str| {
                    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "limit", message).with("limit", limit)
                };
                let found = world.select(limit).map_err(|e| wrong(&e))?;
                if found.is_empty() {
                    return Err(wrong("no host matches the limit"));
                }
                Some(found.into_iter().collect())
            }
        };
        Ok(Self {
            cx,
            config,
            loader,
            targets,
            mode,
            ask,
            sources,
            out: Out { cx: cx.clone(), report: report.cloned() },
            world,
            selected,
            connections: pool::Pools::default(),
            ahead: ahead::Ahead::default(),
            stats: Mutex::default(),
            failures: Mutex::default(),
            dead: Mutex::default(),
            plan: Mutex::default(),
            doubts: Mutex::default(),
            custom: Mutex::default(),
            jobs: background::Jobs::default(),
            throttles: Mutex::default(),
            forks: tokio::sync::Semaphore::new(config.forks),
            waiting: Mutex::new(config.start_at_task.clone()),
            agreed: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Counts something on a host.
    fn count(&self, host: &str, add: impl FnOnce(&mut HostSummary)) {
        add(lock(&self.stats).entry(host.to_owned()).or_default());
    }

    /// Runs all plays and sums up.
    pub(crate) async fn plays(self, path: &std::path::Path, plays: &[Play]) -> Result<(Configured, Plan)> {
        lock(&self.plan).warnings = crate::provider::missing(plays);
        self.out.say(&PlaybookEvent::PlaybookStarted { path: path.to_path_buf() });
        let mut result = Ok(());
        for play in plays {
            match self.play(play).await {
                Ok(true) => {}
                // After a batch of which no host is left, no later play may touch a host.
                Ok(false) => break,
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        self.connections.close().await;
        let hosts = lock(&self.stats).clone();
        let custom = lock(&self.custom).clone();
        self.out.say(&PlaybookEvent::Finished { hosts: hosts.clone(), custom });
        result?;
        let failures = std::mem::take(&mut *lock(&self.failures));
        let (unreachable, failed): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(|(_, e)| e.kind() == ErrorKind::Unreachable);
        let mut all = failed.into_iter().chain(unreachable);
        if let Some((first, error)) = all.next() {
            let mut rest: Vec<String> = all.map(|(host, _)| host).filter(|h| *h != first).collect();
            rest.dedup();
            return Err(if rest.is_empty() { error } else { error.with("also_failed", rest.join(", ")) });
        }
        Ok((Configured { hosts }, self.plan.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}
