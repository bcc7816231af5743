//! One task on one host: its items, and what they give together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use towpath_core::{Json, Result, TaskStatus, Vars};

use super::include::Inclusion;
use super::out::Lane;
use super::result::{One, combine, facts, flag, shown};
use super::vars::View;
use super::world::Known;
use super::{Mode, Playing, Run};
use crate::PLAYBOOK;
use crate::load::Task;
use crate::modules;
use crate::render::{RenderError, Scope, truthy};
use crate::report::{HostResult, PlaybookEvent, TaskInfo};

/// What a task gave on a host, before the play takes note of it.
pub(super) struct Outcome {
    pub(super) host: String,
    /// One for each item, or one.
    pub(super) ones: Vec<One>,
    /// All together.
    pub(super) all: One,
    pub(super) status: TaskStatus,
    pub(super) ignore_unreachable: bool,
    pub(super) hidden: bool,
    /// Handlers to notify, by their places.
    pub(super) notify: Vec<usize>,
    pub(super) includes: Vec<Inclusion>,
    pub(super) delegate_facts: bool,
}

/// What stays the same for all items of a task on a host; and which item it is.
#[derive(Clone, Copy)]
pub(super) struct On<'t> {
    pub(super) playing: &'t Playing<'t>,
    pub(super) task: &'t Arc<Task>,
    pub(super) info: &'t Arc<TaskInfo>,
    pub(super) host: &'t str,
    pub(super) lane: &'t Lane,
    /// What is known about the host now.
    pub(super) known: Option<&'t Known>,
    /// The number of the item.
    pub(super) at: usize,
}

impl On<'_> {
    pub(super) fn result(&self, one: &One, status: TaskStatus, hidden: bool, since: Instant) -> HostResult {
        HostResult {
            host: self.host.to_owned(),
            delegated: one.delegated.clone(),
            task: self.info.clone(),
            status,
            result: shown(&one.fields, hidden),
            item: None,
            looped: self.task.loop_.is_some(),
            seconds: since.elapsed().as_secs_f64(),
        }
    }
}

/// Whether a keyword is set; a value that can't be told counts as `doubtful`.
pub(super) fn keyword(scope: &Arc<Scope>, value: &Option<Json>, doubtful: bool) -> bool {
    value.as_ref().is_some_and(|v| scope.render(v).ok().as_ref().and_then(truthy).unwrap_or(doubtful))
}

