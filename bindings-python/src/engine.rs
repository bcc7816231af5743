use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use towpath::listen::{JsonLines, LiveProgress, Progress, RunFiles, RunPage};
use towpath::pipeline::{self, Pipeline, PipelinePlan, ResumeOptions, RunOptions, Values};
use towpath::rollout::RolloutControl;
use towpath::{Event, Faults, Json, Listener, Masker, Result, RunId, Secret};

use crate::errors::{from_python, invalid, parse, raise, to_json, to_python};
use crate::provider::{Object, Provider};
use crate::registry;
use crate::runtime::{Cancel, block, runtime};

/// What engines are made from. Each call gets an engine of its own, so that it has its own cancel, and finds what Python has
/// registered since.
#[derive(Clone)]
pub(crate) struct Maker {
    store: Arc<dyn towpath::Store>,
    environment: String,
    base_dir: PathBuf,
    label: Option<String>,
    masker: Masker,
    secrets: BTreeMap<String, Secret>,
    watch: Watch,
    teller: Option<Teller>,
}

/// What a run is shown and written with, beside Python's own listener.
#[derive(Clone)]
struct Watch {
    progress: bool,
    journal: Option<PathBuf>,
    run_page: Option<PathBuf>,
    abort_in_step: Option<String>,
}

/// What Python gives for it.
type Given = (bool, Option<PathBuf>, Option<PathBuf>, Option<String>);

/// The listeners of one call.
#[derive(Default)]
struct Watchers {
    live: Option<Arc<LiveProgress>>,
    files: RunFiles,
}

impl Watchers {
    fn new(watch: &Watch, plan: Option<&PipelinePlan>) -> Result<Self> {
        // A folder takes one file for each run.
        let page = |path: &PathBuf| if path.is_dir() { RunPage::in_folder(path) } else { RunPage::new(path) };
        let journal = |path: &PathBuf| {
            if path.is_dir() { Ok(JsonLines::in_folder(path)) } else { JsonLines::append_to(path) }
        };
        let page = watch.run_page.as_ref().map(|path| page(path).plan(plan.map(|p| &p.plan)));
        let journal = watch.journal.as_ref().map(journal).transpose()?;
        let live = watch.progress.then(LiveProgress::stderr).flatten().map(Arc::new);
        Ok(Self { live, files: RunFiles::new(page, journal) })
    }

    fn listen(&self, mut engine: pipeline::Engine, watch: &Watch) -> pipeline::Engine {
        match &self.live {
            Some(live) => engine = engine.listener(Arc::clone(live) as Arc<dyn Listener>),
            None if watch.progress => engine = engine.listener(Arc::new(Progress::stderr())),
            None => {}
        }
        if let Some(step) = &watch.abort_in_step {
            engine = engine.faults(Faults::abort_in_step(step));
        }
        self.files.listen(engine)
    }

    /// A page or journal that could not be written is no reason for the run to count as failed: it is told.
    fn close(&self, error: Option<&towpath::Error>) -> Vec<String> {
        if let Some(live) = &self.live {
            live.close();
        }
        self.files.close(error).failed.iter().map(towpath::Error::report).collect()
    }
}

impl Maker {
    pub(crate) fn engine(&self, cancel: &CancellationToken) -> pipeline::Engine {
        let mut engine = pipeline::Engine::new(Arc::new(registry::registry()), Arc::clone(&self.store))
            .environment(&self.environment)
            .base_dir(&self.base_dir)
            .masker(self.masker.clone())
            .cancel(cancel.clone());
        for (name, value) in &self.secrets {
            engine = engine.secret(name, value.clone());
        }
        if let Some(label) = &self.label {
            engine = engine.label(label);
        }
        if let Some(teller) = &self.teller {
            engine = engine.listener(Arc::new(teller.clone()));
        }
        engine
    }

    /// Waits until the listener has heard everything so far.
    pub(crate) fn settle(&self, py: Python<'_>) {
        if let Some(teller) = &self.teller {
            teller.settle(py);
        }
    }
}

/// Plans and runs pipelines over a store.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct Engine(Maker);

