//! What a run prints: byte for byte what `ansible-playbook` prints with its default callback.

mod color;
pub(crate) mod diff;
pub(crate) mod json;
mod recap;
pub(crate) mod result;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::playbook::{HostResult, PlaybookEvent, Report, TaskInfo};
use crate::{Error, ErrorKind, Json, TaskStatus};

pub(crate) use color::{Color, banner, wrap};

/// How it looks.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Number of `-v`.
    pub(crate) verbosity: u8,
    /// Colours.
    pub(crate) color: bool,
    /// Differences of files are shown.
    pub(crate) diff: bool,
    /// The whole run is in check mode.
    pub(crate) check: bool,
    /// Banners say that check mode is on.
    pub(crate) check_markers: bool,
    /// Results that changed nothing are shown.
    pub(crate) ok_hosts: bool,
    /// Skipped hosts are shown.
    pub(crate) skipped_hosts: bool,
    /// Failures go to stderr.
    pub(crate) failed_stderr: bool,
    /// A failure names the task's place.
    pub(crate) path_on_failure: bool,
    /// `set_stats` is shown at the end.
    pub(crate) custom_stats: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            verbosity: 0,
            color: false,
            diff: false,
            check: false,
            check_markers: false,
            ok_hosts: true,
            skipped_hosts: true,
            failed_stderr: false,
            path_on_failure: false,
            custom_stats: false,
        }
    }
}

/// Prints what happens.
pub(crate) struct Printer {
    look: Look,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// The task whose banner stands last.
    shown: Option<Arc<TaskInfo>>,
    /// A banner that waits for something to show below it.
    waiting: Option<(Arc<TaskInfo>, bool)>,
    warned: BTreeSet<String>,
    started: bool,
    /// Number of plays of each playbook.
    plays: BTreeMap<PathBuf, usize>,
}

impl Printer {
    /// Prints to these two.
    pub(crate) fn new(look: Look, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        let state = State {
            out,
            err,
            shown: None,
            waiting: None,
            warned: BTreeSet::new(),
            started: false,
            plays: BTreeMap::new(),
        };
        Self { look, state: Mutex::new(state) }
    }

    /// A line on stdout.
    pub(crate) fn say(&self, text: &str) {
        self.with(|s| s.line(text));
    }

    /// A line on stdout, coloured.
    pub(crate) fn say_in(&self, text: &str, color: Color) {
        self.with(|s| s.line(&color.paint(text, self.look.color)));
    }

    /// A warning, once.
    pub(crate) fn warn(&self, text: &str) {
        self.with(|s| s.warning(text, self.look.color));
    }

    /// Says how many plays each playbook has.
    /// Says on standard error where a run failed first: the task's file and line, which Ansible's output has not.
    pub(crate) fn place(&self, error: &Error) {
        let (Some(host), Some(task), Some(file)) = (error.get("host"), error.get("task"), error.get("file")) else {
            return;
        };
        let more = error.get("also_failed").map(|hosts| format!("; after it also {hosts}")).unwrap_or_default();
        self.with(|s| {
            let what = if error.kind() == ErrorKind::Unreachable { "was lost" } else { "failed" };
            let _ = writeln!(s.err, "{host} {what} in the task `{task}` at {file}{more}");
        });
    }

    pub(crate) fn set_plays(&self, plays: BTreeMap<PathBuf, usize>) {
        self.with(|s| s.plays = plays);
    }

    fn with(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut state);
        let _ = state.out.flush();
    }

    fn dry(&self, check: bool) -> &'static str {
        if self.look.check_markers && check { " [CHECK MODE]" } else { "" }
    }
}

impl State {
    // A reader that has gone away, as `| head`, is no failure.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn warning(&mut self, text: &str, color: bool) {
        if self.warned.insert(text.to_owned()) {
            let _ = self.out.flush();
            let text = wrap(&format!("[WARNING]: {text}"), 79).join("\n");
            let _ = writeln!(self.err, "{}", Color::Warning.paint(&text, color));
            let _ = self.err.flush();
        }
    }

    /// The banner of a task, if it does not stand there already.
    fn banner(&mut self, look: &Look, task: &Arc<TaskInfo>, dry: &str) {
        let kind = if task.handler { "RUNNING HANDLER" } else { "TASK" };
        let name = task.name.trim();
        self.line(&banner(&format!("{kind} [{name}]{dry}")));
        if look.verbosity >= 2 {
            self.place(task);
        }
        self.shown = Some(task.clone());
    }

    fn place(&mut self, task: &TaskInfo) {
        let path = format!("task path: {}:{}", task.file.display(), task.line);
        self.line(&path);
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("look", &self.look).finish_non_exhaustive()
    }
}

