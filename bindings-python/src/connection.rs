use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Deserialize;
use tokio_util::sync::{CancellationToken, DropGuard};
use towpath::pipeline::{self, Pipeline, Values};
use towpath::{
    Become, BecomeSpec, Context, Endpoint, Exec, ExecOutput, ExitStatus, Forward, Host, MemoryStore, PutOptions,
    Result, Source,
};

use crate::errors::{from_python, invalid};
use crate::registry;
use crate::runtime::{Cancel, block, runtime};

/// An authenticated way to one host.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct Connection {
    connection: Arc<dyn towpath::Connection>,
    /// Of the step that connected; else one without a pipeline.
    cx: Context,
    /// Open as long as this is.
    forwards: Mutex<Vec<Forward>>,
}

/// What `run` and `put` take.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    argv: Option<Vec<String>>,
    script: Option<String>,
    cwd: Option<String>,
    env: BTreeMap<String, String>,
    timeout_s: Option<f64>,
    r#become: Option<BecomeSpec>,
    mode: Option<u32>,
    owner: Option<String>,
    group: Option<String>,
}

/// How a command ended: exit code, signal, standard output, standard error.
type Ended<'py> = (Option<i32>, Option<String>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Reaches a host of any registered kind; `connectors` are a pipeline's settings for them.
#[pyfunction]
#[pyo3(signature = (host, connectors, base_dir, cancel=None))]
pub(crate) fn connect(
    py: Python<'_>,
    host: &Bound<'_, PyAny>,
    connectors: &Bound<'_, PyAny>,
    base_dir: PathBuf,
    cancel: Option<&Cancel>,
) -> PyResult<Connection> {
    // What it does later is cancelled by its own calls.
    Connection::open(py, host, connectors, base_dir, Context::new(), cancel)
}

impl Connection {
    pub(crate) fn open(
        py: Python<'_>,
        host: &Bound<'_, PyAny>,
        connectors: &Bound<'_, PyAny>,
        base_dir: PathBuf,
        cx: Context,
        cancel: Option<&Cancel>,
    ) -> PyResult<Self> {
        let host: Host = from_python(py, host, "the host")?;
        let connectors: Values = from_python(py, connectors, "the connectors' settings")?;
        let pipeline = Pipeline { connectors, ..Pipeline::default() };
        let (inner, token, _guard) = child(&cx, &host.name, cancel)?;
        let connection = block(py, &token, async move {
            let store = Arc::new(MemoryStore::default());
            let engine = pipeline::Engine::new(Arc::new(registry::registry()), store).base_dir(base_dir);
            engine.setup(&pipeline).connector.connect(&inner, &host).await
        })?;
        Ok(Self { connection, cx, forwards: Mutex::default() })
    }

    fn child(&self, cancel: Option<&Cancel>) -> PyResult<(Context, CancellationToken, DropGuard)> {
        child(&self.cx, self.connection.host(), cancel)
    }
}

/// The context of one call: cancelled with the step's, by its own caller, or at the end when it does not matter any more.
fn child(cx: &Context, host: &str, cancel: Option<&Cancel>) -> PyResult<(Context, CancellationToken, DropGuard)> {
    let (cx, token) = cx.child();
    let asked = Cancel::token(cancel);
    let guard = asked.clone().drop_guard();
    let also = token.clone();
    runtime()?.spawn(async move {
        asked.cancelled().await;
        also.cancel();
    });
    Ok((cx.for_host(host), token, guard))
}

async fn to(cx: &Context, spec: Option<BecomeSpec>) -> Result<Option<Become>> {
    let Some(spec) = spec else { return Ok(None) };
    let password = match &spec.password {
        Some(password) => Some(cx.resolve(password).await?),
        None => None,
    };
    Ok(Some(Become { user: spec.user, method: spec.method, password, flags: spec.flags }))
}

fn seconds(limit: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(limit).map_err(|e| invalid(format!("`timeout_s`: {e}")))
}

