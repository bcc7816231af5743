use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pyo3::prelude::*;
use towpath::pipeline::{OutputKind, Values};
use towpath::{CallOutput, Context, EventKind, FunctionEntry, Json, Result, StepFunction};

use crate::connection::Connection;
use crate::errors::{self, from_python, parse, raise, to_json, to_python};
use crate::runtime::{python, runtime};

/// Finds a Python function by its name `module:qualname`. `None`: no such function; Python keeps the reason.
pub(crate) fn find(name: &str) -> Option<FunctionEntry> {
    if !name.contains(':') {
        return None;
    }
    // Importing a module may take long; other tasks of this thread are moved elsewhere.
    let look = || {
        Python::try_attach(|py| {
            let found = py.import("towpath._steps").and_then(|m| m.call_method1("find", (name,)));
            let (function, outputs) =
                found.and_then(|f| f.extract::<(Option<Py<PyAny>>, Vec<(String, String)>)>()).ok()?;
            let mut entry = FunctionEntry::new(PyStep { name: name.to_owned(), function: Arc::new(function?) });
            for (output, kind) in outputs {
                entry.output(output, parse::<OutputKind>(Json::String(kind), "the kind of an output").ok()?);
            }
            Some(entry)
        })
        .flatten()
    };
    match tokio::runtime::Handle::try_current() {
        Ok(_) => tokio::task::block_in_place(look),
        Err(_) => look(),
    }
}

struct PyStep {
    name: String,
    function: Arc<Py<PyAny>>,
}

#[async_trait]
impl StepFunction for PyStep {
    async fn call(&self, cx: &Context, inputs: Values) -> Result<CallOutput> {
        let (name, function, cx) = (self.name.clone(), Arc::clone(&self.function), cx.clone());
        python(move |py| {
            let call = || -> PyResult<(Values, bool)> {
                let inputs = pythonize::pythonize(py, &inputs)?;
                let native = StepContext(cx);
                let arguments = (name.as_str(), function.bind(py), native, inputs);
                let given = py.import("towpath._steps")?.call_method1("invoke", arguments)?;
                let (outputs, unchanged): (Bound<'_, PyAny>, bool) = given.extract()?;
                Ok((from_python(py, &outputs, "what the step returned")?, unchanged))
            };
            let (outputs, unchanged) = call().map_err(|e| errors::caught(py, &e, "call", &name))?;
            Ok(CallOutput { outputs, unchanged })
        })
        .await
    }
}

/// A step's context, as Python code sees it. `towpath.StepContext` wraps it.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct StepContext(pub(crate) Context);

impl StepContext {
    /// Waits on this thread, which is Python's and not the runtime's.
    fn wait<T: Send>(&self, py: Python<'_>, work: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
        let runtime = runtime()?;
        py.detach(|| runtime.block_on(work)).map_err(|e| raise(py, &e))
    }
}

/// Calls a Python callable of an effect with the context below the effect.
async fn inside(callable: Arc<Py<PyAny>>, cx: Context) -> Result<Json> {
    python(move |py| {
        let call = || -> PyResult<Json> {
            let given = callable.bind(py).call1((StepContext(cx),))?;
            from_python(py, &given, "what the effect returned")
        };
        call().map_err(|e| errors::caught(py, &e, "effect", "the effect"))
    })
    .await
}

#[pymethods]
impl StepContext {
    #[getter]
    fn environment(&self) -> &str {
        self.0.environment()
    }

    #[getter]
    fn step(&self) -> Option<&str> {
        self.0.step()
    }

    #[getter]
    fn run(&self) -> Option<String> {
        self.0.run().map(ToString::to_string)
    }

    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Does something to the world once. `kind`: `probed`, `idempotent` or `opaque`.
    fn effect<'py>(
        &self,
        py: Python<'py>,
        key: &str,
        intent: &Bound<'py, PyAny>,
        act: Py<PyAny>,
        probe: Option<Py<PyAny>>,
        opaque: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let intent: Json = from_python(py, intent, "the intent")?;
        let act = Arc::new(act);
        let act = |cx| inside(act, cx);
        let work = async {
            match probe.map(Arc::new) {
                Some(probe) => {
                    let look =
                        |cx| async move { inside(probe, cx).await.map(|found| (!found.is_null()).then_some(found)) };
                    self.0.effect(key, intent, act, look).await
                }
                None if opaque => self.0.effect_opaque(key, intent, act).await,
                None => self.0.effect_idempotent(key, intent, act).await,
            }
        };
        let result: Json = self.wait(py, work)?;
        to_python(py, &result)
    }

    /// Reaches a host; what runs there is cancelled with this step.
    fn connect(
        &self,
        py: Python<'_>,
        host: &Bound<'_, PyAny>,
        connectors: &Bound<'_, PyAny>,
        base_dir: PathBuf,
    ) -> PyResult<Connection> {
        Connection::open(py, host, connectors, base_dir, self.0.clone(), None)
    }

    /// Sleeps, unless cancelled or out of time.
    fn sleep(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let d = Duration::try_from_secs_f64(seconds)
            .map_err(|e| raise(py, &errors::invalid(format!("can't sleep {seconds} seconds: {e}"))))?;
        self.wait(py, self.0.sleep("python", "sleep", d))
    }

    /// Raises if cancelled or out of time.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.0.check("python", "check").map_err(|e| raise(py, &e))
    }

    fn progress(&self, message: String, done: Option<u64>, total: Option<u64>) {
        self.0.emit(EventKind::Progress { message, done, total });
    }

    fn output(&self, line: String, stream: String) {
        self.0.emit(EventKind::Output { stream, line });
    }

    fn warn(&self, message: String) {
        self.0.warn(message);
    }

    /// Masks a value in all output from now on.
    fn learn_secret(&self, value: String) {
        self.0.learn_secret(&towpath::Secret::new(value));
    }

    fn note(&self, py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value: Json = from_python(py, value, "the note")?;
        self.wait(py, self.0.note(name, value))
    }

    fn recall<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = to_json(&self.0.recall(name)).map_err(|e| raise(py, &e))?;
        to_python(py, &value)
    }
}
