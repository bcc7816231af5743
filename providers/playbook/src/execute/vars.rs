//! What a task sees: variables by Ansible's precedence.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use towpath_core::{Json, Vars};

use super::world::Known;
use super::{Mode, Playing, Run, lock};
use crate::load::{Inherit, Play, RoleUse, Task};
use crate::modules;
use crate::render::{OMIT, RenderError, Scope, Search, Value, drop_omitted};

/// Whom a scope is for.
pub(super) struct View<'v> {
    pub(super) host: &'v str,
    pub(super) known: &'v Known,
    pub(super) task: Option<&'v Task>,
    /// Variables of a loop's item and of a delegation.
    pub(super) locals: Arc<Vars>,
    /// The host that the task is delegated to.
    pub(super) delegated: Option<&'v str>,
}

impl Run<'_> {
    /// Magic variables that are the same for all hosts, from what the play's state is now.
    pub(super) fn refresh_magic(&self, playing: &Playing<'_>) {
        let index = self.world.index();
        let state = lock(&playing.state);
        let alive = |names: &[String]| {
            names.iter().filter(|n| !state.lost(n) && !lock(&self.dead).contains(*n)).cloned().collect::<Vec<_>>()
        };
        let names: Vec<&str> = state.uses.iter().filter(|u| !u.dependency).map(|u| u.role.name.as_str()).collect();
        let mut needed: Vec<&str> = Vec::new();
        for u in state.uses.iter().filter(|u| u.dependency) {
            if !needed.contains(&u.role.name.as_str()) {
                needed.push(&u.role.name);
            }
        }
        let mut either: Vec<&str> = Vec::new();
        for n in names.iter().chain(&needed) {
            if !either.contains(n) {
                either.push(n);
            }
        }
        let hosts = alive(&playing.all);
        let path =
            |p: &std::path::Path| std::path::absolute(p).unwrap_or_else(|_| p.to_path_buf()).display().to_string();
        let config = self.config;
        let tags = if config.tags.is_empty() { vec!["all".to_owned()] } else { config.tags.clone() };
        let version = json!({
            "full": "2.18.0", "major": 2, "minor": 18, "revision": 0, "string": "2.18.0",
        });
        let sources: Vec<String> = config.inventory_sources.iter().map(|p| path(p)).collect();
        let mut vars = modules::fields([
            ("groups", json!(index.groups)),
            ("playbook_dir", json!(path(&self.loader.playbook_dir))),
            ("play_hosts", json!(alive(&playing.batch))),
            ("ansible_play_hosts", json!(hosts)),
            ("ansible_play_hosts_all", json!(playing.all)),
            ("ansible_play_batch", json!(alive(&playing.batch))),
            ("ansible_play_name", json!(playing.name)),
            ("role_names", json!(names)),
            ("ansible_play_role_names", json!(names)),
            ("ansible_dependent_role_names", json!(needed)),
            ("ansible_role_names", json!(either)),
            ("ansible_check_mode", json!(self.mode == Mode::Plan || config.check)),
            ("ansible_diff_mode", json!(config.diff)),
            ("ansible_forks", json!(config.forks)),
            ("ansible_verbosity", json!(config.verbosity)),
            ("ansible_run_tags", json!(tags)),
            ("ansible_skip_tags", json!(config.skip_tags)),
            ("ansible_inventory_sources", json!(sources)),
            ("ansible_managed", json!(config.ansible_managed.as_deref().unwrap_or("Ansible managed"))),
            ("ansible_version", version),
            ("ansible_playbook_python", json!("/usr/bin/python3")),
            ("environment_name", json!(self.cx.environment())),
            ("omit", json!(OMIT)),
        ]);
        vars.extend(self.targets.limit.as_ref().map(|l| ("ansible_limit".to_owned(), json!(l))));
        if let Some(first) = sources.first() {
            let p = std::path::Path::new(first);
            let dir = if p.is_dir() { p } else { p.parent().unwrap_or(p) };
            vars.insert("inventory_file".into(), json!(first));
            vars.insert("inventory_dir".into(), json!(dir.display().to_string()));
        }
        drop(state);
        self.world.set_magic(vars);
    }

    /// Variables before any host is known.
    pub(super) fn bare_scope(&self, play: &Play, prompted: Arc<Vars>) -> Arc<Scope> {
        let layers = vec![self.world.extra.clone(), prompted, play.vars.clone(), self.world.magic()];
        let objects = HashMap::from([("hostvars".to_owned(), self.world.hostvars())]);
        let search = Search { dirs: vec![self.loader.playbook_dir.clone()] };
        Scope::new(self.world.engine.clone(), layers, objects, Arc::default(), search)
    }

    /// All variables of a host at a task, highest precedence first.
    pub(super) fn scope(&self, playing: &Playing<'_>, view: &View<'_>) -> Arc<Scope> {
        let inherit = view.task.map_or(&playing.play.inherit, |t| &t.inherit);
        let (role_vars, role_defaults) = {
            let state = lock(&playing.state);
            (state.role_vars.clone(), state.role_defaults.clone())
        };
        let world = &self.world;
        let mut layers = vec![world.index().magic(view.host), world.magic()];
        layers.extend(role_magic(inherit));
        layers.extend([world.extra.clone(), view.locals.clone()]);
        layers.extend(inherit.params.iter().rev().cloned());
        layers.extend([view.known.set.clone(), view.known.included.clone()]);
        layers.extend(inherit.vars.iter().rev().cloned());
        layers.extend(inherit.roles.iter().rev().map(|r| r.vars.clone()));
        layers.extend(role_vars.iter().rev().cloned());
        layers.extend(playing.vars_files.get(view.host).into_iter().flatten().rev().cloned());
        layers.extend([playing.prompted.clone(), playing.play.vars.clone(), view.known.facts.clone()]);
        layers.extend(world.base(view.host));
        layers.extend(inherit.roles.iter().rev().map(|r| r.defaults.clone()));
        layers.extend(role_defaults.iter().rev().cloned());
        let mut objects = HashMap::from([("hostvars".to_owned(), world.hostvars())]);
        if let Some(other) = view.delegated {
            let scope = world.others_see(other).as_value();
            objects.insert("ansible_delegated_vars".into(), Value::pairs([(other, scope)]));
        }
        let search = Search { dirs: self.search(view.task, inherit) };
        let mut data = vec![view.locals.clone(), view.known.set.clone(), view.known.facts.clone()];
        data.extend(inherit.items.iter().cloned());
        Scope::with_data(world.engine.clone(), layers, objects, view.known.unknown.clone(), search, data)
    }

    /// Folders in which files are looked for, the most specific first.
    fn search(&self, task: Option<&Task>, inherit: &Inherit) -> Vec<std::path::PathBuf> {
        let mut dirs = Vec::new();
        let mut add = |dir: std::path::PathBuf| {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        };
        for role in inherit.roles.iter().rev() {
            add(role.path.clone());
        }
        if let Some(dir) = task.and_then(|t| t.pos.file.parent()) {
            add(dir.to_path_buf());
        }
        add(self.loader.playbook_dir.clone());
        dirs
    }

    /// The environment of a task's commands.
    pub(super) fn environment(
        &self,
        task: &Task,
        scope: &Arc<Scope>,
    ) -> std::result::Result<Vec<(String, String)>, RenderError> {
        let mut env: Vec<(String, String)> = Vec::new();
        for layer in &task.inherit.environment {
            let maps = match drop_omitted(scope.render(layer)?) {
                Json::Array(items) => items,
                one => vec![one],
            };
            for (k, v) in maps.iter().filter_map(Json::as_object).flatten() {
                let good = !k.is_empty()
                    && k.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    && !k.starts_with(|c: char| c.is_ascii_digit());
                if !good {
                    return Err(wrong(format!("`{k}` can't be the name of an environment variable")));
                }
                env.retain(|(have, _)| have != k);
                env.push((k.clone(), crate::render::text(&Value::from(v))));
            }
        }
        Ok(env)
    }
}

pub(super) fn wrong(message: String) -> RenderError {
    RenderError { message, undefined: false }
}

fn role_magic(inherit: &Inherit) -> Option<Arc<Vars>> {
    let used: &RoleUse = inherit.role.as_deref()?;
    let name = &used.role.name;
    let mut vars = modules::fields([
        ("role_path", json!(used.role.path.display().to_string())),
        ("role_name", json!(name)),
        ("ansible_role_name", json!(name)),
    ]);
    if !used.parents.is_empty() {
        let of = |name: &String| inherit.roles.iter().find(|r| r.name == *name);
        let paths: Vec<String> = used.parents.iter().filter_map(of).map(|r| r.path.display().to_string()).collect();
        vars.insert("ansible_parent_role_names".into(), json!(used.parents));
        vars.insert("ansible_parent_role_paths".into(), json!(paths));
    }
    Some(Arc::new(vars))
}
