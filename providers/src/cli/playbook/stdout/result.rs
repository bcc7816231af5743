//! The lines of one result.

use crate::playbook::HostResult;
use crate::{Json, TaskStatus};

use super::color::Color;
use super::{Look, diff, json};

/// A line, or several, of one colour.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) color: Option<Color>,
    /// It tells of a failure.
    pub(super) failure: bool,
}

/// `host`, or `host -> delegated(address)`.
pub(super) fn label(r: &HostResult) -> String {
    let Some(other) = r.delegated.as_ref().filter(|d| **d != r.host) else { return r.host.clone() };
    let vars = r.result.get("_ansible_delegated_vars");
    match vars.and_then(|v| v.get("ansible_host")).and_then(Json::as_str).filter(|a| a != other) {
        Some(address) => format!("{} -> {other}({address})", r.host),
        None => format!("{} -> {other}", r.host),
    }
}

/// The action without its collection.
fn action(r: &HostResult) -> &str {
    r.task.action.rsplit('.').next().unwrap_or_default()
}

/// A result without what is internal.
pub(crate) fn visible(r: &HostResult, look: &Look, whole_loop: bool) -> Json {
    let mut kept = r.result.clone();
    let debug = action(r) == "debug";
    let said = debug && kept.contains_key("msg") && !kept.contains_key("false_condition");
    kept.retain(|key, _| {
        let noise = ["invocation", "diff", "exception"].contains(&key.as_str()) && look.verbosity < 3;
        let elsewhere = ["failed", "skipped", "warnings", "deprecations"].contains(&key.as_str());
        // `debug` shows what it was told to show.
        let beside =
            said && key != "msg" || debug && ["changed", "skip_reason", "failed_when_result"].contains(&key.as_str());
        !(key.starts_with("_ansible_") || noise || elsewhere || beside || whole_loop && key == "results")
    });
    Json::Object(kept)
}

/// How messages begin of tasks whose arguments could not be rendered: such a task has not run.
const NOT_RENDERED: [&str; 3] = [
    "The task includes an option with",
    "template error while templating string",
    "Unexpected templating type error occurred",
];

/// Whether the result is what the task is for, and always shown: `debug` and `assert`.
fn is_shown(r: &HostResult) -> bool {
    let is = |key: &str| r.result.get(key) == Some(&Json::Bool(true));
    let ran = r.status != TaskStatus::Skipped
        && !r.result.contains_key("censored")
        && !r
            .result
            .get("msg")
            .and_then(Json::as_str)
            .is_some_and(|m| NOT_RENDERED.iter().any(|words| m.starts_with(words)));
    let quiet = r.task.args.get("quiet").is_some_and(|q| *q != Json::Bool(false));
    is("_ansible_verbose_always") || ran && (action(r) == "debug" || action(r) == "assert" && !quiet)
}

/// A result as it is shown.
pub(super) fn dump(r: &HostResult, look: &Look, whole_loop: bool) -> String {
    let value = visible(r, look, whole_loop);
    if is_shown(r) || look.verbosity > 2 { json::pretty(&value) } else { json::compact(&value) }
}

fn detailed(r: &HostResult, look: &Look) -> bool {
    // Facts are too many to be shown; that they are hidden is not.
    let facts = ["setup", "gather_facts"].contains(&action(r)) && !r.result.contains_key("censored")
        || r.result.get("_ansible_verbose_override") == Some(&Json::Bool(true));
    (look.verbosity > 0 || is_shown(r)) && !facts
}

