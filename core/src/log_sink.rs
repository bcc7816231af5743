use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Capabilities, Context, Json, Preflight, Result, Timestamp};

/// Takes log records.
#[async_trait]
pub trait LogSink: fmt::Debug + Send + Sync {
    /// What it can do: `append`, `flush`, `close`.
    fn capabilities(&self) -> Capabilities;

    /// Checks that it answers and that the credentials work.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Hands over a batch. Returns when the sink has accepted it; an accepted record is delivered at least once.
    ///
    /// # Errors
    ///
    /// On any error no record of the batch counts as accepted: the caller keeps it.
    async fn append(&self, cx: &Context, records: &[LogRecord]) -> Result<()>;

    /// Waits until everything accepted is where it belongs.
    async fn flush(&self, cx: &Context) -> Result<()>;

    /// Flushes and closes. A later `append` fails with [`InvalidInput`](crate::ErrorKind::InvalidInput).
    async fn close(&self, cx: &Context) -> Result<()>;
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogRecord {
    /// When it was written.
    pub at: Timestamp,
    /// How grave it is.
    #[serde(default)]
    pub severity: Severity,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The program or service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The text.
    pub message: String,
    /// More fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Json>,
}

/// How grave a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For developers.
    Debug,
    /// Ordinary.
    #[default]
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}
