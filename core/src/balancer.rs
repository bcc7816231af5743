use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Capabilities, Context, Preflight, Result};

/// Spreads requests over backends.
#[async_trait]
pub trait Balancer: fmt::Debug + Send + Sync {
    /// What it can do: `add`, `drain`, `remove`, `wait_idle`.
    fn capabilities(&self) -> Capabilities;

    /// Checks that it answers.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Puts a backend into service. One that serves already is a success; a drained one serves again.
    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()>;

    /// Sends no new connections to a backend; those that exist go on. Drained already is a success.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound): no such backend.
    async fn drain(&self, cx: &Context, name: &str) -> Result<()>;

    /// Takes a backend out. Not there is a success.
    async fn remove(&self, cx: &Context, name: &str) -> Result<()>;

    /// Waits until a backend has no connection left; gives how many are left when `limit` is over. `0`: idle.
    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64>;

    /// Lists the backends.
    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>>;
}

/// Something that requests are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its name, the host's name in a rollout.
    pub name: String,
    /// Host name or address.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// A backend as the balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendState {
    /// The backend.
    pub backend: Backend,
    /// Whether it gets new connections.
    pub mode: BackendMode,
    /// Connections that it has now.
    pub connections: u64,
}

/// Whether a backend gets new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendMode {
    /// It does.
    Serving,
    /// It does not.
    Draining,
}
