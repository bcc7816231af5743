//! What a task sees: variables by Ansible's precedence, who it becomes, its environment.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use serde_json::json;
use towpath_core::{Become, BecomeMethod, BecomeSpec, Json, Secret, Vars};

use super::state::HostState;
use super::{Mode, Playing, Run};
use crate::load::{Play, Role, Task};
use crate::modules;
use crate::render::{HostVars, OMIT, RenderError, Scope, Search, Value, drop_omitted, to_json, truthy};

impl Run<'_> {
    fn magic(&self, playing: &Playing<'_>, role: Option<&Role>, host: &HostState) -> Vars {
        let mut vars = modules::fields([
            ("inventory_hostname", json!(host.host.name)),
            ("inventory_hostname_short", json!(host.host.name.split('.').next())),
            ("group_names", json!(self.index.group_names(&host.host.name))),
            ("groups", json!(self.index.groups)),
            ("playbook_dir", json!(self.loader.playbook_dir.display().to_string())),
            ("play_hosts", json!(playing.names)),
            ("ansible_play_hosts", json!(playing.names)),
            ("ansible_play_hosts_all", json!(playing.names)),
            ("ansible_play_batch", json!(playing.names)),
            ("ansible_play_name", json!(playing.play.name)),
            ("ansible_check_mode", json!(self.mode == Mode::Plan)),
            ("ansible_diff_mode", json!(false)),
            ("ansible_managed", json!("Ansible managed")),
            ("ansible_version", json!({"full": "2.18.0", "major": 2, "minor": 18, "revision": 0, "string": "2.18.0"})),
            ("environment_name", json!(self.cx.environment())),
            ("omit", json!(OMIT)),
        ]);
        if let Some(role) = role {
            let path = std::path::absolute(&role.path).unwrap_or_else(|_| role.path.clone());
            vars.insert("role_path".into(), json!(path.display().to_string()));
            vars.insert("role_name".into(), json!(role.name));
        }
        vars
    }

    /// Variables before any host is known.
    pub(super) fn bare_scope(&self, play: &Play) -> Arc<Scope> {
        let layers = vec![self.extra.clone(), play.vars.clone()];
        Scope::new(self.engine.clone(), layers, HashMap::new(), Arc::default(), Search::default())
    }

    /// All variables of a host at a task, by Ansible's precedence.
    pub(super) fn scope(
        &self,
        playing: &Playing<'_>,
        task: Option<&Task>,
        host: &HostState,
        locals: Vars,
    ) -> Arc<Scope> {
        let name = host.host.name.as_str();
        let role = task.and_then(|t| t.inherit.role.as_deref());
        let mut layers = vec![Arc::new(self.magic(playing, role, host)), self.extra.clone(), Arc::new(locals)];
        let inherit = task.map(|t| &t.inherit);
        layers.extend(inherit.iter().flat_map(|i| i.params.iter().rev().cloned()));
        layers.push(Arc::new(host.vars.clone()));
        layers.extend(inherit.iter().flat_map(|i| i.vars.iter().rev().cloned()));
        layers.extend(inherit.iter().flat_map(|i| i.roles.iter().rev().map(|r| r.vars.clone())));
        layers.extend(playing.play.roles.iter().rev().map(|r| r.vars.clone()));
        layers.extend(playing.vars_files.get(name).into_iter().flatten().rev().cloned());
        layers.push(playing.play.vars.clone());
        layers.push(host.facts.clone());
        layers.extend(self.index.layers(name));
        layers.extend(inherit.iter().flat_map(|i| i.roles.iter().rev().map(|r| r.defaults.clone())));
        layers.extend(playing.play.roles.iter().rev().map(|r| r.defaults.clone()));
        let mut connection = Vars::new();
        let spec = &host.host.connection;
        connection.insert("ansible_host".into(), json!(spec.address.as_deref().unwrap_or(name)));
        connection.extend(spec.user.as_ref().map(|u| ("ansible_user".to_owned(), json!(u))));
        connection.extend(spec.port.as_ref().map(|p| ("ansible_port".to_owned(), json!(p))));
        layers.push(Arc::new(connection));
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (index, names, engine) = (self.index.clone(), self.index.clone(), self.engine.clone());
        let hostvars = HostVars::value(
            move || names.names.clone(),
            move |other| {
                if !index.names.iter().any(|n| n == other) {
                    return None;
                }
                let mut layers = vec![Arc::new(modules::fields([
                    ("inventory_hostname", json!(other)),
                    ("group_names", json!(index.group_names(other))),
                    ("groups", json!(index.groups)),
                ]))];
                layers.extend(board.get(other).cloned());
                layers.extend(index.layers(other));
                Some(Scope::new(engine.clone(), layers, HashMap::new(), Arc::default(), Search::default()))
            },
        );
        let mut dirs: Vec<_> = role.iter().map(|r| r.path.clone()).collect();
        dirs.extend(task.and_then(|t| t.pos.file.parent()).map(std::path::Path::to_path_buf));
        dirs.push(self.loader.playbook_dir.clone());
        Scope::new(
            self.engine.clone(),
            layers,
            [("hostvars".to_owned(), hostvars)].into(),
            Arc::new(host.unknown.clone()),
            Search { dirs },
        )
    }

    pub(super) async fn become_of(
        &self,
        task: Option<&Task>,
        playing: &Playing<'_>,
        scope: &Arc<Scope>,
        spec: Option<BecomeSpec>,
    ) -> std::result::Result<Option<Become>, RenderError> {
        let wants = task.map_or(&playing.play.become_, |t| &t.inherit.become_);
        let var = |name: &str| scope.variable(name).map(|v| to_json(&v));
        let get = |own: &Option<Json>, name: &str| -> std::result::Result<Option<Json>, RenderError> {
            match (var(name), own) {
                (Some(v), _) => Ok(Some(v)),
                (None, Some(v)) => scope.render(v).map(Some),
                (None, None) => Ok(None),
            }
        };
        if !get(&wants.on, "ansible_become")?.as_ref().and_then(truthy).unwrap_or(false) {
            return Ok(None);
        }
        let text = |v: Option<Json>| v.and_then(|v| v.as_str().map(str::to_owned));
        let spec = spec.unwrap_or_default();
        let method = match text(get(&wants.method, "ansible_become_method")?).as_deref() {
            None => spec.method,
            Some("sudo" | "ansible.builtin.sudo") => BecomeMethod::Sudo,
            Some("su" | "ansible.builtin.su") => BecomeMethod::Su,
            Some(other) => {
                return Err(RenderError {
                    message: format!("the become method `{other}` is not supported; there are sudo and su"),
                    undefined: false,
                });
            }
        };
        let password =
            match (text(var("ansible_become_password").or_else(|| var("ansible_become_pass"))), &spec.password) {
                (Some(p), _) => {
                    let secret = Secret::new(p);
                    self.cx.learn_secret(&secret);
                    Some(secret)
                }
                (None, Some(r)) => {
                    Some(self.cx.resolve(r).await.map_err(|e| RenderError { message: e.report(), undefined: false })?)
                }
                (None, None) => None,
            };
        let flags =
            text(get(&wants.flags, "ansible_become_flags")?).map_or(spec.flags, |f| crate::load::split_words(&f));
        Ok(Some(Become {
            user: text(get(&wants.user, "ansible_become_user")?).unwrap_or(spec.user),
            method,
            password,
            flags,
        }))
    }

    pub(super) fn environment(
        &self,
        task: &Task,
        scope: &Arc<Scope>,
    ) -> std::result::Result<Vec<(String, String)>, RenderError> {
        let mut env: Vec<(String, String)> = Vec::new();
        for layer in &task.inherit.environment {
            if let Json::Object(map) = drop_omitted(scope.render(layer)?) {
                for (k, v) in map {
                    let good = !k.is_empty()
                        && k.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                        && !k.starts_with(|c: char| c.is_ascii_digit());
                    if !good {
                        return Err(RenderError {
                            message: format!("`{k}` can't be the name of an environment variable"),
                            undefined: false,
                        });
                    }
                    env.retain(|(have, _)| *have != k);
                    env.push((k, crate::render::text(&Value::from(&v))));
                }
            }
        }
        Ok(env)
    }
}
