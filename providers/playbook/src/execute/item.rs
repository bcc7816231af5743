//! One item of a task: decide, probe, change, or foresee what would change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_core::{Certainty, Change, Context, Json, Vars};

use super::state::HostState;
use super::task::{Done, Item, Stop, failure, flag, stop};
use super::{Mode, Playing, Run, lock};
use crate::PLAYBOOK;
use crate::carry::Script;
use crate::load::Task;
use crate::modules::{self, Call, Decision, Fields};
use crate::render::{RenderError, Scope, drop_omitted, truthy};

impl Run<'_> {
    /// Notes a task whose result only the run can tell.
    pub(super) fn unknowable(&self, task: &Task, host: &mut HostState, title: &str, why: String) -> Done {
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

    /// One item, tried again as `until` says.
    pub(super) async fn item(
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
        let Some(module) = modules::find(&task.action) else {
            let why = format!("the module `{}` has no native version; there are: {}", task.action, modules::names());
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
        let check = plan || task.inherit.check_mode.as_ref().and_then(truthy).unwrap_or(false);
        let call = Call {
            action: task.action.clone(),
            args: Fields::new(),
            given: args.clone(),
            scope: scope.clone(),
            env,
            check,
            diff: plan,
        };
        let mut decision = module.begin(&format!("ansible.legacy.{}", task.action), call);
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
                Ok(Decision::Drive(_)) => {
                    fields = failure("this module can't drive the connection yet");
                    break;
                }
                Ok(Decision::Change(pending)) => {
                    if check {
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
            let local = module.place == modules::Place::Here;
            let path = ["path", "dest"]
                .iter()
                .find_map(|k| fields.get(*k))
                .and_then(Json::as_str)
                .or_else(|| args.get("path").and_then(Json::as_str));
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
        // Whether `no_log` holds may itself be unknown, so in a plan its presence is enough.
        let hidden = task.inherit.no_log.is_some();
        let subject = if hidden { format!("task {title}") } else { format!("task {title}: {}", pending.subject) };
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
}