/// What is printed for a result; nothing for the sum of a loop whose items were printed.
pub(super) fn lines(r: &HostResult, look: &Look, item: bool) -> Vec<Line> {
    let whole_loop = r.looped && !item;
    let unreachable = r.result.get("unreachable") == Some(&Json::Bool(true));
    let has_items = whole_loop && r.result.contains_key("results");
    let label = label(r);
    // What must not be seen has no label either.
    let hidden = r.result.contains_key("censored");
    let shown = r.item.as_ref().filter(|_| !hidden).unwrap_or(&Json::Null);
    let of_item = if item { format!(" (item={})", json::python(shown)) } else { String::new() };
    let mut out = Vec::new();
    let mut add = |text: String, color: Option<Color>, failure: bool| out.push(Line { text, color, failure });
    asynchronous(r, &mut add);
    match r.status {
        TaskStatus::Ok | TaskStatus::Changed => {
            difference(r, look, &mut add);
            let included = ["include_tasks", "include_role", "include"];
            if has_items || included.contains(&action(r)) {
                return out;
            }
            let (word, color) = if r.status == TaskStatus::Changed || r.result.get("changed") == Some(&Json::Bool(true))
            {
                ("changed", Color::Changed)
            } else {
                ("ok", Color::Ok)
            };
            let arrow = if item { format!(" =>{of_item}") } else { String::new() };
            let mut text = format!("{word}: [{label}]{arrow}");
            if detailed(r, look) {
                text.push_str(&format!(" => {}", dump(r, look, whole_loop)));
            }
            add(text, Some(color), false);
        }
        TaskStatus::Skipped => {
            let arrow = if item { format!(" =>{of_item} ") } else { String::new() };
            let mut text = format!("skipping: [{}]{arrow}", r.host);
            if detailed(r, look) {
                text.push_str(&format!(" => {}", dump(r, look, whole_loop)));
            }
            add(text, Some(Color::Skipped), false);
        }
        TaskStatus::Unreachable | TaskStatus::Ignored if unreachable && !item => {
            add(format!("fatal: [{label}]: UNREACHABLE! => {}", dump(r, look, false)), Some(Color::Unreachable), true);
            if r.status == TaskStatus::Ignored {
                add("...ignoring".into(), Some(Color::Skipped), false);
            }
        }
        TaskStatus::Failed | TaskStatus::Ignored | TaskStatus::Unreachable => {
            exception(r, look, &mut add);
            if item {
                add(format!("failed: [{label}]{of_item} => {}", dump(r, look, false)), Some(Color::Failed), true);
            } else if !has_items {
                add(format!("fatal: [{label}]: FAILED! => {}", dump(r, look, whole_loop)), Some(Color::Failed), true);
            }
            if r.status == TaskStatus::Ignored && !item {
                add("...ignoring".into(), Some(Color::Skipped), false);
            }
        }
    }
    out
}

fn difference(r: &HostResult, look: &Look, add: &mut dyn FnMut(String, Option<Color>, bool)) {
    let wanted = r.result.get("_ansible_diff").and_then(Json::as_bool).unwrap_or(look.diff);
    let of_loop = r.looped && r.item.is_none() && r.result.contains_key("results");
    let changed = r.status == TaskStatus::Changed || r.result.get("changed") == Some(&Json::Bool(true));
    if let Some(found) = r.result.get("diff").filter(|_| wanted && !of_loop && changed) {
        let text = diff::text(found, look.color);
        if !text.is_empty() {
            // Lines have their colours already.
            add(text, None, false);
        }
    }
}

/// The end of a job in the background that was waited for.
fn asynchronous(r: &HostResult, add: &mut dyn FnMut(String, Option<Color>, bool)) {
    let is_status = action(r) == "async_status";
    let inner = r.result.get("async_result").and_then(Json::as_object);
    let of = |key: &str| r.result.get(key).or_else(|| inner.and_then(|i| i.get(key)));
    let Some(job) = of("ansible_job_id").filter(|_| !is_status) else { return };
    let finished = r.result.get("finished").and_then(Json::as_i64) == Some(1);
    let word = match r.status {
        TaskStatus::Failed | TaskStatus::Ignored => "FAILED",
        _ if finished => "OK",
        _ => return,
    };
    add(format!("ASYNC {word} on {}: jid={}", r.host, json::python(job)), Some(Color::Detail), false);
}

fn exception(r: &HostResult, look: &Look, add: &mut dyn FnMut(String, Option<Color>, bool)) {
    let Some(text) = r.result.get("exception").and_then(Json::as_str) else { return };
    let shown = if look.verbosity < 3 {
        let last = text.trim().lines().next_back().unwrap_or_default();
        format!(
            "An exception occurred during task execution. To see the full traceback, use -vvv. The error was: {last}"
        )
    } else {
        format!("The full traceback is:\n{text}")
    };
    add(shown, Some(Color::Failed), true);
}