#[pymethods]
impl Engine {
    #[new]
    fn new(
        store: &Store,
        environment: String,
        base_dir: PathBuf,
        label: Option<String>,
        on_event: Option<Py<PyAny>>,
        watch: Given,
        secrets: BTreeMap<String, String>,
    ) -> PyResult<Self> {
        let teller = on_event.map(Teller::start).transpose()?;
        let (store, masker) = (Arc::clone(&store.0), Masker::default());
        let (progress, journal, run_page, abort_in_step) = watch;
        let watch = Watch { progress, journal, run_page, abort_in_step };
        let secrets = secrets.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Ok(Self(Maker { store, environment, base_dir, label, masker, secrets, watch, teller }))
    }

    /// Calls a verb of the engine.
    #[pyo3(signature = (verb, arguments, cancel=None))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        verb: String,
        arguments: &Bound<'py, PyAny>,
        cancel: Option<&Cancel>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let arguments: Arguments = from_python(py, arguments, "the call")?;
        let token = Cancel::token(cancel);
        let engine = self.0.engine(&token);
        let watch = self.0.watch.clone();
        let work = async move {
            let plan = arguments.plan.as_object().map(|_| parse::<PipelinePlan>(arguments.plan.clone(), "the plan"));
            let runs = matches!(verb.as_str(), "run" | "apply" | "resume");
            let watchers = if runs { Watchers::new(&watch, plan.transpose()?.as_ref())? } else { Watchers::default() };
            let engine = if runs { watchers.listen(engine, &watch) } else { engine };
            let result = call(&engine, &verb, arguments).await;
            for warning in watchers.close(result.as_ref().err()) {
                engine.context().warn(warning);
            }
            result
        };
        let result = block(py, &token, work);
        self.0.settle(py);
        to_python(py, &result?)
    }

    /// Makes a provider that is used alone.
    fn provider(&self, py: Python<'_>, role: &str, name: &str, config: &Bound<'_, PyAny>) -> PyResult<Provider> {
        let role = registry::role(py, role)?;
        let config: Json = from_python(py, config, "the config")?;
        let engine = self.0.engine(&CancellationToken::new());
        let make = || {
            engine.registry().check_config(role, name, &config)?;
            Object::make(engine.registry(), role, name, &config, &engine.setup(&Pipeline::default()))
        };
        // Made on the runtime's ground: providers may start tasks.
        let _inside = runtime()?.enter();
        let object = make().map_err(|e| raise(py, &e))?;
        Ok(Provider { object: Arc::new(object), maker: self.0.clone() })
    }
}

/// Where runs, leases and ledgers are kept.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct Store(Arc<dyn towpath::Store>);

#[pymethods]
impl Store {
    #[new]
    fn new(py: Python<'_>, url: String) -> PyResult<Self> {
        block(py, &CancellationToken::new(), async move { towpath::open_store(&url).await }).map(Self)
    }

