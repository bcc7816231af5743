//! What a result means: variables, facts, counts, handlers, and where its host goes on.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Json, TaskStatus};

use super::include::Inclusion;
use super::result::{facts, failed, flag, shown, unreachable};
use super::task::Outcome;
use super::walk::After;
use super::{Mode, Playing, Run, lock};
use crate::load::Task;
use crate::report::{PlaybookEvent, TaskInfo};

/// What a step of the play still has to do.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) includes: Vec<(String, Vec<Inclusion>)>,
    /// Hosts that failed or were lost.
    pub(super) failed: Vec<String>,
}

impl Run<'_> {
    /// Takes note of a task's result. With `others` the task ran once for all of them.
    pub(super) fn settle(
        &self,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        info: &Arc<TaskInfo>,
        mut outcome: Outcome,
        others: &[String],
        settled: &mut Settled,
    ) {
        let host = outcome.host.clone();
        let everybody: Vec<String> = if others.is_empty() { vec![host.clone()] } else { others.to_vec() };
        self.remember(task, &outcome, &everybody);
        self.tally(&host, &outcome);
        let fields = &outcome.all.fields;
        {
            let mut state = lock(&playing.state);
            if let Some(walk) = state.walks.get_mut(&host) {
                if let (Some(role), false) = (&task.inherit.role, outcome.all.skipped) {
                    walk.ran.insert(role.key.clone());
                }
                walk.notified.extend(outcome.notify.iter().copied());
            }
            for id in &outcome.notify {
                if let Some(handler) = state.handlers.get(*id) {
                    let handler = handler.name.clone().unwrap_or_else(|| handler.written.clone());
                    self.out.say(&PlaybookEvent::Notified { handler, host: host.clone() });
                }
            }
        }
        match outcome.status {
            TaskStatus::Unreachable if !outcome.ignore_unreachable => {
                settled.failed.push(host.clone());
                if let Some(e) = outcome.all.unreachable.take() {
                    self.lose(playing, &host, e);
                }
            }
            TaskStatus::Failed => {
                settled.failed.push(host.clone());
                let mut error = failed(task, &info.name, &host, fields, outcome.hidden);
                // Whoever made the host may have said what its users should know when something fails there.
                if let Some(note) = self.world.host(&host).vars.get("towpath_note").and_then(Json::as_str) {
                    error = error.with("note", note);
                }
                if self.mode == Mode::Plan {
                    // A plan reports no failure as an error: it says what would go wrong.
                    lock(&self.plan).warnings.push(format!("{host}: {} would fail: {}", info.name, error.report()));
                    lock(&playing.state).end(&host);
                    return;
                }
                let result = Json::Object(shown(fields, outcome.hidden));
                self.fail(playing, task, info, &host, result, error);
            }
            _ if !outcome.includes.is_empty() => settled.includes.push((host, outcome.includes)),
            _ => {}
        }
    }

    /// Registered results and facts.
    fn remember(&self, task: &Task, outcome: &Outcome, everybody: &[String]) {
        // What failed teaches nothing, nor does a loop of which one item failed.
        let learns = !flag(&outcome.all.fields, "failed");
        for one in outcome.ones.iter().filter(|_| learns) {
            if !one.fields.contains_key("ansible_facts") {
                continue;
            }
            match one.delegated.as_ref().filter(|_| outcome.delegate_facts) {
                Some(other) => self.world.learn(other, |known| facts(task, &one.fields, known)),
                None => {
                    for name in everybody {
                        self.world.learn(name, |known| facts(task, &one.fields, known));
                    }
                }
            }
        }
        let all = &outcome.all;
        if let (Some(why), "set_fact") = (&all.unknown, task.action.as_str()) {
            for name in everybody {
                self.world.learn(name, |known| {
                    for k in task.args.keys() {
                        known.doubt(k, format!("`{k}` is set from something that only the run can tell"));
                    }
                });
            }
            let _ = why;
        }
        let Some(register) = &task.register else { return };
        for name in everybody {
            self.world.learn(name, |known| match &all.unknown {
                Some(why) => known.doubt(register, why.clone()),
                None => known.set(register, Json::Object(all.fields.clone())),
            });
        }
    }

    fn tally(&self, host: &str, outcome: &Outcome) {
        let changed = flag(&outcome.all.fields, "changed");
        self.count(host, |sum| match outcome.status {
            // What is included counts when it was read.
            TaskStatus::Ok if !outcome.includes.is_empty() => {}
            TaskStatus::Ok => sum.ok += 1,
            TaskStatus::Changed => {
                sum.ok += 1;
                sum.changed += 1;
            }
            TaskStatus::Skipped => sum.skipped += 1,
            TaskStatus::Ignored => {
                sum.ok += 1;
                sum.ignored += 1;
                sum.changed += usize::from(changed);
            }
            TaskStatus::Failed if self.mode == Mode::Apply => sum.failed += 1,
            TaskStatus::Unreachable if outcome.ignore_unreachable => {
                sum.ok += 1;
                sum.ignored += 1;
            }
            TaskStatus::Unreachable => sum.unreachable = 1,
            _ => {}
        });
    }

    /// A task failed on a host: it goes into rescue, or on to what always runs, or no further.
    pub(super) fn fail(
        &self,
        playing: &Playing<'_>,
        task: &Task,
        info: &TaskInfo,
        host: &str,
        result: Json,
        error: towpath_core::Error,
    ) {
        let after = {
            let mut state = lock(&playing.state);
            state.walks.get_mut(host).map(super::walk::Walk::fail)
        };
        match after {
            Some(After::Rescue) => {
                self.world.learn(host, |known| {
                    known.set("ansible_failed_result", result);
                    known.set("ansible_failed_task", failed_task(task, info));
                });
                if !task.inherit.handler {
                    self.count(host, |sum| {
                        sum.failed -= sum.failed.min(1);
                        sum.rescued += 1;
                    });
                }
            }
            _ => {
                self.world.learn(host, |known| {
                    known.set("ansible_failed_result", result);
                    known.set("ansible_failed_task", failed_task(task, info));
                });
                lock(&self.failures).push((host.to_owned(), error));
            }
        }
    }

    /// The host can't be reached any more. Nothing later happens on it.
    pub(super) fn lose(&self, playing: &Playing<'_>, host: &str, error: towpath_core::Error) {
        lock(&self.failures).push((host.to_owned(), unreachable(error, host)));
        lock(&playing.state).lose(host);
        self.refresh_magic(playing);
    }
}

fn failed_task(task: &Task, info: &TaskInfo) -> Json {
    let name = task.name.clone().map(|name| match &task.inherit.role {
        // Without the role's name in front, as it is written.
        Some(used) => info.name.strip_prefix(&format!("{} : ", used.role.name)).unwrap_or(&info.name).to_owned(),
        None if name.contains("{{") => info.name.clone(),
        None => name,
    });
    json!({
        "name": name.unwrap_or_default(),
        "action": task.written,
        "args": task.args,
        "tags": task.inherit.tags,
        "register": task.register,
    })
}
