//! One play: its hosts, their batches, and what is known before its first task.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use towpath_core::{Json, Result, Vars};

use super::vars::View;
use super::walk::Walk;
use super::world::Known;
use super::{Mode, Run, lock};
use crate::load::{Block, Play, Role, RoleUse, Task, yaml};
use crate::render::{Scope, truthy};
use crate::report::PlaybookEvent;
use crate::{Gathering, Question, render};

/// A play under way, for one of its batches.
pub(super) struct Playing<'a> {
    pub(super) play: &'a Play,
    pub(super) name: String,
    /// All hosts of the play.
    pub(super) all: Vec<String>,
    /// Those that are worked on now.
    pub(super) batch: Vec<String>,
    pub(super) prompted: Arc<Vars>,
    pub(super) vars_files: HashMap<String, Vec<Arc<Vars>>>,
    /// Variables before any host is known.
    pub(super) bare: Arc<Scope>,
    pub(super) state: Mutex<PlayState>,
}

/// What changes while a batch runs.
#[derive(Default)]
pub(super) struct PlayState {
    /// Where the hosts are. A host that was lost is not here.
    pub(super) walks: BTreeMap<String, Walk>,
    lost: BTreeSet<String>,
    killed: BTreeSet<String>,
    /// Hosts whose failures do not keep them from later plays.
    pub(super) forgiven: BTreeSet<String>,
    ended: BTreeSet<String>,
    pub(super) handlers: Arc<Vec<Arc<Task>>>,
    /// Where each list of handlers begins.
    pub(super) starts: Vec<usize>,
    pub(super) role_vars: Arc<Vec<Arc<Vars>>>,
    pub(super) role_defaults: Arc<Vec<Arc<Vars>>>,
    pub(super) uses: Vec<Arc<RoleUse>>,
    /// No later play.
    pub(super) last: bool,
    /// `end_play`: no further batch.
    pub(super) over: bool,
}

impl PlayState {
    /// Whether a host takes no further part because it failed, was lost or was ended.
    pub(super) fn lost(&self, host: &str) -> bool {
        self.lost.contains(host)
            || self.ended.contains(host)
            || self.killed.contains(host)
            || self.walks.get(host).is_some_and(|w| w.failed)
    }

    /// Whether a host takes no part in later plays.
    fn dead(&self, host: &str) -> bool {
        let failed = self.killed.contains(host) || self.walks.get(host).is_some_and(|w| w.failed);
        self.lost.contains(host) || failed && !self.forgiven.contains(host)
    }

    /// Whether the host is in the play now: it neither failed before nor was ended.
    pub(super) fn takes_part(&self, host: &str) -> bool {
        self.walks.contains_key(host) && !self.ended.contains(host) && !self.killed.contains(host)
    }

    /// Whether the host has failed or can't be reached.
    fn has_failed(&self, host: &str) -> bool {
        self.lost.contains(host) || self.killed.contains(host) || self.walks.get(host).is_some_and(|w| w.failed)
    }

    /// The host can't be reached.
    pub(super) fn lose(&mut self, host: &str) {
        self.walks.remove(host);
        self.lost.insert(host.to_owned());
    }

    /// The play is over for the host, and well.
    pub(super) fn end(&mut self, host: &str) {
        self.finish(host);
        self.ended.insert(host.to_owned());
    }

    /// The same for a whole batch, whose hosts stay among those of the play.
    pub(super) fn finish(&mut self, host: &str) {
        if let Some(walk) = self.walks.get_mut(host) {
            walk.end();
        }
    }

    /// The play is over for the host, since others failed.
    pub(super) fn kill(&mut self, host: &str) {
        self.finish(host);
        self.killed.insert(host.to_owned());
    }

    pub(super) fn add_roles(&mut self, roles: &[Arc<Role>], uses: &[Arc<RoleUse>], public: bool) {
        self.uses.extend(uses.iter().cloned());
        if public {
            Arc::make_mut(&mut self.role_vars).extend(roles.iter().map(|r| r.vars.clone()));
            Arc::make_mut(&mut self.role_defaults).extend(roles.iter().map(|r| r.defaults.clone()));
        }
    }
}

