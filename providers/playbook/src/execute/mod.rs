//! Running plays: the linear strategy, handlers, results.

mod facts;
mod inventory;
mod item;
mod state;
mod task;
mod vars;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use towpath_core::{Configured, Context, Error, ErrorKind, Json, Plan, Result, Targets, Vars};

use crate::load::{Item, Loader, Play, Task, load_included_role, load_tasks, tasks_file, yaml};
use crate::render::Engine;
use crate::{PLAYBOOK, PlaybookConfig};
use inventory::Index;
use state::HostState;

/// Whether changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plan,
    Apply,
}

/// A run of a playbook over an inventory.
pub(crate) struct Run<'a> {
    cx: &'a Context,
    config: &'a PlaybookConfig,
    loader: &'a Loader,
    targets: &'a Targets,
    mode: Mode,
    engine: Arc<Engine>,
    index: Arc<Index>,
    selected: BTreeSet<String>,
    hosts: BTreeMap<String, tokio::sync::Mutex<HostState>>,
    /// Facts and registered results by host, for `hostvars`.
    board: Arc<RwLock<BTreeMap<String, Arc<Vars>>>>,
    plan: Mutex<Plan>,
    /// A task with `any_errors_fatal` has failed.
    fatal: AtomicBool,
    extra: Arc<Vars>,
}

