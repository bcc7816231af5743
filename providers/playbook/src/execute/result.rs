//! Results: their parts, what they are called, and the error that a failed one becomes.

use serde_json::json;
use towpath_core::{Error, ErrorKind, Json, TaskStatus};

use super::world::Known;
use crate::PLAYBOOK;
use crate::load::Task;
use crate::modules::{self, Fields};
use crate::render::RenderError;

/// What Ansible shows in place of a result under `no_log`.
const CENSORED: &str = "the output has been hidden due to the fact that 'no_log: true' was specified for this result";

/// How one item, or a task without loop, went.
#[derive(Debug, Default)]
pub(super) struct One {
    pub(super) fields: Fields,
    pub(super) skipped: bool,
    /// The host was not reached.
    pub(super) unreachable: Option<Error>,
    /// The host that it was delegated to.
    pub(super) delegated: Option<String>,
    /// In a plan: why the result can't be known.
    pub(super) unknown: Option<String>,
}

impl One {
    pub(super) fn of(fields: Fields) -> Self {
        Self { fields, ..Self::default() }
    }

    pub(super) fn failing(message: impl Into<String>) -> Self {
        Self::of(failure(message))
    }

    /// A template in a task's arguments can't be rendered.
    pub(super) fn undefined(e: RenderError) -> Self {
        let message = if e.undefined {
            format!("The task includes an option with an undefined variable.. {}", e.message)
        } else {
            e.message
        };
        Self::of(modules::fields([("failed", json!(true)), ("msg", json!(message))]))
    }

    pub(super) fn skip(fields: Fields) -> Self {
        Self { fields, skipped: true, ..Self::default() }
    }

    pub(super) fn status(&self, ignored: bool) -> TaskStatus {
        if self.unreachable.is_some() {
            TaskStatus::Unreachable
        } else if self.skipped {
            TaskStatus::Skipped
        } else if flag(&self.fields, "failed") {
            if ignored { TaskStatus::Ignored } else { TaskStatus::Failed }
        } else if flag(&self.fields, "changed") {
            TaskStatus::Changed
        } else {
            TaskStatus::Ok
        }
    }
}

pub(super) fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(crate::render::truthy).unwrap_or(false)
}

pub(super) fn failure(message: impl Into<String>) -> Fields {
    modules::fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(message.into()))])
}

/// The result as others may see it.
pub(super) fn shown(fields: &Fields, hidden: bool) -> Fields {
    if !hidden {
        return fields.clone();
    }
    let mut out = modules::fields([("censored", json!(CENSORED))]);
    for key in ["changed", "failed", "skipped", "unreachable", "attempts", "retries"] {
        out.extend(fields.get(key).map(|v| (key.to_owned(), v.clone())));
    }
    out
}

/// What a result teaches about the host that it concerns.
pub(super) fn facts(task: &Task, fields: &Fields, known: &mut Known) {
    let Some(facts) = fields.get("ansible_facts").and_then(Json::as_object) else { return };
    match task.action.as_str() {
        "set_fact" => {
            for (k, v) in facts {
                known.set(k, v.clone());
            }
            if task.args.get("cacheable").and_then(crate::render::truthy).unwrap_or(false) {
                known.add_facts(facts);
            }
        }
        "include_vars" => {
            let included = std::sync::Arc::make_mut(&mut known.included);
            included.extend(facts.clone());
        }
        _ => known.add_facts(facts),
    }
}

/// The error of a task that failed on a host.
pub(super) fn failed(task: &Task, title: &str, host: &str, result: &Fields, hidden: bool) -> Error {
    let mut error = Error::new(ErrorKind::ToolFailed, PLAYBOOK, "apply", "a task failed")
        .with("host", host)
        .with("task", title)
        .with("file", &task.pos);
    if hidden {
        return error.caused_by("the result is hidden by `no_log`");
    }
    let mut cause = String::new();
    let mut add = |r: &Fields| {
        for key in ["msg", "reason", "rc", "stderr", "stdout", "assertion"] {
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

/// The error of a host that can't be reached.
pub(super) fn unreachable(e: Error, host: &str) -> Error {
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

/// The results of a loop's items as one.
pub(super) fn combine(ones: &mut [One], looped: bool) -> One {
    if !looped {
        return ones.first_mut().map(std::mem::take).unwrap_or_default();
    }
    if ones.is_empty() {
        return One::skip(modules::fields([
            ("changed", json!(false)),
            ("skipped", json!(true)),
            ("skipped_reason", json!("No items in the list")),
            ("results", json!([])),
        ]));
    }
    let skipped = ones.iter().all(|o| o.skipped);
    let unreachable = ones.iter_mut().find_map(|o| o.unreachable.take());
    let any = |name: &str| ones.iter().any(|o| flag(&o.fields, name));
    let failed = any("failed");
    let msg = match (failed, skipped) {
        (true, _) => "One or more items failed",
        (_, true) => "All items skipped",
        _ => "All items completed",
    };
    let results: Vec<Json> = ones.iter().map(|o| Json::Object(o.fields.clone())).collect();
    let mut fields =
        modules::fields([("changed", json!(any("changed"))), ("msg", json!(msg)), ("results", Json::Array(results))]);
    if failed {
        fields.insert("failed".into(), true.into());
    }
    fields.insert("skipped".into(), skipped.into());
    if unreachable.is_some() {
        fields.insert("unreachable".into(), true.into());
    }
    let unknown = ones.iter().find_map(|o| o.unknown.clone());
    One { fields, skipped, unreachable, delegated: ones.first().and_then(|o| o.delegated.clone()), unknown }
}