/// How many hosts each batch has.
fn batches(serial: Option<&Json>, hosts: &[String]) -> std::result::Result<Vec<Vec<String>>, String> {
    let sizes: Vec<Json> = match serial {
        None | Some(Json::Null) => return Ok(vec![hosts.to_vec()]),
        Some(Json::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
    };
    let size = |v: &Json| -> std::result::Result<usize, String> {
        let wrong = || format!("`serial: {v}` is no number of hosts and no percentage");
        let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        match text.trim().strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
                #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let n = (hosts.len() as f64 * percent / 100.0) as usize;
                Ok(n.max(1))
            }
            None => Ok(usize::try_from(text.trim().parse::<i64>().map_err(|_| wrong())?).unwrap_or(0)),
        }
    };
    let mut rest = hosts;
    let mut out = Vec::new();
    let mut at = 0;
    while !rest.is_empty() {
        let n = match sizes.get(at).or_else(|| sizes.last()) {
            Some(v) => size(v)?,
            None => 0,
        };
        at += 1;
        let n = if n == 0 { rest.len() } else { n.min(rest.len()) };
        let (batch, after) = rest.split_at(n);
        out.push(batch.to_vec());
        rest = after;
    }
    Ok(out)
}

fn shuffle(names: &mut [String]) {
    names.sort_by_cached_key(|_| rand::random::<u64>());
}