impl Run<'_> {
    /// The task as people see it.
    pub(super) fn info(&self, playing: &Playing<'_>, task: &Task, host: &str) -> Arc<TaskInfo> {
        let known = self.world.known(host);
        let view = View { host, known: &known, task: Some(task), locals: Arc::default(), delegated: None };
        let name = task.name.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| default_name(task));
        let name =
            if name.contains("{{") { self.scope(playing, &view).render_text(&name).unwrap_or(name) } else { name };
        let name = match task.inherit.role.as_ref().filter(|_| task.action != "include_role") {
            Some(used) => format!("{} : {name}", used.role.name),
            None => name,
        };
        Arc::new(TaskInfo {
            name,
            action: task.written.clone(),
            file: std::path::absolute(task.pos.file.as_ref()).unwrap_or_else(|_| task.pos.file.as_ref().clone()),
            line: task.pos.line,
            handler: task.inherit.handler,
            args: task.args.clone(),
        })
    }

    /// Runs a task on a host, and tells how it went.
    pub(super) async fn task(
        &self,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        info: &Arc<TaskInfo>,
        host: &str,
        lane: &Lane,
    ) -> Result<Outcome> {
        let since = Instant::now();
        self.cx.check(PLAYBOOK, "apply")?;
        let on = On { playing, task, info, host, lane, known: None, at: 0 };
        let mut known = self.world.known(host);
        let view = View { host, known: &known, task: Some(task), locals: Arc::default(), delegated: None };
        let scope = self.scope(playing, &view);
        let hidden = keyword(&scope, &task.inherit.no_log, true);
        let ignore = keyword(&scope, &task.inherit.ignore_errors, false);
        let ignore_unreachable = keyword(&scope, &task.inherit.ignore_unreachable, false);
        let mut includes = Vec::new();
        let (mut ones, looped) = match self.all(&on, &scope, &mut known, hidden, &mut includes).await {
            Ok(all) => all,
            Err(e) => return Err(e.with_missing("host", host).with_missing("file", &task.pos)),
        };
        let changed = ones.iter().any(|o| flag(&o.fields, "changed") && !flag(&o.fields, "failed"));
        let mut all = combine(&mut ones, looped);
        let failed = flag(&all.fields, "failed") || all.unreachable.is_some();
        let mut notify = Vec::new();
        if (changed || flag(&all.fields, "changed")) && !failed && !task.inherit.notify.is_empty() {
            notify = self.notified(playing, task, &scope)?;
        }
        let status = all.status(ignore);
        let knows = self.mode == Mode::Apply || all.unknown.is_none();
        if task.meta().is_none() && knows && !flag(&all.fields, "failed") {
            all.fields.entry("changed").or_insert(false.into());
        }
        if !looped {
            ones = vec![One { fields: all.fields.clone(), delegated: all.delegated.clone(), ..One::default() }];
        }
        if !task.meta().is_some_and(|_| status != TaskStatus::Skipped) {
            lane.say(PlaybookEvent::TaskFinished(on.result(&all, status, hidden, since)));
        }
        let delegate_facts = keyword(&scope, &task.inherit.delegate_facts, false);
        let host = host.to_owned();
        Ok(Outcome { host, ones, all, status, ignore_unreachable, hidden, notify, includes, delegate_facts })
    }

    async fn all(
        &self,
        on: &On<'_>,
        scope: &Arc<Scope>,
        known: &mut Known,
        hidden: bool,
        includes: &mut Vec<Inclusion>,
    ) -> Result<(Vec<One>, bool)> {
        let task = on.task;
        let items = match self.items(task, scope) {
            Ok(items) => items,
            Err(e) => return Ok((vec![self.no_items(on, scope, e)], false)),
        };
        let (Some(items), Some(l)) = (items, &task.loop_) else {
            let one = self.item(on, known, Arc::default(), includes).await?;
            return Ok((vec![one], false));
        };
        let mut ones = Vec::new();
        for at in 0..items.all.len() {
            let since = Instant::now();
            let locals = Arc::new(items.locals(l, at));
            if at > 0
                && let Some(pause) = &l.pause
            {
                let seconds = scope.render(pause).ok().and_then(|v| v.as_f64().or_else(|| v.as_str()?.parse().ok()));
                if let Some(seconds) = seconds.filter(|s| *s > 0.0 && self.mode == Mode::Apply) {
                    self.cx.sleep(PLAYBOOK, "apply", Duration::from_secs_f64(seconds)).await?;
                }
            }
            let mut one = self.item(&On { at, ..*on }, known, locals.clone(), includes).await?;
            facts(task, &one.fields, known);
            one.fields.extend(Vars::clone(&locals).into_iter().filter(|(k, _)| k != "ansible_loop" || task.includes()));
            self.tell_item(on, known, &locals, &one, hidden, since);
            let stop = one.unreachable.is_some() || self.breaks(on, known, &locals, &one);
            ones.push(one);
            if stop {
                break;
            }
        }
        Ok((ones, true))
    }

    /// `break_when`: the result is known under the name that the task registers.
    fn breaks(&self, on: &On<'_>, known: &Known, locals: &Arc<Vars>, one: &One) -> bool {
        let Some(l) = on.task.loop_.as_ref().filter(|l| !l.break_when.is_empty()) else { return false };
        let mut vars = Vars::clone(locals);
        vars.extend(on.task.register.iter().map(|r| (r.clone(), Json::Object(one.fields.clone()))));
        let view = View { host: on.host, known, task: Some(on.task), locals: Arc::new(vars), delegated: None };
        let scope = self.scope(on.playing, &view);
        l.break_when.iter().all(|c| scope.test(c).unwrap_or(false))
    }

    fn tell_item(&self, on: &On<'_>, known: &Known, locals: &Arc<Vars>, one: &One, hidden: bool, since: Instant) {
        let Some(l) = &on.task.loop_ else { return };
        let view = View { host: on.host, known, task: Some(on.task), locals: locals.clone(), delegated: None };
        let plain = locals.get(&l.var).cloned();
        let label = match &l.label {
            Some(label) => self.scope(on.playing, &view).render(label).ok().or(plain),
            None => plain,
        };
        let mut result = on.result(one, one.status(false), hidden, since);
        result.item = if hidden { Some(Json::Null) } else { label.or(Some(Json::Null)) };
        on.lane.say(PlaybookEvent::ItemFinished(result));
    }

    /// What a loop whose items can't be told gives. As Ansible: what a false condition skips may be undefined.
    fn no_items(&self, on: &On<'_>, scope: &Arc<Scope>, e: RenderError) -> One {
        if let Some(why) = scope.touched() {
            return self.unknowable(on.task, on.host, &on.info.name, why);
        }
        let false_one = on.task.inherit.when.iter().find(|(c, _)| matches!(scope.test(c), Ok(false)));
        match false_one {
            Some((condition, _)) => One::skip(modules::fields([
                ("changed", json!(false)),
                ("skipped", json!(true)),
                ("skip_reason", json!("Conditional result was False")),
                ("false_condition", condition.clone()),
            ])),
            None => One::undefined(e),
        }
    }
}

/// What a task without a name is called.
fn default_name(task: &Task) -> String {
    let named = |key: &str| task.args.get(key).and_then(Json::as_str);
    match task.action.as_str() {
        "include_role" => match named("name").or_else(|| named("role")) {
            Some(role) => format!("{} : {role}", task.written),
            None => task.written.clone(),
        },
        _ => task.written.clone(),
    }
}
