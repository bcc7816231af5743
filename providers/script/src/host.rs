//! The steps of one host.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use towpath_core::{
    BecomeChoice, Connection, Connector, Context, Error, EventKind, Host, HostSummary, Result, Secret, SecretRef,
    TaskStatus,
};

use crate::load::{Step, Work};
use crate::run::{Guarded, Look, Ran, Run, guards};
use crate::upload::{Upload, Uploaded};
use crate::{SCRIPT, ScriptConfig};

/// A host with its steps, ready to be done.
pub(crate) struct Job {
    pub(crate) host: Host,
    pub(crate) steps: Vec<Ready>,
}

/// A step that is ready for one host.
pub(crate) struct Ready {
    pub(crate) task: Task,
    /// What its effect is known by: the same for the same steps up to here.
    key: String,
}

#[allow(clippy::large_enum_variant, reason = "a handful of them, made once")]
pub(crate) enum Task {
    Run(Run),
    Upload(Upload),
}

/// Replaces variables and resolves secrets for all hosts, so that what is missing is told before anything is touched.
pub(crate) async fn prepare(cx: &Context, config: &ScriptConfig, steps: &[Step], hosts: Vec<Host>) -> Result<Vec<Job>> {
    let mut secrets = Secrets::default();
    let mut jobs = Vec::new();
    for host in hosts {
        let mut ready = Vec::new();
        let mut chain = Sha256::new();
        for (n, step) in steps.iter().enumerate() {
            let named = |e: Error| e.with_missing("host", &host.name).with_missing("task", &step.title);
            let task = task(cx, config, step, &host, &mut secrets).await.map_err(named)?;
            chain.update(&step.digest);
            match &task {
                Task::Run(run) if run.config.fill => {
                    chain.update(serde_json::to_string(&run.config).unwrap_or_default());
                }
                Task::Upload(upload) if upload.config.fill => {
                    chain.update(&upload.path);
                    let shown = upload.wanted.iter().filter_map(|w| w.file.as_ref()).filter(|f| !f.hidden);
                    shown.for_each(|f| chain.update(&f.digest));
                }
                Task::Run(_) | Task::Upload(_) => {}
            }
            let digest = hex::encode(chain.clone().finalize());
            let key = format!("{}/{}-{}", host.name, n + 1, digest.get(..12).unwrap_or(&digest));
            ready.push(Ready { task, key });
        }
        jobs.push(Job { host, steps: ready });
    }
    Ok(jobs)
}

