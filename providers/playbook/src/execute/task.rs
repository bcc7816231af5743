//! One task on one host.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use futures::future::BoxFuture;
use serde_json::json;
use towpath_core::{Become, Context, Error, ErrorKind, EventKind, Json, Result, TaskStatus, Vars};

use super::state::HostState;
use super::{Mode, Playing, Run, lock};
use crate::PLAYBOOK;
use crate::carry::{Output, Script};
use crate::facts::{self, Subset};
use crate::load::Task;
use crate::modules::{self, Fields};
use crate::render::{RenderError, Scope, truthy};

/// How one item went.
pub(super) struct Done {
    pub(super) fields: Fields,
    pub(super) skipped: bool,
    /// In a plan: why the result can't be known.
    pub(super) unknown: Option<String>,
}

/// What ends a task on a host.
pub(super) enum Stop {
    Unreachable(Error),
    Fatal(Error),
}

pub(super) type Item<T> = std::result::Result<T, Stop>;

pub(super) fn stop(e: Error) -> Stop {
    match e.kind() {
        ErrorKind::Unreachable | ErrorKind::Denied => Stop::Unreachable(e),
        _ => Stop::Fatal(e),
    }
}

pub(super) fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(Json::as_bool).unwrap_or(false)
}

pub(super) fn failure(message: impl Into<String>) -> Fields {
    modules::fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(message.into()))])
}

impl Run<'_> {
    pub(super) async fn send(
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
            let subset = Subset::all();
            let script = Script { text: facts::script(&subset, "/etc/ansible/facts.d"), foreign: false };
            let status = match self.send(&cx, playing, &mut host, become_, script).await {
                Ok(out) => {
                    let (found, _) = facts::read(&subset, &out.stdout)
                        .map_err(|e| Error::new(ErrorKind::Protocol, PLAYBOOK, "facts", e).with("host", &name))?;
                    host.facts = Arc::new(facts::variables(&found));
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

    pub(super) fn locals(task: &Task, item: Option<(usize, &Json)>) -> Vars {
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
                for k in facts.keys() {
                    host.unknown.remove(k);
                }
                if matches!(task.action.as_str(), "set_fact" | "include_vars") {
                    host.vars.extend(facts.clone());
                } else {
                    facts::merge(Arc::make_mut(&mut host.facts), facts);
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
