use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Capabilities, Context, Environment, Plan, Preflight, Result};

/// Makes hosts and what they need. What it makes is its config; the environment's name is the context's.
#[async_trait]
pub trait Provisioner: fmt::Debug + Send + Sync {
    /// What it can do: `plan`, `apply`, `probe`, `destroy`. Anything else returns
    /// [`Unsupported`](crate::ErrorKind::Unsupported).
    fn capabilities(&self) -> Capabilities;

    /// Checks tool, version and credentials. Changes nothing.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Lists the changes [`apply`](Self::apply) would make, and makes none. An empty plan is a success.
    async fn plan(&self, cx: &Context) -> Result<Plan>;

    /// Makes the world as configured, and gives what is there then. Nothing to do is a success.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict): somebody else changes the same; retryable.
    /// [`Cancelled`](crate::ErrorKind::Cancelled): asked through `cx`; says what still runs, if anything.
    async fn apply(&self, cx: &Context) -> Result<Applied>;

    /// Looks at what exists now, and how it differs from the config. Nothing there is a success.
    async fn probe(&self, cx: &Context) -> Result<Probed>;

    /// Removes everything it made. Nothing there is a success with `changed == 0`.
    async fn destroy(&self, cx: &Context) -> Result<Destroyed>;
}

/// What [`Provisioner::apply`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// What is there now.
    pub environment: Environment,
    /// How many resources were made, changed or removed. `0`: everything was so already.
    pub changed: usize,
}

/// What [`Provisioner::probe`] found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// What is there now; `None`: nothing.
    pub environment: Option<Environment>,
    /// How it differs from the config; empty: not at all.
    pub drift: Plan,
}

/// What [`Provisioner::destroy`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// How many resources were removed.
    pub changed: usize,
}
