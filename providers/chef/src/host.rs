//! One run of Chef on one host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{
    Action, Become, Change, Connection, Connector, Context, Error, ErrorKind, EventKind, ExitStatus, Host, HostSummary,
    Json, Result, Secret, Tail, TaskStatus, follow_lines, shell_quote,
};

use crate::load::Part;
use crate::report::{self, Report, Resource};
use crate::settings::{self, BAG_SECRET, HANDLER, NODE, VALIDATION_KEY};
use crate::stage::Staging;
use crate::{CHEF, ChefConfig};

/// Most resources that a journal keeps of a run.
const LISTED: usize = 200;

/// A host with all that Chef needs there.
pub(crate) struct Job<'a> {
    pub(crate) config: &'a ChefConfig,
    pub(crate) parts: &'a [Part],
    pub(crate) host: Host,
    pub(crate) to: Option<Become>,
    pub(crate) node_name: Option<String>,
    pub(crate) node_json: Secret,
    pub(crate) bag_secret: Option<Secret>,
    pub(crate) validation_key: Option<Secret>,
    /// What its effect is known by.
    pub(crate) key: String,
}

/// What a run did, as journals keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Converged {
    /// Resources in all; none if Chef left no report.
    total: Option<usize>,
    changed: usize,
    /// The first of them.
    updated: Vec<Updated>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Updated {
    title: String,
    action: Vec<String>,
    file: Option<String>,
}

/// How Chef ended.
struct Ended {
    status: ExitStatus,
    report: Option<Report>,
    tail: Tail,
    staging: String,
}