impl Report for Printer {
    fn on(&self, event: &PlaybookEvent) {
        let look = &self.look;
        match event {
            PlaybookEvent::PlaybookStarted { path } => self.with(|s| {
                if look.verbosity >= 2 {
                    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                    s.line(&banner(&format!("PLAYBOOK: {name}")));
                    let plays = s.plays.get(path).copied().unwrap_or_default();
                    s.line(&format!("{plays} plays in {}", path.display()));
                }
                if !s.started && look.check && look.check_markers {
                    s.line(&banner("DRY RUN"));
                }
                s.started = true;
            }),
            PlaybookEvent::PlayStarted { name, .. } => self.with(|s| {
                let name = name.trim();
                let dry = self.dry(look.check);
                let title = if name.is_empty() { format!("PLAY{dry}") } else { format!("PLAY [{name}]{dry}") };
                s.line(&banner(&title));
                (s.shown, s.waiting) = (None, None);
            }),
            PlaybookEvent::NoHostsMatched => self.say_in("skipping: no hosts matched", Color::Skipped),
            PlaybookEvent::NoHostsRemaining => self.say(&banner("NO MORE HOSTS LEFT")),
            PlaybookEvent::TaskStarted { task, check } => self.with(|s| {
                // Where some results are not shown, a banner waits for the first that is.
                if look.ok_hosts && look.skipped_hosts {
                    s.banner(look, task, self.dry(*check));
                } else {
                    (s.shown, s.waiting) = (None, Some((task.clone(), *check)));
                }
            }),
            PlaybookEvent::ItemFinished(result) => self.result(result, true),
            PlaybookEvent::TaskFinished(result) => self.result(result, false),
            PlaybookEvent::Retrying { result, left } => {
                let name = result.task.name.trim();
                let mut text = format!("FAILED - RETRYING: [{}]: {name} ({left} retries left).", result::label(result));
                if look.verbosity >= 2 {
                    text.push_str("Result was: ");
                    text.push_str(&result::dump(result, look, false));
                }
                self.say_in(&text, Color::Detail);
            }
            PlaybookEvent::Polling { result } => {
                let get = |key: &str| result.result.get(key).map(json::python).unwrap_or_default();
                let (job, started, finished) = (get("ansible_job_id"), get("started"), get("finished"));
                let text = format!("ASYNC POLL on {}: jid={job} started={started} finished={finished}", result.host);
                self.say_in(&text, Color::Detail);
            }
            PlaybookEvent::Included { file, hosts, label } => {
                let mut text = format!("included: {} for {}", file.display(), hosts.join(", "));
                if let Some(label) = label {
                    text.push_str(&format!(" => (item={})", json::python(label)));
                }
                self.with(|s| {
                    if let Some((task, check)) = s.waiting.take() {
                        s.banner(look, &task, self.dry(check));
                    }
                    s.line(&Color::Skipped.paint(&text, look.color));
                });
            }
            PlaybookEvent::Notified { handler, host } if look.verbosity >= 2 => {
                self.say(&format!("NOTIFIED HANDLER {handler} for {host}"));
            }
            PlaybookEvent::Warning(text) => self.warn(text),
            PlaybookEvent::Finished { hosts, custom } => self.with(|s| {
                s.line(&banner("PLAY RECAP"));
                s.line(&recap::lines(hosts, look.color));
                if look.custom_stats && !custom.is_empty() {
                    s.line(recap::custom(custom).trim_end_matches('\n'));
                    s.line("");
                }
                if look.check && look.check_markers {
                    s.line(&banner("DRY RUN"));
                }
            }),
            _ => {}
        }
    }
}

impl Printer {
    fn result(&self, r: &HostResult, item: bool) {
        let look = &self.look;
        self.with(|s| {
            for warning in r.result.get("warnings").and_then(Json::as_array).into_iter().flatten() {
                s.warning(&json::python(warning), look.color);
            }
            let shown = match r.status {
                TaskStatus::Skipped => look.skipped_hosts,
                TaskStatus::Ok => look.ok_hosts,
                _ => true,
            };
            let lines = result::lines(r, look, item);
            if !shown || lines.is_empty() {
                return;
            }
            let waiting = s.waiting.take_if(|(task, _)| *task == r.task);
            if s.shown.as_ref() != Some(&r.task) {
                let check = waiting.map_or(look.check, |(_, check)| check);
                s.banner(look, &r.task, self.dry(check));
            }
            let failed = matches!(r.status, TaskStatus::Failed | TaskStatus::Ignored);
            if failed && look.path_on_failure && look.verbosity < 2 {
                s.place(&r.task);
            }
            for line in lines {
                let text = line.color.map_or_else(|| line.text.clone(), |c| c.paint(&line.text, look.color));
                if look.failed_stderr && line.failure {
                    let _ = s.out.flush();
                    let _ = writeln!(s.err, "{text}");
                } else {
                    s.line(&text);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
