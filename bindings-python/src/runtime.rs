use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use towpath::{Error, ErrorKind, Result};

use crate::errors;

/// How often a waiting call looks for Ctrl-C.
const GLANCE: Duration = Duration::from_millis(50);

/// The runtime of this process. It is never ended: what runs on it is waited for by the call that started it.
pub(crate) fn runtime() -> PyResult<&'static Runtime> {
    static RUNTIME: OnceLock<(u32, Runtime)> = OnceLock::new();
    if let Some((process, runtime)) = RUNTIME.get() {
        // A fork has no threads but one: whatever waits for the others would wait for ever.
        if *process != std::process::id() {
            return Err(PyRuntimeError::new_err(
                "this process was forked from one that had used towpath, and has none of its threads: start it with \
                 multiprocessing's `spawn`, or use towpath only after the fork",
            ));
        }
        return Ok(runtime);
    }
    // Python code waits on blocking threads, also for other Python code: more of them than steps run at once.
    let made = Builder::new_multi_thread().enable_all().max_blocking_threads(4096).thread_name("towpath").build()?;
    Ok(&RUNTIME.get_or_init(|| (std::process::id(), made)).1)
}

/// Asks a call to stop. The call returns when it has.
#[pyclass(frozen, module = "towpath._towpath")]
#[derive(Default)]
pub(crate) struct Cancel(pub(crate) CancellationToken);

#[pymethods]
impl Cancel {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Asks.
    fn set(&self) {
        self.0.cancel();
    }

    /// Whether somebody has asked.
    fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Cancel {
    pub(crate) fn token(cancel: Option<&Self>) -> CancellationToken {
        cancel.map(|c| c.0.child_token()).unwrap_or_default()
    }
}

/// Waits for `work` without holding the interpreter. Ctrl-C cancels it, waits until it has stopped and is raised then; a second
/// one does not wait.
pub(crate) fn block<T: Send + 'static>(
    py: Python<'_>,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> PyResult<T> {
    let runtime = runtime()?;
    let mut task = runtime.spawn(work);
    let mut signal: Option<PyErr> = None;
    loop {
        let done = py.detach(|| runtime.block_on(async { tokio::time::timeout(GLANCE, &mut task).await }));
        match (done, py.check_signals()) {
            (Err(_), Ok(())) => {}
            (Err(_), Err(second)) if signal.is_some() => {
                task.abort();
                return Err(second);
            }
            (Err(_), Err(first)) => {
                cancel.cancel();
                signal = Some(first);
            }
            (Ok(_), Err(late)) => return Err(signal.unwrap_or(late)),
            (Ok(_), Ok(())) if let Some(signal) = signal => return Err(signal),
            (Ok(Ok(result)), Ok(())) => return result.map_err(|e| errors::raise(py, &e)),
            (Ok(Err(died)), Ok(())) => {
                let defect = Error::new(ErrorKind::Internal, "python", "call", "the call panicked").caused_by(died);
                return Err(errors::raise(py, &defect));
            }
        }
    }
}

/// Runs Python code on a thread where it may wait as long as it likes.
pub(crate) async fn python<T: Send + 'static>(
    work: impl FnOnce(Python<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(move || Python::try_attach(work)).await;
    match joined {
        Ok(Some(result)) => result,
        Ok(None) => Err(Error::new(ErrorKind::Cancelled, "python", "call", "the interpreter is ending")),
        Err(died) => Err(Error::new(ErrorKind::Internal, "python", "call", "the bindings panicked").caused_by(died)),
    }
}
