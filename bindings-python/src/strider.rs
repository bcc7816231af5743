use std::net::SocketAddr;
use std::path::PathBuf;

use pyo3::prelude::*;
use tokio::sync::Mutex;
use towpath::strider::{self, ProjectSetup, Strider, StriderConfig, WebhookConfig, WebhookListener};
use towpath::{Context, Error, ErrorKind, Secret, SecretRef};

use crate::errors::{from_python, raise, to_json, to_python};
use crate::runtime::{Cancel, block};

/// Listens for webhooks, and hands over those whose signature fits.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct Webhooks {
    listener: std::sync::Arc<Mutex<Option<WebhookListener>>>,
    address: SocketAddr,
}

#[pymethods]
impl Webhooks {
    #[new]
    #[pyo3(signature = (address, secret, path, max_body_bytes))]
    fn new(
        py: Python<'_>,
        address: &str,
        secret: &Bound<'_, PyAny>,
        path: String,
        max_body_bytes: usize,
    ) -> PyResult<Self> {
        let secret: SecretRef = from_python(py, secret, "the secret")?;
        let address: SocketAddr = address.parse().map_err(|_| {
            let message = format!("{address:?} is no address and port, as in `127.0.0.1:9100`");
            raise(py, &Error::new(ErrorKind::InvalidInput, "strider", "webhook", message))
        })?;
        let mut config = WebhookConfig::new(address, secret);
        config.path = path;
        config.max_body_bytes = max_body_bytes;
        let token = Cancel::token(None);
        let cx = Context::builder().cancel(token.clone()).build();
        let listener = block(py, &token, async move { WebhookListener::bind(&cx, config).await })?;
        let address = listener.address();
        Ok(Self { listener: std::sync::Arc::new(Mutex::new(Some(listener))), address })
    }

    /// The address that it listens on.
    fn address(&self) -> String {
        self.address.to_string()
    }

    /// The next push; None: cancelled, or closed.
    #[pyo3(signature = (cancel=None))]
    fn next<'py>(&self, py: Python<'py>, cancel: Option<&Cancel>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let token = Cancel::token(cancel);
        let cx = Context::builder().cancel(token.clone()).build();
        let listener = std::sync::Arc::clone(&self.listener);
        let push = block(py, &token, async move {
            let mut listener = listener.lock().await;
            let Some(listener) = listener.as_mut() else { return Ok(None) };
            listener.next(&cx).await?.map(|push| to_json(&push)).transpose()
        })?;
        push.map(|push| to_python(py, &push)).transpose()
    }

    /// Stops listening. Waits for a `next` that is under way.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let listener = std::sync::Arc::clone(&self.listener);
        block(py, &Cancel::token(None), async move {
            if let Some(listener) = listener.lock().await.take() {
                listener.close().await;
            }
            Ok(())
        })
    }
}

/// Verifies a webhook and reads it.
#[pyfunction]
pub(crate) fn verify_webhook<'py>(
    py: Python<'py>,
    headers: Vec<(String, String)>,
    body: &[u8],
    secret: String,
) -> PyResult<Bound<'py, PyAny>> {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let push = strider::verify(&headers, body, &Secret::new(secret)).map_err(|e| raise(py, &e))?;
    to_python(py, &to_json(&push).map_err(|e| raise(py, &e))?)
}

/// Brings a project of a Strider server to what is wanted, and gives a line for each change.
#[pyfunction]
#[pyo3(signature = (config, project, base_dir, cancel=None))]
pub(crate) fn set_up_strider(
    py: Python<'_>,
    config: &Bound<'_, PyAny>,
    project: &Bound<'_, PyAny>,
    base_dir: PathBuf,
    cancel: Option<&Cancel>,
) -> PyResult<Vec<String>> {
    let mut config: StriderConfig = from_python(py, config, "the config")?;
    config.ca_file = config.ca_file.map(|file| base_dir.join(file));
    let project: ProjectSetup = from_python(py, project, "the project")?;
    let strider = Strider::new(config).map_err(|e| raise(py, &e))?;
    let token = Cancel::token(cancel);
    let cx = Context::builder().cancel(token.clone()).build();
    block(py, &token, async move { strider.set_up(&cx, &project).await })
}
