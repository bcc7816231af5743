//! What a plan says instead of acting.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use towpath_core::{Action, Certainty, Change, Json};

use super::result::{One, flag};
use super::{Run, lock};
use crate::load::Task;
use crate::modules::{self, Fields, Pending};
use crate::render::Scope;

/// In a plan: what earlier tasks would do to a host.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Why nothing later is certain.
    dirty: Option<String>,
    /// Paths that earlier tasks would change.
    touched: Vec<String>,
    /// Other subjects that earlier tasks would change.
    changed: BTreeSet<String>,
}

impl Run<'_> {
    fn doubt<T>(&self, host: &str, look: impl FnOnce(&mut Doubt) -> T) -> T {
        look(lock(&self.doubts).entry(host.to_owned()).or_default())
    }

    fn note(&self, change: Change) {
        lock(&self.plan).changes.push(change);
    }

    /// Notes a task whose result only the run can tell.
    pub(super) fn unknowable(&self, task: &Task, host: &str, title: &str, why: String) -> One {
        self.note(Change::cannot_know(host, format!("task {title}"), Action::Run, why.clone()));
        self.doubt(host, |d| {
            d.dirty.get_or_insert_with(|| format!("`{title}` before it can't be known"));
        });
        let mut fields = modules::fields([("changed", json!(true))]);
        if matches!(task.action.as_str(), "set_fact" | "debug" | "assert") {
            fields.insert("changed".into(), false.into());
        }
        One { fields, unknown: Some(why), ..One::default() }
    }

    /// Notes that a condition is false.
    pub(super) fn note_skipped(&self, host: &str, title: &str) {
        let mut change = Change::will_not(host, format!("task {title}"));
        change.reason = Some("its condition is false".into());
        self.note(change);
    }

    /// Notes a task that changes nothing, as far as earlier tasks leave that certain.
    pub(super) fn settle_plan(&self, host: &str, title: &str, here: bool, args: &Fields, mut fields: Fields) -> One {
        let path = ["path", "dest"]
            .iter()
            .find_map(|k| fields.get(*k))
            .and_then(Json::as_str)
            .or_else(|| args.get("path").and_then(Json::as_str));
        let failed = flag(&fields, "failed");
        let why = self.doubt(host, |d| {
            let overlap = path.and_then(|p| {
                d.touched
                    .iter()
                    .find(|t| *t == p || p.starts_with(&format!("{t}/")) || t.starts_with(&format!("{p}/")))
                    .cloned()
            });
            d.dirty
                .clone()
                .or_else(|| overlap.map(|p| format!("an earlier task changes {p}")))
                .or_else(|| (failed && !d.touched.is_empty()).then(|| "earlier tasks change what it needs".to_owned()))
        });
        match why.filter(|_| !here) {
            Some(why) => {
                self.note(Change::cannot_know(host, format!("task {title}"), Action::Update, why.clone()));
                fields.remove("failed");
                One { fields, unknown: Some(why), ..One::default() }
            }
            None => {
                if !failed {
                    self.note(Change::will_not(host, format!("task {title}")));
                }
                One::of(fields)
            }
        }
    }

    /// Notes a change that a run would make.
    pub(super) fn foresee(&self, task: &Task, host: &str, scope: &Arc<Scope>, title: &str, pending: Pending) -> One {
        // Whether `no_log` holds may itself be unknown, so in a plan its presence is enough.
        let hidden = task.inherit.no_log.is_some();
        let subject = if hidden { format!("task {title}") } else { format!("task {title}: {}", pending.subject) };
        let quiet = task.changed_when.as_ref().is_some_and(|c| c.iter().any(|c| matches!(scope.test(c), Ok(false))));
        let mut fields = pending.expected;
        if !pending.certain {
            let why = "only running it can tell what it changes".to_owned();
            let mut change = Change::cannot_know(host, &subject, pending.action, &why);
            if quiet {
                // The author says that it changes nothing.
                change.certainty = Certainty::WillNot;
                change.action = Action::None;
                change.reason = Some("`changed_when` is false".into());
                fields.insert("changed".into(), false.into());
            } else {
                self.doubt(host, |d| {
                    d.dirty.get_or_insert_with(|| format!("`{title}` runs before it, and may change anything"));
                });
            }
            self.note(change);
            return One { fields, unknown: Some(why), ..One::default() };
        }
        let mut change = Change::will(host, &subject, pending.action);
        if !hidden {
            change = change.from_to(pending.before, pending.after);
        }
        let why = self.doubt(host, |d| {
            let again = pending.path.as_ref().is_some_and(|p| d.touched.contains(p));
            let why = d.dirty.clone().or_else(|| again.then(|| "an earlier task changes the same file".to_owned()));
            match &pending.path {
                Some(path) => d.touched.push(path.clone()),
                None => {
                    d.changed.insert(pending.subject.clone());
                }
            }
            why
        });
        if let Some(why) = &why {
            change.certainty = Certainty::CannotKnow;
            change.reason = Some(why.clone());
        }
        if quiet {
            fields.insert("changed".into(), false.into());
        }
        self.note(change);
        One { fields, unknown: why, ..One::default() }
    }
}