async fn task(cx: &Context, config: &ScriptConfig, step: &Step, host: &Host, secrets: &mut Secrets) -> Result<Task> {
    let own = match &step.work {
        Work::Run(run, _) => &run.r#become,
        Work::Upload(upload, _) => &upload.r#become,
    };
    let to = BecomeChoice::resolve(own.as_ref().or(config.r#become.as_ref()), cx, host).await?;
    match &step.work {
        Work::Run(config, text) => {
            let mut run = Run::new(&step.title, config, text, host, to)?;
            for (name, secret) in &config.secret_env {
                run.secret(name, &secrets.get(cx, secret).await?);
            }
            Ok(Task::Run(run))
        }
        Work::Upload(config, items) => {
            let secret = match &config.secret {
                Some(secret) => Some(secrets.get(cx, secret).await?),
                None => None,
            };
            Upload::new(&step.title, config, items, host, to, secret.as_ref()).map(Task::Upload)
        }
    }
}

/// Each secret is resolved once, not once per host: a command may take its time.
#[derive(Default)]
struct Secrets(Vec<(SecretRef, Secret)>);

impl Secrets {
    async fn get(&mut self, cx: &Context, wanted: &SecretRef) -> Result<Secret> {
        if let Some((_, secret)) = self.0.iter().find(|(known, _)| known == wanted) {
            return Ok(secret.clone());
        }
        let secret = cx.resolve(wanted).await?;
        self.0.push((wanted.clone(), secret.clone()));
        Ok(secret)
    }
}

/// A way to a host that is taken when it is needed first: a resumed run may have nothing left to do there.
pub(crate) struct Link<'a> {
    host: &'a Host,
    connector: &'a dyn Connector,
    open: OnceCell<Arc<dyn Connection>>,
    /// Whether the host could not be reached, or lets nobody in.
    failed: AtomicBool,
}

impl<'a> Link<'a> {
    pub(crate) fn new(host: &'a Host, connector: &'a dyn Connector) -> Self {
        Self { host, connector, open: OnceCell::new(), failed: AtomicBool::new(false) }
    }

    pub(crate) async fn get(&self, cx: &Context) -> Result<&dyn Connection> {
        let open = self.open.get_or_try_init(|| self.connector.connect(cx, self.host)).await;
        self.failed.store(open.is_err(), Ordering::Relaxed);
        open.map(|c| &**c)
    }

    pub(crate) async fn close(&self) {
        if let Some(connection) = self.open.get() {
            connection.close().await;
        }
    }
}

/// What a step came to.
enum Done {
    Ran(Ran),
    Uploaded(Uploaded),
}

impl Done {
    fn is_change(&self) -> bool {
        match self {
            Self::Ran(ran) => ran.changed,
            Self::Uploaded(up) => up.count > 0,
        }
    }
}

/// Does the steps of a host up to the first that fails.
pub(crate) async fn apply(cx: &Context, job: &Job, connector: &dyn Connector) -> (String, HostSummary, Option<Error>) {
    let cx = cx.for_host(&job.host.name);
    let link = Link::new(&job.host, connector);
    let mut sums = HostSummary::default();
    let mut failure = None;
    let mut changed = BTreeSet::new();
    for ready in &job.steps {
        let started = Instant::now();
        let done = match cx.check(SCRIPT, "apply") {
            Ok(()) => match ready.is_called(&changed) {
                true => ready.apply(&cx, &link).await,
                false => Ok(Done::Ran(Ran { changed: false, exit_status: None, guard: Some(Guarded::IfChanged) })),
            },
            Err(e) => Err(e),
        };
        let seconds = started.elapsed().as_secs_f64();
        match done {
            Ok(done) => {
                ready.count(&cx, &done, &mut sums, seconds);
                changed.extend(done.is_change().then(|| ready.title()));
            }
            Err(e) => {
                let e = e.with_missing("host", &job.host.name).with_missing("task", ready.title());
                let connecting = link.failed.load(Ordering::Relaxed);
                failure = Some(ready.failed(&cx, e, connecting, &mut sums, seconds));
                break;
            }
        }
    }
    link.close().await;
    (job.host.name.clone(), sums, failure)
}

impl Ready {
    pub(crate) fn title(&self) -> &str {
        match &self.task {
            Task::Run(run) => &run.title,
            Task::Upload(upload) => &upload.title,
        }
    }

    /// Whether one of the steps that it waits for, if any, is among those that have changed something.
    fn is_called(&self, changed: &BTreeSet<&str>) -> bool {
        match &self.task {
            Task::Run(run) if !run.config.if_changed.is_empty() => {
                run.config.if_changed.iter().any(|name| changed.contains(name.as_str()))
            }
            Task::Run(_) | Task::Upload(_) => true,
        }
    }

    /// The file of this machine that it is about.
    fn file(&self) -> Option<String> {
        match &self.task {
            Task::Run(run) => run.text.file.clone(),
            Task::Upload(upload) => upload.config.source.as_ref().map(|s| s.display().to_string()),
        }
    }

    async fn apply(&self, cx: &Context, link: &Link<'_>) -> Result<Done> {
        match &self.task {
            Task::Upload(upload) => {
                let intent = json!({ "upload": upload.title, "path": upload.path });
                let interrupted = AtomicBool::new(false);
                let interrupted = &interrupted;
                let act = |cx: Context| async move {
                    upload.apply(&cx, link.get(&cx).await?, interrupted.load(Ordering::Relaxed)).await
                };
                // It is done again, and only has to know that it is.
                let again = |_| async move {
                    interrupted.store(true, Ordering::Relaxed);
                    Ok(None)
                };
                cx.effect(&self.key, intent, act, again).await.map(Done::Uploaded)
            }
            Task::Run(run) if run.config.is_guarded() => {
                let intent = json!({ "run": run.title });
                let act = |cx: Context| async move { guarded(&cx, run, link).await };
                cx.effect(&self.key, intent, act, |cx| async move { interrupted(&cx, run, link).await })
                    .await
                    .map(Done::Ran)
            }
            Task::Run(run) => {
                let intent = json!({ "run": run.title });
                let act = |cx: Context| async move { run.execute(&cx, link.get(&cx).await?).await };
                // Reached before the intent is written: a host that can't be reached leaves nothing in doubt.
                if !cx.is_done(&self.key) {
                    link.get(cx).await?;
                }
                cx.effect_opaque(&self.key, intent, act).await.map(Done::Ran)
            }
        }
    }

    fn count(&self, cx: &Context, done: &Done, sums: &mut HostSummary, seconds: f64) {
        let (status, result) = match (done, &self.task) {
            (Done::Ran(ran), Task::Run(run)) => match ran.guard {
                Some(guard @ (Guarded::OnlyIf | Guarded::IfChanged)) => {
                    (TaskStatus::Skipped, json!({ "guard": guard.shown(run) }))
                }
                Some(guard) => (TaskStatus::Ok, json!({ "guard": guard.shown(run) })),
                None => (changed(done.is_change()), json!({ "exit_status": ran.exit_status })),
            },
            (Done::Uploaded(up), _) => (changed(done.is_change()), json!({ "changed": up.changed, "count": up.count })),
            (Done::Ran(_), Task::Upload(_)) => (changed(done.is_change()), Value::Null),
        };
        sums.count(status);
        self.tell(cx, status, result, seconds);
    }

    fn failed(&self, cx: &Context, error: Error, connecting: bool, sums: &mut HostSummary, seconds: f64) -> Error {
        if let Some(status) = TaskStatus::of_failure(&error, connecting) {
            sums.count(status);
            self.tell(cx, status, json!({ "msg": error.report() }), seconds);
        }
        error
    }

    fn tell(&self, cx: &Context, status: TaskStatus, result: Value, seconds: f64) {
        let (task, file) = (self.title().to_owned(), self.file());
        cx.emit(EventKind::TaskResult { task, file, item: None, status, result, seconds });
    }
}

fn changed(yes: bool) -> TaskStatus {
    if yes { TaskStatus::Changed } else { TaskStatus::Ok }
}

/// Set once the guards have let the script run: from then on a guard that holds says that it is done.
const STARTED: &str = "started";

async fn guarded(cx: &Context, run: &Run, link: &Link<'_>) -> Result<Ran> {
    let connection = link.get(cx).await?;
    if let Look::Held(guard) = guards(run, cx, connection).await? {
        return Ok(Ran { changed: false, exit_status: None, guard: Some(guard) });
    }
    // A missing working directory is told by the script itself.
    cx.note(STARTED, json!(true)).await?;
    run.execute(cx, connection).await
}

/// After a crash in the middle: the guards say whether it is done.
async fn interrupted(cx: &Context, run: &Run, link: &Link<'_>) -> Result<Option<Ran>> {
    if cx.recall(STARTED).is_none() {
        return Ok(None);
    }
    Ok(match guards(run, cx, link.get(cx).await?).await? {
        Look::Held(_) => {
            let changed = run.config.changed_when_status.as_ref().is_none_or(|l| !l.is_empty());
            Some(Ran { changed, exit_status: None, guard: None })
        }
        Look::Runs | Look::NoDirectory => None,
    })
}
