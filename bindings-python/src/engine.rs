use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use towpath::pipeline::{self, Pipeline, PipelinePlan, ResumeOptions, RunOptions, Values};
use towpath::{Event, Json, Listener, Masker, Result, RunId};

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
    pub(crate) teller: Option<Teller>,
}

impl Maker {
    pub(crate) fn engine(&self, cancel: &CancellationToken) -> pipeline::Engine {
        let mut engine = pipeline::Engine::new(Arc::new(registry::registry()), Arc::clone(&self.store))
            .environment(&self.environment)
            .base_dir(&self.base_dir)
            .masker(self.masker.clone())
            .cancel(cancel.clone());
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
    ) -> PyResult<Self> {
        let teller = on_event.map(Teller::start).transpose()?;
        Ok(Self(Maker { store: Arc::clone(&store.0), environment, base_dir, label, masker: Masker::default(), teller }))
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
        let result = block(py, &token, async move { call(&engine, &verb, arguments).await });
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
        "sweep" => {
            let swept = engine.sweep().await?;
            let swept = swept.iter().map(|s| json!({ "lease": s.lease, "error": s.outcome.as_ref().err() }));
            Ok(swept.collect())
        }
        "leases" => to_json(&engine.store().leases().await?),
        other => Err(invalid(format!("the engine has no verb `{other}`"))),
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