impl Run<'_> {
    /// Runs a play. Gives `false` if the run must end after it.
    pub(super) async fn play(&self, play: &Play) -> Result<bool> {
        let invalid = |e: String| yaml::invalid(&play.pos, e);
        let prompted = Arc::new(self.prompts(play).await?);
        let bare = self.bare_scope(play, prompted.clone());
        let text = |v: &Json| bare.render(v).map_err(|e| invalid(e.message));
        let pattern = match text(&play.hosts)? {
            Json::Array(items) => items.iter().map(|v| render::text(&v_of(v))).collect::<Vec<_>>().join(","),
            one => render::text(&v_of(&one)),
        };
        let name = match &play.name {
            Some(name) => bare.render_text(name).unwrap_or_else(|_| name.clone()),
            None => pattern.clone(),
        };
        let found = self.world.select(&pattern).map_err(invalid)?;
        let mut all: Vec<String> =
            found.into_iter().filter(|n| self.selected.as_ref().is_none_or(|s| s.contains(n))).collect();
        let order = play.order.as_ref().map(text).transpose()?;
        match order.as_ref().and_then(Json::as_str) {
            None | Some("inventory") => {}
            Some("reverse_inventory") => all.reverse(),
            Some("sorted") => all.sort(),
            Some("reverse_sorted") => {
                all.sort();
                all.reverse();
            }
            Some("shuffle") => shuffle(&mut all),
            Some(other) => return Err(invalid(format!("`order: {other}` is not known"))),
        }
        if all.is_empty() {
            self.out.say(&PlaybookEvent::PlayStarted { name, hosts: Vec::new() });
            self.out.say(&PlaybookEvent::NoHostsMatched);
            self.cx.warn(format!("{}: no host matches `{pattern}`; the play is skipped", play.pos));
            return Ok(true);
        }
        let serial = play.serial.as_ref().map(text).transpose()?;
        let strategy = play.strategy.as_ref().map(text).transpose()?;
        let otherwise = self.config.strategy.as_deref().unwrap_or("linear");
        let strategy = strategy.as_ref().and_then(Json::as_str).unwrap_or(otherwise);
        let strategy = strategy.strip_prefix("ansible.builtin.").unwrap_or(strategy).to_owned();
        if !matches!(strategy.as_str(), "linear" | "free" | "host_pinned") {
            return Err(invalid(format!(
                "the strategy `{strategy}` is not supported; there are linear, free, host_pinned"
            )));
        }
        let facts = play.gather_facts.as_ref().map(text).transpose()?.as_ref().and_then(truthy);
        let facts = facts.unwrap_or(self.config.gathering != Gathering::Explicit);
        let force = play.force_handlers.unwrap_or(self.config.force_handlers);
        let (tree, without_facts) = (play.tree(facts, force), play.tree(false, force));
        let mut last = false;
        for batch in batches(serial.as_ref(), &all).map_err(invalid)? {
            let mut playing = Playing {
                play,
                name: name.clone(),
                all: all.clone(),
                batch,
                prompted: prompted.clone(),
                vars_files: HashMap::new(),
                bare: bare.clone(),
                state: Mutex::new(PlayState::default()),
            };
            self.begin(&mut playing, &tree, &without_facts)?;
            self.out.say(&PlaybookEvent::PlayStarted { name: name.clone(), hosts: playing.batch.clone() });
            match strategy.as_str() {
                "linear" => self.linear(&playing).await?,
                other => self.free(&playing, other == "host_pinned").await?,
            }
            let state = lock(&playing.state);
            let mut dead = lock(&self.dead);
            dead.extend(playing.batch.iter().filter(|h| state.dead(h)).cloned());
            let all_failed = playing.batch.iter().all(|h| state.has_failed(h));
            if all_failed && self.mode == Mode::Apply {
                return Ok(false);
            }
            last |= state.last;
            if state.over {
                break;
            }
        }
        Ok(!last)
    }

    fn begin(&self, playing: &mut Playing<'_>, tree: &Arc<Block>, without_facts: &Arc<Block>) -> Result<()> {
        let smart = self.config.gathering == Gathering::Smart;
        {
            let mut state = lock(&playing.state);
            state.add_handlers(&playing.play.handlers);
            state.add_roles(&playing.play.roles, &playing.play.uses, true);
            // Hosts that failed in an earlier play have a place in the batch, and do nothing.
            for host in playing.batch.iter().filter(|h| !lock(&self.dead).contains(*h)) {
                let known = smart && self.world.known(host).gathered();
                state.walks.insert(host.clone(), Walk::new(if known { without_facts } else { tree }.clone()));
                self.count(host, |_| {});
            }
        }
        self.refresh_magic(playing);
        let mut read = HashMap::new();
        for host in playing.batch.clone() {
            let files = self.vars_files(playing, &host, &mut read)?;
            playing.vars_files.insert(host, files);
        }
        Ok(())
    }

    /// The files of variables of a play, as they are for a host.
    fn vars_files(
        &self,
        playing: &Playing<'_>,
        host: &str,
        read: &mut HashMap<PathBuf, Arc<Vars>>,
    ) -> Result<Vec<Arc<Vars>>> {
        let mut out = Vec::new();
        if playing.play.vars_files.is_empty() {
            return Ok(out);
        }
        let known: Known = self.world.known(host);
        for (file, pos) in &playing.play.vars_files {
            let view = View { host, known: &known, task: None, locals: Arc::default(), delegated: None };
            let scope = self.scope(playing, &view);
            let dir = pos.file.parent().unwrap_or(std::path::Path::new("."));
            // A list names alternatives, of which the first that is there counts.
            let options = file.as_array().cloned().unwrap_or_else(|| vec![file.clone()]);
            let (mut found, mut unknown) = (None, false);
            for option in &options {
                let name = match scope.render_text(option.as_str().unwrap_or_default()) {
                    Ok(name) => name,
                    // A file whose name nobody knows on this host is none of its files.
                    Err(e) if e.undefined => {
                        unknown = true;
                        continue;
                    }
                    Err(e) => return Err(yaml::invalid(pos, e.message)),
                };
                let places = [dir.join("vars").join(&name), dir.join(&name), self.loader.playbook_dir.join(&name)];
                if let Some(path) = places.into_iter().find(|p| p.is_file()) {
                    let vars = match read.get(&path) {
                        Some(vars) => vars.clone(),
                        None => Arc::new(yaml::read_vars(&path)?),
                    };
                    read.insert(path, vars.clone());
                    found = Some(vars);
                    break;
                }
            }
            if found.is_none() && !unknown {
                return Err(yaml::invalid(pos, format!("there is no file of variables {file}")));
            }
            out.extend(found);
        }
        Ok(out)
    }

    /// Asks what `vars_prompt` wants to know and no extra variable says.
    async fn prompts(&self, play: &Play) -> Result<Vars> {
        let mut out = Vars::new();
        for prompt in &play.prompts {
            if self.world.extra.contains_key(&prompt.name) {
                continue;
            }
            if prompt.hash {
                return Err(yaml::invalid(&prompt.pos, "`encrypt` of `vars_prompt` is not supported yet"));
            }
            let question = Question {
                name: prompt.name.clone(),
                text: prompt.text.clone(),
                default: prompt.default.clone(),
                private: prompt.private,
                confirm: prompt.confirm,
            };
            let answer = match self.ask {
                Some(ask) => ask.answer(&question).await,
                None => None,
            };
            match answer.map(Json::from).or_else(|| prompt.default.clone()) {
                Some(value) => {
                    if let (true, Some(secret)) = (prompt.private, value.as_str()) {
                        self.cx.learn_secret(&towpath_core::Secret::new(secret.to_owned()));
                    }
                    out.insert(prompt.name.clone(), value);
                }
                None => {
                    let text =
                        format!("nobody answers the question for `{}`: give it as an extra variable", prompt.name);
                    return Err(yaml::invalid(&prompt.pos, text));
                }
            }
        }
        Ok(out)
    }
}

fn v_of(v: &Json) -> crate::render::Value {
    crate::render::Value::from(v)
}
