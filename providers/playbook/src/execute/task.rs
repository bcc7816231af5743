//! One task on one host.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use minijinja::value::{DynObject, Enumerator, Object, Value};
use serde_json::json;
use towpath_core::{
    Become, BecomeMethod, BecomeSpec, Certainty, Change, Context, Error, ErrorKind, EventKind, Json, Result, Secret,
    TaskStatus, Vars,
};

use super::state::HostState;
use super::{Mode, Playing, Run, facts, lock};
use crate::PLAYBOOK;
use crate::carry::{Output, Script};
use crate::load::{Play, Role, Task};
use crate::modules::{self, Call, Decision, Fields};
use crate::render::{OMIT, RenderError, Scope, Search, drop_omitted, to_json, truthy};

/// `hostvars`.
#[derive(Debug)]
struct HostVars(HashMap<String, Value>, Vec<String>);

impl Object for HostVars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.1.iter().map(|n| Value::from(n.as_str())).collect())
    }
}

/// How one item went.
struct Done {
    fields: Fields,
    skipped: bool,
    /// In a plan: why the result can't be known.
    unknown: Option<String>,
}

enum Stop {
    Unreachable(Error),
    Fatal(Error),
}

type Item<T> = std::result::Result<T, Stop>;

fn stop(e: Error) -> Stop {
    match e.kind() {
        ErrorKind::Unreachable | ErrorKind::Denied => Stop::Unreachable(e),
        _ => Stop::Fatal(e),
    }
}

fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(Json::as_bool).unwrap_or(false)
}