impl Job<'_> {
    /// Runs Chef, and counts what it did.
    pub(crate) async fn apply(&self, cx: &Context, connector: &dyn Connector) -> (String, HostSummary, Option<Error>) {
        let cx = cx.for_host(&self.host.name);
        let started = Instant::now();
        let mut sums = HostSummary::default();
        let intent = json!({ "run": self.config.program(), "run_list": self.config.run_list });
        let unreached = AtomicBool::new(false);
        let lost = &unreached;
        // Chef looks before it changes anything, so that it can be run again.
        let done: Result<Converged> = cx
            .effect_idempotent(&self.key, intent, |cx| async move {
                let connection =
                    self.connect(&cx, connector).await.inspect_err(|_| lost.store(true, Ordering::Relaxed))?;
                let ended = self.run(&cx, &*connection, false).await;
                connection.close().await;
                self.judge(&cx, ended?)
            })
            .await;
        let seconds = started.elapsed().as_secs_f64();
        let failure = match done {
            Ok(done) => {
                for updated in &done.updated {
                    self.tell(
                        &cx,
                        &updated.title,
                        updated.file.clone(),
                        TaskStatus::Changed,
                        json!({ "action": updated.action }),
                        0.0,
                    );
                }
                let status = if done.changed > 0 { TaskStatus::Changed } else { TaskStatus::Ok };
                let result = json!({ "resources": done.total, "updated": done.changed });
                self.tell(&cx, self.config.program(), None, status, result, seconds);
                sums.ok = done.total.unwrap_or(1).max(done.changed);
                sums.changed = done.changed;
                None
            }
            Err(e) => {
                let e = e.with_missing("host", &self.host.name).with_missing("task", self.config.program());
                let status = TaskStatus::of_failure(&e, unreached.load(Ordering::Relaxed));
                if let Some(status) = status {
                    sums.count(status);
                    let (task, file) = (e.get("task").unwrap_or_default().to_owned(), e.get("file").map(str::to_owned));
                    self.tell(&cx, &task, file, status, json!({ "msg": e.report() }), seconds);
                }
                Some(e)
            }
        };
        (self.host.name.clone(), sums, failure)
    }

    /// Asks Chef what it would do.
    pub(crate) async fn why_run(&self, cx: &Context, connector: &dyn Connector) -> Result<Vec<Change>> {
        let cx = cx.for_host(&self.host.name);
        let named = |e: Error| e.with_missing("host", &self.host.name).with_missing("task", self.config.program());
        let connection = self.connect(&cx, connector).await.map_err(named)?;
        let ended = self.run(&cx, &*connection, true).await;
        connection.close().await;
        let ended = ended.map_err(named)?;
        if !ended.well() {
            return Err(named(self.failure(&cx, &ended)));
        }
        let host = &self.host.name;
        let Some(report) = ended.report.as_ref() else {
            let why = "Chef left no report of its why-run";
            return Ok(vec![Change::cannot_know(host, self.config.program(), Action::Run, why)]);
        };
        let mut changes = Vec::new();
        for (n, resource) in report.updated.iter().enumerate() {
            let mut change = match n {
                // Up to here nothing was assumed.
                0 => Change::will(host, resource.title(), Action::Update),
                _ => {
                    let why = "why-run says so, assuming what it would have changed before";
                    Change::cannot_know(host, resource.title(), Action::Update, why)
                }
            };
            let mut after = json!({ "action": resource.action, "file": self.place(resource, &ended.staging) });
            cx.masker().mask_json(&mut after);
            change.subject = cx.masker().mask(&change.subject).into_owned();
            changes.push(change.from_to(None, Some(after)));
        }
        if changes.is_empty() {
            let mut same = Change::will_not(host, self.config.program());
            same.reason = Some(format!("why-run: {} resources are as they should be", report.total));
            changes.push(same);
        }
        Ok(changes)
    }

    async fn connect(&self, cx: &Context, connector: &dyn Connector) -> Result<std::sync::Arc<dyn Connection>> {
        cx.check(CHEF, "apply")?;
        connector.connect(cx, &self.host).await
    }

    async fn run(&self, cx: &Context, connection: &dyn Connection, why_run: bool) -> Result<Ended> {
        let staging = Staging::open(cx, connection, self.config, self.to.clone(), why_run).await?;
        let ended = self.staged(cx, connection, &staging, why_run).await;
        staging.close(cx).await;
        ended
    }

    async fn staged(
        &self,
        cx: &Context,
        connection: &dyn Connection,
        staging: &Staging<'_>,
        why_run: bool,
    ) -> Result<Ended> {
        let sent = staging.send(cx, self.parts).await?;
        if !self.parts.is_empty() {
            cx.emit(EventKind::Progress { message: format!("{sent} files sent"), done: None, total: None });
        }
        let names: Vec<String> = self.parts.iter().map(|p| p.name.clone()).collect();
        let settings = settings::settings(self.config, &staging.path, &names, self.node_name.as_deref());
        let mut files = vec![
            (settings::settings_file(self.config), settings),
            (NODE, self.node_json.expose().to_owned()),
            (HANDLER, report::HANDLER.to_owned()),
        ];
        files.extend(self.bag_secret.as_ref().map(|s| (BAG_SECRET, s.expose().to_owned())));
        files.extend(self.validation_key.as_ref().map(|s| (VALIDATION_KEY, s.expose().to_owned())));
        let mut argv = staging.chef.clone();
        argv.extend(settings::arguments(self.config, &staging.path, why_run));
        let mut exec = staging.command(&files, &argv)?;
        exec.timeout = self.config.timeout_s.map(Duration::from_secs);
        exec.env.extend(self.config.chef_license.map(|l| ("CHEF_LICENSE".to_owned(), l.as_str().to_owned())));
        exec.label = Some(format!("{} of {}", self.config.program(), shell_quote(&self.config.run_list.join(","))));
        let mut tail = Tail::default();
        let mut arrived = true;
        let status = follow_lines(cx, connection, &exec, CHEF, |from_err, line| {
            if line == staging.name {
                arrived = false;
                return;
            }
            let line = Tail::shown(cx, line);
            tail.add(cx, from_err, line, true);
        })
        .await?;
        if !arrived {
            let message = "the settings did not arrive whole, or can't be written on the host";
            let error = Error::new(ErrorKind::ToolFailed, CHEF, "apply", message);
            return Err(if tail.is_empty() { error } else { error.caused_by(tail.text()) });
        }
        let report = match staging.report(cx).await? {
            Some(bytes) => match serde_json::from_slice(&bytes) {
                Ok(report) => Some(report),
                Err(e) => {
                    cx.warn(format!("the report that Chef left can't be read: {e}"));
                    None
                }
            },
            None => None,
        };
        Ok(Ended { status, report, tail, staging: staging.path.clone() })
    }

    fn judge(&self, cx: &Context, ended: Ended) -> Result<Converged> {
        if !ended.well() {
            // What it changed before it failed is not in any result.
            for resource in ended.report.iter().flat_map(|r| r.updated.iter().take(LISTED)) {
                let file = self.place(resource, &ended.staging);
                self.tell(cx, &resource.title(), file, TaskStatus::Changed, json!({ "action": resource.action }), 0.0);
            }
            return Err(self.failure(cx, &ended));
        }
        if ended.status != ExitStatus::Code(0) {
            cx.warn(format!("Chef asks for a reboot (exit status {})", ended.status));
        }
        let Some(report) = ended.report.as_ref() else {
            cx.warn("Chef left no report of its resources: the run counts as one change");
            return Ok(Converged { total: None, changed: 1, updated: Vec::new() });
        };
        let updated =
            |r: &Resource| Updated { title: r.title(), action: r.action.clone(), file: self.place(r, &ended.staging) };
        Ok(Converged {
            total: Some(report.total),
            changed: report.updated.len(),
            updated: report.updated.iter().take(LISTED).map(updated).collect(),
        })
    }

    fn failure(&self, cx: &Context, ended: &Ended) -> Error {
        let mask = |text: &str| cx.masker().mask(text).into_owned();
        let mut error = Error::new(ErrorKind::ToolFailed, CHEF, "apply", format!("{} failed", self.config.program()))
            .with("exit_status", &ended.status);
        let report = ended.report.as_ref();
        if ended.status.is_success() {
            error = error.with("reported_by", "the report handler");
        }
        let resource = report.and_then(|r| r.failed.first());
        if let Some(resource) = resource {
            error = error.with("task", mask(&resource.title()));
        }
        let trace = || report.and_then(|r| r.exception.as_ref()).into_iter().flat_map(|e| &e.trace);
        let of_trace = || trace().find_map(|line| report::place(line, &ended.staging, &self.sources()));
        if let Some(place) = resource.and_then(|r| self.place(r, &ended.staging)).or_else(of_trace) {
            error = error.with("file", place);
        }
        let said = report.and_then(|r| r.exception.as_ref()).map(|e| format!("{}: {}", e.class, e.message));
        let last = Some(ended.tail.text()).filter(|_| !ended.tail.is_empty());
        let cause: Vec<String> = said.into_iter().chain(last).collect();
        if cause.is_empty() { error } else { error.caused_by(mask(&cause.join("\n"))) }
    }

    /// Parts on the host, and what they were made of.
    fn sources(&self) -> Vec<(String, String)> {
        self.parts.iter().map(|p| (p.name.clone(), p.source.clone())).collect()
    }

    fn place(&self, resource: &Resource, staging: &str) -> Option<String> {
        report::place(resource.line.as_deref()?, staging, &self.sources())
    }

    fn tell(&self, cx: &Context, task: &str, file: Option<String>, status: TaskStatus, result: Json, seconds: f64) {
        cx.emit(EventKind::TaskResult { task: task.to_owned(), file, item: None, status, result, seconds });
    }
}

impl Ended {
    /// Success, or success with the wish for a reboot, and no report that knows better: settings and handlers of the user's own decide about the exit
    /// status, too. Source: Chef RFC 062, "Exit Status".
    fn well(&self) -> bool {
        matches!(self.status, ExitStatus::Code(0 | 35 | 37)) && self.report.as_ref().is_none_or(|r| r.success)
    }
}
