//! One item of a task: whether it runs, how often it is tried, and what its result means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use towpath_core::{Error, ErrorKind, Json, Result, TaskStatus, Vars};

use super::include::Inclusion;
use super::result::{One, failure, flag, unreachable};
use super::task::{On, keyword};
use super::vars::View;
use super::world::Known;
use super::{Mode, Run};
use crate::PLAYBOOK;
use crate::modules::{self, Fields};
use crate::render::{RenderError, Scope};
use crate::report::PlaybookEvent;

/// What ends an item before it has a result.
pub(super) enum Stop {
    /// The host is lost.
    Unreachable(Error),
    /// The whole run must end.
    Fatal(Error),
}

pub(super) fn stop(e: Error) -> Stop {
    match e.kind() {
        ErrorKind::Unreachable | ErrorKind::Denied | ErrorKind::Protocol => Stop::Unreachable(e),
        _ => Stop::Fatal(e),
    }
}

fn number(scope: &Arc<Scope>, value: &Option<Json>, default: f64) -> f64 {
    let value = value.as_ref().and_then(|v| scope.render(v).ok());
    value.and_then(|v| v.as_f64().or_else(|| v.as_str()?.trim().parse().ok())).unwrap_or(default)
}

impl Run<'_> {
    /// One item, tried again as `until` says.
    pub(super) async fn item(
        &self,
        on: &On<'_>,
        known: &Known,
        locals: Arc<Vars>,
        includes: &mut Vec<Inclusion>,
    ) -> Result<One> {
        let task = on.task;
        let tries = task.until.is_some() || task.retries.is_some();
        let mut attempt: u64 = 0;
        loop {
            attempt += 1;
            let since = Instant::now();
            let (mut one, scope) = self.attempt(on, known, &locals, includes).await?;
            if !tries || one.skipped || one.unreachable.is_some() || self.mode == Mode::Plan {
                return Ok(one);
            }
            let most = number(&scope, &task.retries, 3.0).max(0.0) as u64;
            one.fields.insert("attempts".into(), json!(attempt));
            let done = match &task.until {
                None => Ok(!flag(&one.fields, "failed")),
                Some(until) => self.verdict(on, known, &locals, &one, until),
            };
            match done {
                Ok(true) => return Ok(one),
                Ok(false) if attempt <= most => {}
                Ok(false) => {
                    one.fields.insert("attempts".into(), json!(most.max(1)));
                    one.fields.insert("failed".into(), true.into());
                    return Ok(one);
                }
                Err(e) => return Ok(One { delegated: one.delegated, ..One::undefined(e) }),
            }
            one.fields.insert("retries".into(), json!(most + 1));
            let hidden = keyword(&scope, &task.inherit.no_log, true);
            let result = on.result(&one, TaskStatus::Failed, hidden, since);
            on.lane.say(PlaybookEvent::Retrying { result, left: most + 1 - attempt });
            let delay = Duration::try_from_secs_f64(number(&scope, &task.delay, 5.0)).unwrap_or_default();
            self.cx.sleep(PLAYBOOK, "apply", delay).await?;
            // Time has passed: what was asked before may be otherwise now.
            self.connections.forget_all();
        }
    }

    /// Conditions over a result, which is known under the name that the task registers.
    fn verdict(
        &self,
        on: &On<'_>,
        known: &Known,
        locals: &Arc<Vars>,
        one: &One,
        conditions: &[Json],
    ) -> std::result::Result<bool, RenderError> {
        let mut known = known.clone();
        if let Some(register) = &on.task.register {
            known.set(register, Json::Object(one.fields.clone()));
        }
        super::result::facts(on.task, &one.fields, &mut known);
        let delegated = one.delegated.as_deref();
        let view = View { host: on.host, known: &known, task: Some(on.task), locals: locals.clone(), delegated };
        let scope = self.scope(on.playing, &view);
        let mut all = true;
        for c in conditions {
            all &= scope.test(c)?;
        }
        Ok(all)
    }

    /// The host that a task is delegated to.
    pub(super) fn delegation(
        &self,
        on: &On<'_>,
        scope: &Arc<Scope>,
    ) -> std::result::Result<Option<String>, RenderError> {
        let Some(to) = &on.task.inherit.delegate_to else { return Ok(None) };
        let to = scope.render(to)?;
        let name = crate::render::text(&crate::render::Value::from(&to));
        Ok(Some(name).filter(|n| !n.is_empty() && !to.is_null() && n != crate::render::OMIT))
    }

    /// One try.
    async fn attempt(
        &self,
        on: &On<'_>,
        known: &Known,
        locals: &Arc<Vars>,
        includes: &mut Vec<Inclusion>,
    ) -> Result<(One, Arc<Scope>)> {
        let task = on.task;
        let view = View { host: on.host, known, task: Some(task), locals: locals.clone(), delegated: None };
        let mut scope = self.scope(on.playing, &view);
        let mut delegated = None;
        if task.inherit.delegate_to.is_some() {
            match self.delegation(on, &scope) {
                Ok(to) => delegated = to,
                Err(e) => {
                    // What is skipped may be undefined.
                    let one = match self.condition(on, &scope) {
                        Ok(Some(skipped)) => skipped,
                        _ => One::undefined(e),
                    };
                    return Ok((one, scope));
                }
            }
            if let Some(to) = &delegated {
                scope = self.scope(on.playing, &View { delegated: Some(to), ..view });
            }
        }
        let to = delegated.as_deref();
        let mut one = match self.condition(on, &scope) {
            Err(one) => *one,
            Ok(Some(skipped)) => skipped,
            Ok(None) if task.includes() => self.inclusion(on, &scope, locals, includes),
            Ok(None) if task.meta().is_some() => One::of(modules::fields([("changed", json!(false))])),
            Ok(None) => match self.carry_out(&On { known: Some(known), ..*on }, &scope, to).await {
                Ok(one) => self.judge(on, known, locals, &scope, one)?,
                Err(Stop::Fatal(e)) => return Err(e),
                Err(Stop::Unreachable(e)) if self.mode == Mode::Plan => return Err(e.with_missing("host", on.host)),
                Err(Stop::Unreachable(e)) => {
                    let e = unreachable(e, on.host).with_missing("task", &on.info.name);
                    let mut one = One::of(modules::fields([
                        ("changed", json!(false)),
                        ("msg", json!(e.report())),
                        ("unreachable", json!(true)),
                    ]));
                    one.unreachable = Some(e.with_missing("file", &task.pos));
                    one
                }
            },
        };
        one.delegated = delegated.filter(|_| !one.skipped);
        Ok((one, scope))
    }

    /// `when`: nothing if it holds, the skipped result if not; a result that failed, if it can't be told.
    fn condition(&self, on: &On<'_>, scope: &Arc<Scope>) -> std::result::Result<Option<One>, Box<One>> {
        let title = &on.info.name;
        for (condition, _) in &on.task.inherit.when {
            let verdict = scope.test(condition);
            if let Some(why) = scope.touched() {
                return Err(Box::new(self.unknowable(on.task, on.host, title, why)));
            }
            match verdict {
                Ok(true) => {}
                Ok(false) => {
                    if self.mode == Mode::Plan {
                        self.note_skipped(on.host, title);
                    }
                    if let Some(what) = on.task.meta() {
                        let role = on.task.inherit.role.as_ref().map(|r| r.role.name.as_str());
                        return Ok(Some(One::skip(super::meta::skipped(what, on.host, role))));
                    }
                    return Ok(Some(One::skip(modules::fields([
                        ("changed", json!(false)),
                        ("skipped", json!(true)),
                        ("skip_reason", json!("Conditional result was False")),
                        ("false_condition", condition.clone()),
                    ]))));
                }
                Err(e) => {
                    let shown = crate::render::text(&crate::render::Value::from(condition));
                    let message = format!("The conditional check '{shown}' failed. The error was: {}", e.message);
                    let fields = modules::fields([("failed", json!(true)), ("msg", json!(message))]);
                    return Err(Box::new(One::of(fields)));
                }
            }
        }
        Ok(None)
    }

    /// `changed_when` and `failed_when`.
    fn judge(&self, on: &On<'_>, known: &Known, locals: &Arc<Vars>, scope: &Arc<Scope>, mut one: One) -> Result<One> {
        let _ = scope;
        let early = one.fields.remove(modules::EARLY).is_some();
        // A task that failed before its work began is what it is, whatever `failed_when` says.
        if self.mode == Mode::Plan || one.skipped || early {
            return Ok(one);
        }
        one.fields.entry("changed").or_insert(false.into());
        one.fields.entry("failed").or_insert(false.into());
        let failing = |e: RenderError| One::of(failure(e.message));
        if let Some(c) = &on.task.changed_when {
            match self.verdict(on, known, locals, &one, c) {
                Ok(changed) => one.fields.insert("changed".into(), json!(changed)),
                Err(e) => return Ok(failing(e)),
            };
        }
        if let Some(c) = &on.task.failed_when {
            match self.verdict(on, known, locals, &one, c) {
                Ok(failed) => {
                    one.fields.insert("failed_when_result".into(), json!(failed));
                    one.fields.insert("failed".into(), json!(failed))
                }
                Err(e) => return Ok(failing(e)),
            };
        }
        Ok(one)
    }
}

/// Whether a result says that nothing was done in check mode.
pub(super) fn says_skipped(fields: &Fields) -> bool {
    flag(fields, "skipped")
}