    /// Where it is, for people.
    fn location(&self) -> String {
        self.0.location()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Arguments {
    pipeline: Json,
    plan: Json,
    values: Values,
    fresh: bool,
    run: Option<RunId>,
    rerun: Vec<String>,
    step: String,
    granted: bool,
    by: String,
    service: String,
    order: String,
    why: String,
}

async fn call(engine: &pipeline::Engine, verb: &str, a: Arguments) -> Result<Json> {
    let pipeline = || parse::<Pipeline>(a.pipeline.clone(), "the pipeline");
    let options = RunOptions { values: a.values.clone(), fresh: a.fresh };
    match verb {
        "check" => {
            pipeline()?.check(engine.registry())?;
            Ok(Json::Null)
        }
        "plan" => to_json(&engine.plan(&pipeline()?, options).await?),
        "run" => to_json(&engine.run(&pipeline()?, options).await?),
        "apply" => to_json(&engine.apply(&parse::<PipelinePlan>(a.plan, "the plan")?).await?),
        "resume" => {
            let options = ResumeOptions { values: a.values, rerun: a.rerun };
            to_json(&engine.resume(a.run.as_ref(), options).await?)
        }
        "status" => to_json(&engine.status(a.run.as_ref()).await?),
        "approve" => {
            let run = a.run.ok_or_else(|| invalid("approve needs a run"))?;
            engine.approve(&run, &a.step, a.granted, &a.by).await?;
            Ok(Json::Null)
        }
        "preflight" => {
            let mut found = Vec::new();
            for (step, answer) in engine.preflight(&pipeline()?).await? {
                found.push(match answer {
                    Ok(ok) => json!({ "step": step, "found": ok, "error": null }),
                    Err(e) => json!({ "step": step, "found": null, "error": e.record() }),
                });
            }
            Ok(Json::Array(found))
        }
        "destroy" => {
            let removed = engine.destroy(&pipeline()?, options).await?;
            Ok(removed.into_iter().map(|(step, changed)| json!({ "step": step, "changed": changed })).collect())
        }
        "sweep" => {
            let swept = engine.sweep().await?;
            let swept = swept.iter().map(|s| json!({ "lease": s.lease, "error": s.outcome.as_ref().err() }));
            Ok(swept.collect())
        }
        "leases" => to_json(&engine.store().leases().await?),
        "rollout" => rollout(engine, &a).await,
        other => Err(invalid(format!("the engine has no verb `{other}`"))),
    }
}

async fn rollout(engine: &pipeline::Engine, a: &Arguments) -> Result<Json> {
    let environment = engine.context().environment().to_owned();
    let control = RolloutControl::new(Arc::clone(engine.store()), &environment, &a.service);
    match a.order.as_str() {
        "status" => return to_json(&control.status().await?),
        "waiting" => {
            let key = format!("deploy/{environment}/{}", a.service);
            return to_json(&towpath::waiting(engine.store(), &key).await?);
        }
        "ledger" => return to_json(&engine.store().deployments(&environment, &a.service).await?),
        "pause" => control.pause(&a.by, &a.why).await?,
        "resume" => control.resume().await?,
        "stop" => control.stop(&a.by, &a.why).await?,
        "roll_back" => control.roll_back(&a.by, &a.why).await?,
        "answer" => control.answer(a.granted, &a.by, &a.why).await?,
        other => return Err(invalid(format!("a rollout takes no order `{other}`"))),
    }
    Ok(Json::Null)
}

/// A child process that undoes what this one suspended, when this one dies.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct Guardian(Mutex<Option<towpath::Guardian>>);

#[pymethods]
impl Guardian {
    #[new]
    #[pyo3(signature = (store, log=None))]
    fn new(py: Python<'_>, store: &Store, log: Option<PathBuf>) -> PyResult<Self> {
        let location = store.0.location();
        let url = if location.starts_with("memory:") { location } else { format!("sqlite:{location}") };
        let guardian = towpath::Guardian::start(&url, log.as_deref()).map_err(|e| raise(py, &e))?;
        Ok(Self(Mutex::new(Some(guardian))))
    }

    /// The child's process id; `None`: it was let go.
    fn pid(&self) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(towpath::Guardian::pid)
    }

    /// Lets it go: it looks once more, and ends.
    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

enum Told {
    Event(Box<Event>),
    Settle(mpsc::Sender<()>),
}

/// Tells a Python callable every event, in order, on a thread of its own: the engine's threads never wait for the interpreter.
#[derive(Clone)]
pub(crate) struct Teller(mpsc::Sender<Told>);

impl Teller {
    fn start(callable: Py<PyAny>) -> PyResult<Self> {
        let (to, from) = mpsc::channel();
        std::thread::Builder::new().name("towpath-events".into()).spawn(move || {
            for told in from {
                match told {
                    Told::Event(event) => {
                        let told = Python::try_attach(|py| tell(py, &callable, &event));
                        if told.is_none() {
                            return;
                        }
                    }
                    // Nobody waits any more: no failure.
                    Told::Settle(done) => drop(done.send(())),
                }
            }
            Python::try_attach(|_| drop(callable));
        })?;
        Ok(Self(to))
    }

    /// Waits until everything so far has been told.
    fn settle(&self, py: Python<'_>) {
        let (to, from) = mpsc::channel();
        if self.0.send(Told::Settle(to)).is_ok() {
            // A thread that ended has nothing left to tell.
            let _ = py.detach(move || from.recv());
        }
    }
}

fn tell(py: Python<'_>, callable: &Py<PyAny>, event: &Event) {
    let result = pythonize::pythonize(py, event).map_err(PyErr::from).and_then(|e| callable.call1(py, (e,)));
    if let Err(error) = result {
        // A listener can't stop a run; Python shows this as it shows errors in destructors.
        error.write_unraisable(py, None);
    }
}

impl Listener for Teller {
    fn on_event(&self, event: &Event) {
        // The thread lives as long as this sender.
        let _ = self.0.send(Told::Event(Box::new(event.clone())));
    }
}