fn failure(message: impl Into<String>) -> Fields {
    modules::fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(message.into()))])
}

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
        let others = self.index.names.iter().map(|other| {
            let mut layers = vec![Arc::new(modules::fields([
                ("inventory_hostname", json!(other)),
                ("group_names", json!(self.index.group_names(other))),
                ("groups", json!(self.index.groups)),
            ]))];
            layers.extend(board.get(other).cloned());
            layers.extend(self.index.layers(other));
            let scope = Scope::new(self.engine.clone(), layers, HashMap::new(), Arc::default(), Search::default());
            (other.clone(), Value::from_dyn_object(DynObject::new(scope)))
        });
        let hostvars = Value::from_object(HostVars(others.collect(), self.index.names.clone()));
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

    async fn become_of(
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

    async fn send(
        &self,
        cx: &Context,
        playing: &Playing<'_>,
        host: &mut HostState,
        become_: Option<Become>,
        script: Script,
    ) -> Result<Output> {
        if host.connection.is_none() {
            if let Some(user) = &playing.play.remote_user {
                if host.host.connection.user.is_none() {
                    host.host.connection.user = user.as_str().map(str::to_owned);
                }
            }
        }
        host.run(cx, &*self.targets.connector, become_, script).await
    }

    /// Gathers facts.
    pub(super) fn gather<'f>(
        &'f self,
        playing: &'f Playing<'_>,
        name: String,
    ) -> BoxFuture<'f, Result<Vec<EventKind>>> {
        Box::pin(async move {
            let started = Instant::now();
            let mut host = self.host(&name)?.lock().await;
            if host.failed.is_some() {
                return Ok(Vec::new());
            }
            let cx = self.cx.for_host(&name);
            let scope = self.scope(playing, None, &host, Vars::new());
            let become_ = self
                .become_of(None, playing, &scope, host.host.connection.r#become.clone())
                .await
                .map_err(|e| crate::load::yaml::invalid(&playing.play.pos, e.message))?;
            let script = Script { text: facts::SCRIPT.to_owned(), foreign: false };
            let status = match self.send(&cx, playing, &mut host, become_, script).await {
                Ok(out) => {
                    host.facts = Arc::new(facts::parse(&out.text()));
                    host.summary.ok += 1;
                    TaskStatus::Ok
                }
                Err(e) => match stop(e) {
                    Stop::Fatal(e) => return Err(e),
                    Stop::Unreachable(e) => {
                        if self.mode == Mode::Plan {
                            return Err(e.with_missing("host", &name));
                        }
                        host.summary.unreachable = 1;
                        host.failed = Some(unreachable(e, &name));
                        TaskStatus::Unreachable
                    }
                },
            };
            self.publish(&host);
            let task = "Gathering Facts".to_owned();
            let file = Some(playing.play.pos.to_string());
            Ok(vec![EventKind::TaskResult {
                task,
                file,
                status,
                result: Json::Null,
                seconds: started.elapsed().as_secs_f64(),
            }])
        })
    }

    fn publish(&self, host: &HostState) {
        let mut all = Vars::clone(&host.facts);
        all.extend(host.vars.clone());
        self.board.write().unwrap_or_else(PoisonError::into_inner).insert(host.host.name.clone(), Arc::new(all));
    }

    fn items(&self, task: &Task, scope: &Arc<Scope>) -> std::result::Result<Option<Vec<Json>>, RenderError> {
        let Some(l) = &task.loop_ else { return Ok(None) };
        let wrong = |message: String| RenderError { message, undefined: false };
        let value = scope.render(&l.items)?;
        let list = match (l.kind.as_str(), value) {
            ("loop", Json::Array(items)) | ("with_list", Json::Array(items)) => items,
            ("loop", other) => return Err(wrong(format!("`loop` wants a list, not {other}"))),
            ("with_items" | "with_flattened", Json::Array(items)) => items
                .into_iter()
                .flat_map(|i| match i {
                    Json::Array(inner) => inner,
                    one => vec![one],
                })
                .collect(),
            ("with_items", one) => vec![one],
            ("with_dict", Json::Object(map)) => {
                map.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
            }
            ("with_indexed_items", Json::Array(items)) => {
                items.into_iter().enumerate().map(|(i, v)| json!([i, v])).collect()
            }
            (kind, _) => return Err(wrong(format!("`{kind}` is not supported; use `loop`"))),
        };
        Ok(Some(list))
    }

    fn locals(task: &Task, item: Option<(usize, &Json)>) -> Vars {
        let mut vars = Vars::new();
        if let (Some(l), Some((i, item))) = (&task.loop_, item) {
            vars.insert(l.var.clone(), item.clone());
            vars.insert("ansible_loop_var".into(), json!(l.var));
            if let Some(index) = &l.index_var {
                vars.insert(index.clone(), json!(i));
            }
        }
        vars
    }

    /// What an include includes on a host: arguments and loop variables.
    pub(super) async fn inclusions(&self, playing: &Playing<'_>, task: &Task, name: &str) -> Result<Vec<(Vars, Vars)>> {
        let mut host = self.host(name)?.lock().await;
        let scope = self.scope(playing, Some(task), &host, Vars::new());
        let work = || -> std::result::Result<Vec<(Vars, Vars)>, RenderError> {
            let items =
                if task.loop_.is_some() { self.items(task, &scope)?.unwrap_or_default() } else { vec![Json::Null] };
            let mut out = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let locals = Self::locals(task, Some((i, item)));
                let scope = self.scope(playing, Some(task), &host, locals.clone());
                let mut go = true;
                for (condition, _) in &task.inherit.when {
                    go = go && scope.test(condition)?;
                }
                if go {
                    let args = scope.render(&Json::Object(task.args.clone()))?;
                    out.push((args.as_object().cloned().unwrap_or_default(), locals));
                }
            }
            Ok(out)
        };
        match work() {
            Ok(found) => {
                if found.is_empty() {
                    host.summary.skipped += 1
                } else {
                    host.summary.ok += 1
                }
                Ok(found)
            }
            Err(e) => {
                host.summary.failed += 1;
                host.failed = Some(self.failed(task, name, &failure(e.message), false));
                Ok(Vec::new())
            }
        }
    }

    fn title(task: &Task, scope: &Arc<Scope>) -> String {
        let name = task.name.clone().unwrap_or_else(|| task.action.clone());
        let name = scope.render_text(&name).unwrap_or(name);
        match &task.inherit.role {
            Some(role) => format!("{} : {name}", role.name),
            None => name,
        }
    }

    fn failed(&self, task: &Task, host: &str, result: &Fields, hidden: bool) -> Error {
        let name = task.name.clone().unwrap_or_else(|| task.action.clone());
        let mut error = Error::new(ErrorKind::ToolFailed, PLAYBOOK, "apply", "a task failed")
            .with("host", host)
            .with("task", name)
            .with("file", &task.pos);
        if hidden {
            return error.caused_by("the result is hidden by `no_log`");
        }
        let mut cause = String::new();
        let mut add = |r: &Fields| {
            for key in ["msg", "rc", "stderr", "stdout", "assertion"] {
                match r.get(key) {
                    Some(Json::String(s)) if !s.is_empty() => cause.push_str(&format!("{key}: {}\n", tail(s))),
                    Some(Json::Number(n)) => cause.push_str(&format!("{key}: {n}\n")),
                    _ => {}
                }
            }
        };
        add(result);
        for item in result.get("results").and_then(Json::as_array).into_iter().flatten() {
            if let Some(r) = item.as_object().filter(|r| flag(r, "failed")) {
                add(r);
            }
        }
        if let Some(rc) = result.get("rc") {
            error = error.with("exit_status", rc);
        }
        error.caused_by(cause.trim_end().to_owned())
    }

    /// Runs a task on a host and gives the event of its result.
    pub(super) fn task<'f>(
        &'f self,
        playing: &'f Playing<'_>,
        task: &'f Arc<Task>,
        name: String,
    ) -> BoxFuture<'f, Result<Vec<EventKind>>> {
        Box::pin(async move {
            let started = Instant::now();
            let cx = self.cx.for_host(&name);
            cx.check(PLAYBOOK, "apply")?;
            let mut host = self.host(&name)?.lock().await;
            let scope = self.scope(playing, Some(task), &host, Vars::new());
            let title = Self::title(task, &scope);
            let hidden = task
                .inherit
                .no_log
                .as_ref()
                .is_some_and(|v| scope.render(v).ok().as_ref().and_then(truthy).unwrap_or(true));
            let done = match self.all_items(&cx, playing, task, &mut host, &scope, &title).await {
                Ok(done) => done,
                Err(Stop::Fatal(e)) => return Err(e.with_missing("host", &name).with_missing("file", &task.pos)),
                Err(Stop::Unreachable(e)) => {
                    if self.mode == Mode::Plan {
                        return Err(e.with_missing("host", &name));
                    }
                    host.summary.unreachable = 1;
                    host.failed =
                        Some(unreachable(e, &name).with_missing("task", &title).with_missing("file", &task.pos));
                    let file = Some(task.pos.to_string());
                    let seconds = started.elapsed().as_secs_f64();
                    return Ok(vec![EventKind::TaskResult {
                        task: title,
                        file,
                        status: TaskStatus::Unreachable,
                        result: Json::Null,
                        seconds,
                    }]);
                }
            };
            let Done { fields, skipped, unknown } = done;
            let ignore = task
                .inherit
                .ignore_errors
                .as_ref()
                .is_some_and(|v| scope.render(v).ok().as_ref().and_then(truthy).unwrap_or(false));
            if let Some(facts) = fields.get("ansible_facts").and_then(Json::as_object) {
                for (k, v) in facts {
                    host.unknown.remove(k);
                    host.vars.insert(k.clone(), v.clone());
                }
            }
            if let Some(register) = &task.register {
                match &unknown {
                    Some(why) => {
                        host.vars.remove(register);
                        host.unknown.insert(register.clone(), why.clone());
                    }
                    None => {
                        host.unknown.remove(register);
                        host.vars.insert(register.clone(), Json::Object(fields.clone()));
                    }
                }
            }
            let (failed, changed) = (flag(&fields, "failed"), flag(&fields, "changed"));
            let status = if skipped {
                host.summary.skipped += 1;
                TaskStatus::Skipped
            } else if failed && ignore {
                host.summary.ok += 1;
                host.summary.ignored += 1;
                if changed {
                    host.summary.changed += 1;
                }
                TaskStatus::Ignored
            } else if failed {
                host.summary.failed += 1;
                let shown = if hidden { failure("hidden by `no_log`") } else { fields.clone() };
                host.vars.insert("ansible_failed_result".into(), Json::Object(shown));
                host.vars.insert("ansible_failed_task".into(), json!({ "name": task.name, "action": task.action }));
                host.failed = Some(self.failed(task, &name, &fields, hidden));
                TaskStatus::Failed
            } else {
                host.summary.ok += 1;
                if changed {
                    host.summary.changed += 1;
                }
                if changed { TaskStatus::Changed } else { TaskStatus::Ok }
            };
            if self.mode == Mode::Plan && failed {
                // A plan reports no failure as an error: it says what would go wrong.
                if let Some(e) = host.failed.take() {
                    host.summary.failed = 0;
                    host.ended = true;
                    lock(&self.plan).warnings.push(format!("{name}: {title} would fail: {}", e.report()));
                }
            }
            if changed && !failed {
                for n in &task.notify {
                    let n = scope.render_text(n).unwrap_or_else(|_| n.clone());
                    host.notified.push(n);
                }
            }
            self.publish(&host);
            let result = if hidden {
                json!({ "censored": "hidden by `no_log`", "changed": changed })
            } else {
                Json::Object(fields)
            };
            let file = Some(task.pos.to_string());
            Ok(vec![EventKind::TaskResult {
                task: title,
                file,
                status,
                result,
                seconds: started.elapsed().as_secs_f64(),
            }])
        })
    }

    async fn all_items(
        &self,
        cx: &Context,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        host: &mut HostState,
        scope: &Arc<Scope>,
        title: &str,
    ) -> Item<Done> {
        if task.loop_.is_none() {
            return self.item(cx, playing, task, host, None, title).await;
        }
        let items = match self.items(task, scope) {
            Ok(items) => items.unwrap_or_default(),
            Err(e) => {
                if let Some(why) = scope.touched() {
                    return Ok(self.unknowable(task, host, title, why));
                }
                // As Ansible: what a false condition skips may be undefined.
                let skip = task.inherit.when.iter().any(|(c, _)| matches!(scope.test(c), Ok(false)));
                let fields = modules::fields([
                    ("changed", json!(false)),
                    ("skipped", json!(true)),
                    ("skip_reason", json!("Conditional result was False")),
                ]);
                return Ok(if skip {
                    Done { fields, skipped: true, unknown: None }
                } else {
                    Done { fields: failure(e.message), skipped: false, unknown: None }
                });
            }
        };
        let (mut results, mut changed, mut failed, mut skipped, mut unknown) = (Vec::new(), false, false, true, None);
        for (i, item) in items.iter().enumerate() {
            let done = self.item(cx, playing, task, host, Some((i, item)), title).await?;
            changed |= flag(&done.fields, "changed");
            failed |= flag(&done.fields, "failed");
            skipped &= done.skipped;
            unknown = unknown.or(done.unknown);
            let mut fields = done.fields;
            if let Some(l) = &task.loop_ {
                fields.insert(l.var.clone(), item.clone());
                fields.insert("ansible_loop_var".into(), json!(l.var));
            }
            results.push(Json::Object(fields));
        }
        let msg = if failed { "One or more items failed" } else { "All items completed" };
        let mut fields =
            modules::fields([("changed", json!(changed)), ("msg", json!(msg)), ("results", Json::Array(results))]);
        if failed {
            fields.insert("failed".into(), true.into());
        }
        if skipped {
            fields.insert("skipped".into(), true.into());
        }
        Ok(Done { fields, skipped, unknown })
    }

    fn unknowable(&self, task: &Task, host: &mut HostState, title: &str, why: String) -> Done {
        let change =
            Change::cannot_know(&host.host.name, format!("task {title}"), towpath_core::Action::Run, why.clone());
        lock(&self.plan).changes.push(change);
        host.dirty.get_or_insert_with(|| format!("`{title}` before it can't be known"));
        let mut fields = modules::fields([("changed", json!(true))]);
        for (k, v) in &task.args {
            if task.action == "set_fact" {
                host.unknown.insert(k.clone(), format!("`{k}` is set from something that only the run can tell"));
                host.vars.remove(k);
            }
            let _ = v;
        }
        if task.action == "set_fact" || task.action == "debug" || task.action == "assert" {
            fields.insert("changed".into(), false.into());
        }
        Done { fields, skipped: false, unknown: Some(why) }
    }

    async fn item(
        &self,
        cx: &Context,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        host: &mut HostState,
        item: Option<(usize, &Json)>,
        title: &str,
    ) -> Item<Done> {
        let retries = |scope: &Arc<Scope>, v: &Option<Json>, default: u64| {
            v.as_ref()
                .and_then(|v| scope.render(v).ok())
                .and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()))
                .unwrap_or(default)
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let locals = Self::locals(task, item);
            let scope = self.scope(playing, Some(task), host, locals.clone());
            let mut done = self.once(cx, playing, task, host, &scope, title).await?;
            let Some(until) = &task.until else { return Ok(done) };
            if done.skipped || self.mode == Mode::Plan {
                return Ok(done);
            }
            done.fields.insert("attempts".into(), json!(attempt));
            let mut vars = locals;
            vars.extend(task.register.as_ref().map(|r| (r.clone(), Json::Object(done.fields.clone()))));
            let after = self.scope(playing, Some(task), host, vars);
            match until.iter().map(|c| after.test(c)).collect::<std::result::Result<Vec<_>, _>>() {
                Ok(all) if all.iter().all(|b| *b) => return Ok(done),
                Ok(_) if attempt <= retries(&scope, &task.retries, 3) => {}
                Ok(_) => {
                    done.fields.insert("failed".into(), true.into());
                    return Ok(done);
                }
                Err(e) => return Ok(Done { fields: failure(e.message), ..done }),
            }
            let delay = retries(&scope, &task.delay, 5);
            cx.sleep(PLAYBOOK, "apply", Duration::from_secs(delay)).await.map_err(Stop::Fatal)?;
        }
    }

    async fn once(
        &self,
        cx: &Context,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        host: &mut HostState,
        scope: &Arc<Scope>,
        title: &str,
    ) -> Item<Done> {
        let plan = self.mode == Mode::Plan;
        let target = host.host.name.clone();
        let failing = |e: RenderError| Done { fields: failure(e.message), skipped: false, unknown: None };
        for (condition, _) in &task.inherit.when {
            let verdict = scope.test(condition);
            if let Some(why) = scope.touched() {
                return Ok(self.unknowable(task, host, title, why));
            }
            match verdict {
                Ok(true) => {}
                Ok(false) => {
                    if plan {
                        let mut change = Change::will_not(&target, format!("task {title}"));
                        change.reason = Some("its condition is false".into());
                        lock(&self.plan).changes.push(change);
                    }
                    let fields = modules::fields([
                        ("changed", json!(false)),
                        ("skipped", json!(true)),
                        ("skip_reason", json!("Conditional result was False")),
                        ("false_condition", condition.clone()),
                    ]);
                    return Ok(Done { fields, skipped: true, unknown: None });
                }
                Err(e) => return Ok(failing(e)),
            }
        }
        if matches!(task.action.as_str(), "setup" | "gather_facts") {
            let out = self
                .send(cx, playing, host, None, Script { text: facts::SCRIPT.to_owned(), foreign: false })
                .await
                .map_err(stop)?;
            host.facts = Arc::new(facts::parse(&out.text()));
            return Ok(Done { fields: modules::fields([("changed", json!(false))]), skipped: false, unknown: None });
        }
        let Some(prepare) = modules::find(&task.action) else {
            let why = format!("the module `{}` has no native version; there are: {}", task.action, modules::NAMES);
            if plan {
                return Ok(self.unknowable(task, host, title, why));
            }
            return Ok(Done { fields: failure(why), skipped: false, unknown: None });
        };
        // `args` may be one expression that gives all arguments.
        let rendered = scope.render(&Json::Object(task.args.clone()));
        let environment = self.environment(task, scope);
        let become_ = self.become_of(Some(task), playing, scope, host.host.connection.r#become.clone()).await;
        if let Some(why) = scope.touched() {
            return Ok(self.unknowable(task, host, title, why));
        }
        let (args, env, become_) = match (rendered, environment, become_) {
            (Ok(a), Ok(e), Ok(b)) => (drop_omitted(a), e, b),
            (Err(e), ..) | (_, Err(e), _) | (.., Err(e)) => return Ok(failing(e)),
        };
        let args = args.as_object().cloned().unwrap_or_default();
        let call = Call { action: task.action.clone(), args, scope: scope.clone(), env, plan };
        let mut decision = prepare(&call);
        let mut fields;
        let mut unknown = None;
        loop {
            match decision {
                Err(message) => {
                    fields = failure(message);
                    break;
                }
                Ok(Decision::Done(result)) => {
                    fields = result;
                    break;
                }
                Ok(Decision::Probe(text, decide)) => {
                    let out = self
                        .send(cx, playing, host, become_.clone(), Script { text, foreign: false })
                        .await
                        .map_err(stop)?;
                    decision = decide(out);
                }
                Ok(Decision::Change(pending)) => {
                    let check = task.inherit.check_mode.as_ref().and_then(truthy).unwrap_or(false);
                    if plan || check {
                        if plan {
                            return Ok(self.foresee(task, host, scope, title, pending));
                        }
                        fields = pending.expected;
                        break;
                    }
                    let script = Script { text: pending.script, foreign: pending.foreign };
                    let out = self.send(cx, playing, host, become_.clone(), script).await.map_err(stop)?;
                    fields = (pending.finish)(out);
                    break;
                }
            }
        }
        if scope.touched().is_some() {
            return Ok(self.unknowable(task, host, title, scope.touched().unwrap_or_default()));
        }
        if plan {
            let local = matches!(task.action.as_str(), "debug" | "set_fact" | "assert" | "fail" | "include_vars");
            let path = ["path", "dest"]
                .iter()
                .find_map(|k| fields.get(*k))
                .and_then(Json::as_str)
                .or_else(|| call.args.get("path").and_then(Json::as_str));
            let overlap = path.and_then(|p| {
                host.touched
                    .iter()
                    .find(|t| *t == p || p.starts_with(&format!("{t}/")) || t.starts_with(&format!("{p}/")))
                    .cloned()
            });
            let doubt = host.dirty.clone().or_else(|| overlap.map(|p| format!("an earlier task changes {p}")));
            match doubt.filter(|_| !local) {
                Some(why) => {
                    lock(&self.plan).changes.push(Change::cannot_know(
                        &target,
                        format!("task {title}"),
                        towpath_core::Action::Update,
                        why.clone(),
                    ));
                    unknown = Some(why);
                    fields.remove("failed");
                }
                None if !host.touched.is_empty() && flag(&fields, "failed") && !local => {
                    let why = "earlier tasks change what it needs".to_owned();
                    lock(&self.plan).changes.push(Change::cannot_know(
                        &target,
                        format!("task {title}"),
                        towpath_core::Action::Update,
                        why.clone(),
                    ));
                    fields.remove("failed");
                    unknown = Some(why);
                }
                None if !flag(&fields, "failed") => {
                    lock(&self.plan).changes.push(Change::will_not(&target, format!("task {title}")))
                }
                None => {}
            }
            return Ok(Done { fields, skipped: false, unknown });
        }
        // The result as conditions see it: by its registered name.
        let verdict = |fields: &Fields, conditions: &[Json]| -> std::result::Result<Vec<bool>, RenderError> {
            let own: Vars = task.register.iter().map(|r| (r.clone(), Json::Object(fields.clone()))).collect();
            let scope = scope.with(own);
            conditions.iter().map(|c| scope.test(c)).collect()
        };
        fields.entry("failed").or_insert(false.into());
        if let Some(c) = &task.changed_when {
            match verdict(&fields, c) {
                Ok(all) => fields.insert("changed".into(), json!(all.iter().all(|b| *b))),
                Err(e) => return Ok(failing(e)),
            };
        }
        if let Some(c) = &task.failed_when {
            match verdict(&fields, c) {
                Ok(all) => {
                    let failed = all.iter().all(|b| *b);
                    fields.insert("failed_when_result".into(), json!(failed));
                    fields.insert("failed".into(), json!(failed))
                }
                Err(e) => return Ok(failing(e)),
            };
        }
        Ok(Done { fields, skipped: false, unknown: None })
    }

    /// Notes a change that a run would make.
    fn foresee(
        &self,
        task: &Task,
        host: &mut HostState,
        scope: &Arc<Scope>,
        title: &str,
        pending: modules::Pending,
    ) -> Done {
        let target = host.host.name.clone();
        let subject = format!("task {title}: {}", pending.subject);
        let hidden = task.inherit.no_log.is_some();
        let quiet = task.changed_when.as_ref().is_some_and(|c| c.iter().any(|c| matches!(scope.test(c), Ok(false))));
        let mut fields = pending.expected;
        if !pending.certain {
            let why = "only running it can tell what it changes".to_owned();
            let mut change = Change::cannot_know(&target, &subject, pending.action, &why);
            if quiet {
                // The author says that it changes nothing.
                change.certainty = Certainty::WillNot;
                change.action = towpath_core::Action::None;
                change.reason = Some("`changed_when` is false".into());
                fields.insert("changed".into(), false.into());
            } else {
                host.dirty.get_or_insert_with(|| format!("`{title}` runs before it, and may change anything"));
            }
            lock(&self.plan).changes.push(change);
            return Done { fields, skipped: false, unknown: Some(why) };
        }
        let mut change = Change::will(&target, &subject, pending.action);
        if !hidden {
            change = change.from_to(pending.before, pending.after);
        }
        let again = pending.path.as_ref().is_some_and(|p| host.touched.contains(p));
        if let Some(why) =
            host.dirty.clone().or_else(|| again.then(|| "an earlier task changes the same file".to_owned()))
        {
            change.certainty = Certainty::CannotKnow;
            change.reason = Some(why);
        }
        if quiet {
            fields.insert("changed".into(), false.into());
        }
        match &pending.path {
            Some(path) => host.touched.push(path.clone()),
            None => {
                host.changed.insert(pending.subject.clone());
            }
        }
        let unknown = (change.certainty == Certainty::CannotKnow).then(|| change.reason.clone().unwrap_or_default());
        lock(&self.plan).changes.push(change);
        Done { fields, skipped: false, unknown }
    }

    fn environment(&self, task: &Task, scope: &Arc<Scope>) -> std::result::Result<Vec<(String, String)>, RenderError> {
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
                    env.push((k, crate::render::text(&Value::from_serialize(&v))));
                }
            }
        }
        Ok(env)
    }
}

fn unreachable(e: Error, host: &str) -> Error {
    if e.kind() == ErrorKind::Unreachable {
        e.with_missing("host", host)
    } else {
        Error::new(ErrorKind::Unreachable, PLAYBOOK, "apply", "a host can't be reached")
            .with("host", host)
            .caused_by(e.report())
    }
}

fn tail(s: &str) -> &str {
    match s.char_indices().rev().nth(4000) {
        Some((at, _)) => s.get(at..).unwrap_or(s),
        None => s,
    }
}