async fn exec(cx: &Context, stdin: Option<Vec<u8>>, options: Options) -> Result<Exec> {
    let mut command = match (options.argv, options.script) {
        (Some(argv), None) => Exec::argv(argv),
        (None, Some(script)) => Exec::script(script),
        _ => return Err(invalid("give either arguments or a script")),
    };
    command.env = options.env.into_iter().collect();
    command.cwd = options.cwd;
    command.stdin = stdin.map(Into::into);
    command.timeout = options.timeout_s.map(seconds).transpose()?;
    command.r#become = to(cx, options.r#become).await?;
    Ok(command)
}

#[pymethods]
impl Connection {
    /// The host's name.
    fn host(&self) -> &str {
        self.connection.host()
    }

    /// Runs a command. With `check` a failed one is raised.
    #[pyo3(signature = (options, stdin, check, cancel=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        options: &Bound<'py, PyAny>,
        stdin: Option<Vec<u8>>,
        check: bool,
        cancel: Option<&Cancel>,
    ) -> PyResult<Ended<'py>> {
        let options: Options = from_python(py, options, "the command")?;
        let (connection, (cx, token, _guard)) = (Arc::clone(&self.connection), self.child(cancel)?);
        let ExecOutput { status, stdout, stderr } = block(py, &token, async move {
            let command = exec(&cx, stdin, options).await?;
            let out = connection.exec(&cx, &command).await?;
            if check { out.success("python", "run", connection.host(), &command) } else { Ok(out) }
        })?;
        let (code, signal) = match status {
            ExitStatus::Code(code) => (Some(code), None),
            ExitStatus::Signal(signal) => (None, Some(signal)),
        };
        Ok((code, signal, PyBytes::new(py, &stdout), PyBytes::new(py, &stderr)))
    }

    /// Writes a file on the host, whole or not at all.
    #[pyo3(signature = (content, file, path, options, cancel=None))]
    fn put(
        &self,
        py: Python<'_>,
        content: Option<Vec<u8>>,
        file: Option<PathBuf>,
        path: String,
        options: &Bound<'_, PyAny>,
        cancel: Option<&Cancel>,
    ) -> PyResult<()> {
        let options: Options = from_python(py, options, "the options")?;
        let (connection, (cx, token, _guard)) = (Arc::clone(&self.connection), self.child(cancel)?);
        block(py, &token, async move {
            let source = match (content, file) {
                (Some(bytes), None) => Source::Bytes(bytes.into()),
                (None, Some(file)) => Source::File(file),
                _ => return Err(invalid("give either bytes or a file")),
            };
            let r#become = to(&cx, options.r#become).await?;
            let options = PutOptions { mode: options.mode, owner: options.owner, group: options.group, r#become };
            connection.put(&cx, source, &path, &options).await
        })
    }

    /// Reads a file of the host.
    #[pyo3(signature = (path, limit_bytes, cancel=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        path: String,
        limit_bytes: u64,
        cancel: Option<&Cancel>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (connection, (cx, token, _guard)) = (Arc::clone(&self.connection), self.child(cancel)?);
        let bytes = block(py, &token, async move { connection.get(&cx, &path, limit_bytes).await })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Opens a loopback port of this machine that leads to a port as seen from the host, and gives its number.
    #[pyo3(signature = (port, cancel=None))]
    fn forward(&self, py: Python<'_>, port: u16, cancel: Option<&Cancel>) -> PyResult<u16> {
        let (connection, cx, token) = (Arc::clone(&self.connection), self.cx.clone(), Cancel::token(cancel));
        let to = Endpoint::Tcp("127.0.0.1".into(), port);
        let forward = block(py, &token, async move { towpath::forward(&cx, connection, to).await })?;
        let here = forward.address().port();
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).push(forward);
        Ok(here)
    }

    /// Gives it back.
    #[pyo3(signature = (cancel=None))]
    fn close(&self, py: Python<'_>, cancel: Option<&Cancel>) -> PyResult<()> {
        let (connection, token) = (Arc::clone(&self.connection), Cancel::token(cancel));
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).clear();
        block(py, &token, async move {
            connection.close().await;
            Ok(())
        })
    }
}