/// A play under way.
pub(crate) struct Playing<'a> {
    play: &'a Play,
    names: Vec<String>,
    vars_files: BTreeMap<String, Vec<Arc<Vars>>>,
    handlers: Mutex<Vec<Item>>,
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        cx: &'a Context,
        config: &'a PlaybookConfig,
        loader: &'a Loader,
        targets: &'a Targets,
        mode: Mode,
    ) -> Result<Self> {
        let index = Arc::new(Index::new(&targets.inventory, &loader.playbook_dir)?);
        let selected: BTreeSet<String> = match &targets.limit {
            None => index.names.iter().cloned().collect(),
            Some(limit) => {
                let wrong = |message: &str| {
                    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "limit", message).with("limit", limit)
                };
                let found = index.select(limit).map_err(|e| wrong(&e))?;
                if found.is_empty() {
                    return Err(wrong("no host matches the limit"));
                }
                found.into_iter().collect()
            }
        };
        let mut extra = config.extra_vars.clone();
        extra.extend(targets.extra_vars.clone());
        let hosts = targets
            .inventory
            .hosts
            .iter()
            .map(|h| (h.name.clone(), tokio::sync::Mutex::new(HostState::new(h.clone()))))
            .collect();
        Ok(Self {
            cx,
            config,
            loader,
            targets,
            mode,
            engine: Arc::new(Engine::new()),
            index,
            selected,
            hosts,
            board: Arc::default(),
            plan: Mutex::default(),
            fatal: AtomicBool::new(false),
            extra: Arc::new(extra),
        })
    }

    fn host(&self, name: &str) -> Result<&tokio::sync::Mutex<HostState>> {
        self.hosts.get(name).ok_or_else(|| Error::new(ErrorKind::Internal, PLAYBOOK, "run", "an unknown host"))
    }

    /// Runs all plays and sums up.
    pub(crate) async fn plays(self, plays: &[Play]) -> Result<(Configured, Plan)> {
        lock(&self.plan).warnings = crate::provider::missing(plays);
        let mut result = Ok(());
        for play in plays {
            result = self.play(play).await;
            // After `any_errors_fatal` no later play may touch a host.
            if result.is_err() || self.fatal.load(Ordering::Relaxed) {
                break;
            }
        }
        let mut done = Configured::default();
        let (mut failed, mut unreachable): (Vec<Error>, Vec<Error>) = Default::default();
        for name in &self.index.names {
            let mut host = self.host(name)?.lock().await;
            host.close().await;
            if host.played {
                done.hosts.insert(name.clone(), host.summary);
            }
            if let Some(e) = host.failed.take() {
                if host.summary.unreachable > 0 { unreachable.push(e) } else { failed.push(e) }
            }
        }
        result?;
        let mut all = failed.into_iter().chain(unreachable);
        if let Some(first) = all.next() {
            let rest: Vec<String> = all.map(|e| e.get("host").unwrap_or_default().to_owned()).collect();
            return Err(if rest.is_empty() { first } else { first.with("also_failed", rest.join(", ")) });
        }
        Ok((done, self.plan.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn play(&self, play: &Play) -> Result<()> {
        let pattern = match &play.hosts {
            Json::Array(items) => items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(","),
            Json::String(s) => s.clone(),
            other => other.to_string(),
        };
        let scope = self.bare_scope(play);
        let pattern = scope.render_text(&pattern).map_err(|e| yaml::invalid(&play.pos, e.message))?;
        let found = self.index.select(&pattern).map_err(|e| yaml::invalid(&play.pos, e))?;
        let names: Vec<String> = found.into_iter().filter(|n| self.selected.contains(n)).collect();
        if names.is_empty() {
            self.cx.warn(format!("{}: no host matches `{pattern}`; the play is skipped", play.pos));
            return Ok(());
        }
        for role in &play.roles {
            if ["yml", "yaml"].iter().any(|e| role.path.join("meta/argument_specs").with_extension(e).is_file()) {
                self.cx.warn(format!("role {}: its argument specs are not checked yet", role.name));
            }
        }
        let mut handlers = play.handlers.clone();
        static_handlers(play.pre_tasks.iter().chain(&play.tasks).chain(&play.post_tasks), &mut handlers);
        let mut playing =
            Playing { play, names: names.clone(), vars_files: BTreeMap::new(), handlers: Mutex::new(handlers) };
        for name in &names {
            let mut host = self.host(name)?.lock().await;
            host.played = true;
            host.ended = false;
            host.notified.clear();
            drop(host);
            self.read_vars_files(&mut playing, name).await?;
        }
        if play.gather_facts {
            self.each(&names, |name| self.gather(&playing, name)).await?;
        }
        for section in [&play.pre_tasks, &play.tasks, &play.post_tasks] {
            let active = self.active(&names).await?;
            self.list(&playing, section, &active).await?;
            self.flush(&playing).await?;
        }
        Ok(())
    }

    async fn read_vars_files(&self, playing: &mut Playing<'_>, name: &str) -> Result<()> {
        let mut read = Vec::new();
        for (file, pos) in &playing.play.vars_files {
            let host = self.host(name)?.lock().await;
            let scope = self.scope(playing, None, &host, Vars::new());
            // A list names alternatives, of which the first that is there counts.
            let options = file.as_array().cloned().unwrap_or_else(|| vec![file.clone()]);
            let mut found = None;
            for option in &options {
                let path = scope
                    .render_text(option.as_str().unwrap_or_default())
                    .map_err(|e| yaml::invalid(pos, e.message))?;
                let dir = pos.file.parent().unwrap_or(std::path::Path::new("."));
                let path = dir.join(path);
                if path.is_file() {
                    found = Some(yaml::read_vars(&path)?);
                    break;
                }
            }
            let vars = found.ok_or_else(|| yaml::invalid(pos, format!("there is no file of variables {file}")))?;
            read.push(Arc::new(vars));
        }
        playing.vars_files.insert(name.to_owned(), read);
        Ok(())
    }

    /// Hosts that neither failed nor ended.
    async fn active(&self, names: &[String]) -> Result<Vec<String>> {
        let mut out = Vec::new();
        for name in names {
            let host = self.host(name)?.lock().await;
            if host.failed.is_none() && !host.ended {
                out.push(name.clone());
            }
        }
        Ok(out)
    }

    /// Works on hosts at the same time, and reports in the inventory's order.
    async fn each<'f>(
        &'f self,
        names: &[String],
        work: impl Fn(String) -> BoxFuture<'f, Result<Vec<towpath_core::EventKind>>>,
    ) -> Result<()> {
        self.cx.check(PLAYBOOK, "apply")?;
        let (changes, warnings) = {
            let plan = lock(&self.plan);
            (plan.changes.len(), plan.warnings.len())
        };
        let futures: Vec<_> = names.iter().map(|n| work(n.clone())).collect();
        let mut results = stream::iter(futures).buffered(self.config.forks);
        let mut at = 0;
        let mut stop = None;
        while let Some(result) = results.next().await {
            match result {
                Ok(events) => {
                    if let Some(name) = names.get(at) {
                        let cx = self.cx.for_host(name);
                        events.into_iter().for_each(|e| cx.emit(e));
                    }
                }
                Err(e) => stop = stop.or(Some(e)),
            }
            at += 1;
        }
        {
            // Arrival order is nobody's business.
            let mut plan = lock(&self.plan);
            if let Some(new) = plan.changes.get_mut(changes..) {
                new.sort_by_key(|c| names.iter().position(|n| *n == c.target));
            }
            if let Some(new) = plan.warnings.get_mut(warnings..) {
                new.sort();
            }
        }
        if let Some(e) = stop {
            return Err(e);
        }
        Ok(())
    }

    fn list<'f>(
        &'f self,
        playing: &'f Playing<'_>,
        items: &'f [Item],
        names: &'f [String],
    ) -> BoxFuture<'f, Result<()>> {
        Box::pin(async move {
            for item in items {
                let active = self.active(names).await?;
                if active.is_empty() {
                    return Ok(());
                }
                match item {
                    Item::Task(task) => self.step(playing, task, &active).await?,
                    Item::Include(task) => self.include(playing, task, &active).await?,
                    Item::Handlers(_) => {}
                    Item::Meta(what) => match what.as_str() {
                        "flush_handlers" => self.flush(playing).await?,
                        "end_play" | "end_host" => {
                            for n in &active {
                                self.host(n)?.lock().await.ended = true;
                            }
                        }
                        "reset_connection" => {
                            for n in &active {
                                self.host(n)?.lock().await.close().await;
                            }
                        }
                        _ => {}
                    },
                    Item::Block { block, rescue, always, .. } => {
                        self.list(playing, block, &active).await?;
                        let mut failed = Vec::new();
                        for n in &active {
                            let mut host = self.host(n)?.lock().await;
                            if host.failed.is_some() && host.summary.unreachable == 0 {
                                if !rescue.is_empty() {
                                    host.failed = None;
                                    host.summary.failed -= host.summary.failed.min(1);
                                    host.summary.rescued += 1;
                                }
                                failed.push(n.clone());
                            }
                        }
                        if !rescue.is_empty() && !failed.is_empty() {
                            self.list(playing, rescue, &failed).await?;
                        }
                        if !always.is_empty() {
                            // Hosts that failed still do this part, and stay failed.
                            let mut kept = Vec::new();
                            let mut part = Vec::new();
                            for n in &active {
                                let mut host = self.host(n)?.lock().await;
                                if host.summary.unreachable == 0 {
                                    kept.push((n.clone(), host.failed.take()));
                                    part.push(n.clone());
                                }
                            }
                            let result = self.list(playing, always, &part).await;
                            for (n, error) in kept {
                                let mut host = self.host(&n)?.lock().await;
                                if error.is_some() {
                                    host.failed = error;
                                }
                            }
                            result?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// One task on all hosts.
    async fn step(&self, playing: &Playing<'_>, task: &Arc<Task>, active: &[String]) -> Result<()> {
        if !self.tagged(task) {
            return Ok(());
        }
        let once = task.inherit.run_once.as_ref().and_then(crate::render::truthy).unwrap_or(false);
        let chosen = if once { active.get(..1).unwrap_or_default() } else { active };
        self.each(chosen, |name| Box::pin(self.task(playing, task, name))).await?;
        if let (true, Some(register), Some(first)) = (once, &task.register, active.first()) {
            let value = self.host(first)?.lock().await.vars.get(register).cloned();
            for n in active.iter().skip(1) {
                if let Some(v) = &value {
                    self.host(n)?.lock().await.vars.insert(register.clone(), v.clone());
                }
            }
        }
        let fatal = task
            .inherit
            .any_errors_fatal
            .as_ref()
            .and_then(crate::render::truthy)
            .unwrap_or(playing.play.any_errors_fatal);
        if fatal && self.active(active).await?.len() < active.len() {
            self.fatal.store(true, Ordering::Relaxed);
            for n in &playing.names {
                self.host(n)?.lock().await.ended = true;
            }
        }
        Ok(())
    }

    fn tagged(&self, task: &Task) -> bool {
        let tags = &task.inherit.tags;
        let has = |wanted: &[String]| {
            wanted.iter().any(|w| {
                tags.contains(w)
                    || w == "all" && !tags.iter().any(|t| t == "never")
                    || w == "tagged" && !tags.is_empty() && !tags.iter().any(|t| t == "never")
                    || w == "untagged" && tags.is_empty()
            })
        };
        if has(&self.config.skip_tags)
            && !(self.config.skip_tags.iter().all(|s| s == "all") && tags.iter().any(|t| t == "always"))
        {
            return false;
        }
        if self.config.tags.is_empty() {
            return !tags.iter().any(|t| t == "never");
        }
        tags.iter().any(|t| t == "always") || has(&self.config.tags)
    }

    /// `include_tasks` and `include_role`: hosts that include the same go together.
    async fn include(&self, playing: &Playing<'_>, task: &Arc<Task>, active: &[String]) -> Result<()> {
        if !self.tagged(task) {
            return Ok(());
        }
        let mut groups: Vec<(Vars, Vars, Vec<String>)> = Vec::new();
        for name in active {
            for (args, vars) in self.inclusions(playing, task, name).await? {
                match groups.iter_mut().find(|g| g.0 == args && g.1 == vars) {
                    Some(g) => g.2.push(name.clone()),
                    None => groups.push((args, vars, vec![name.clone()])),
                }
            }
        }
        for (args, vars, names) in groups {
            let mut task = Task::clone(task);
            task.inherit.when = task.inherit.when.get(..task.outer_when).unwrap_or_default().to_vec();
            if !vars.is_empty() {
                task.inherit.params.push(Arc::new(vars));
            }
            let items = if task.action == "include_role" {
                let loaded = load_included_role(self.loader, &task, &args)?;
                lock(&playing.handlers).extend(loaded.handlers);
                loaded.items
            } else {
                let file = args.get("_raw_params").or_else(|| args.get("file")).and_then(Json::as_str);
                let file = file.ok_or_else(|| yaml::invalid(&task.pos, "`include_tasks` without a file"))?;
                let path = tasks_file(self.loader, &task, file)?;
                load_tasks(self.loader, &yaml::read(&path)?, &task.inherit)?
            };
            let mut more = Vec::new();
            static_handlers(&items, &mut more);
            lock(&playing.handlers).extend(more);
            self.list(playing, &items, &names).await?;
        }
        Ok(())
    }

    /// Runs the handlers that were notified, in the order in which they are defined.
    async fn flush(&self, playing: &Playing<'_>) -> Result<()> {
        for _ in 0..10 {
            let handlers = lock(&playing.handlers).clone();
            let mut any = false;
            for item in &handlers {
                let tasks: Vec<Arc<Task>> = match item {
                    Item::Task(t) => vec![t.clone()],
                    _ => continue,
                };
                for task in tasks {
                    let mut chosen = Vec::new();
                    for n in self.active(&playing.names).await? {
                        let mut host = self.host(&n)?.lock().await;
                        let scope = self.scope(playing, Some(&task), &host, Vars::new());
                        let names = handler_names(&task, &scope);
                        // A later handler of the same name hides an earlier one, so what is done is remembered by place.
                        let mine = host.notified.iter().any(|x| names.contains(x));
                        if mine && host.flushed.insert(task.pos.to_string()) {
                            chosen.push(n.clone());
                        }
                    }
                    if !chosen.is_empty() {
                        any = true;
                        self.step(playing, &task, &chosen).await?;
                    }
                }
            }
            if !any {
                break;
            }
        }
        for n in &playing.names {
            let mut host = self.host(n)?.lock().await;
            host.notified.clear();
            host.flushed.clear();
        }
        Ok(())
    }
}

/// Names that notify a handler.
fn handler_names(task: &Task, scope: &Arc<crate::render::Scope>) -> Vec<String> {
    let mut names = task.listen.clone();
    if let Some(name) = &task.name {
        let name = scope.render_text(name).unwrap_or_else(|_| name.clone());
        if let Some(role) = &task.inherit.role {
            names.push(format!("{} : {name}", role.name));
        }
        names.push(name);
    }
    names
}

fn static_handlers<'i>(items: impl IntoIterator<Item = &'i Item>, out: &mut Vec<Item>) {
    for item in items {
        match item {
            Item::Handlers(h) => out.extend(h.iter().cloned()),
            Item::Block { block, rescue, always, .. } => static_handlers(block.iter().chain(rescue).chain(always), out),
            _ => {}
        }
    }
}
