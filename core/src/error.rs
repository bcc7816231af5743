use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What towpath's calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong: a config, a pipeline file, a playbook. Nothing was touched.
    InvalidInput,
    /// The named stack, host, image, release or file does not exist.
    NotFound,
    /// The thing to create exists already and differs.
    AlreadyExists,
    /// Somebody else holds what is needed, or the world changed since it was looked at.
    Conflict,
    /// The host or service can't be reached.
    Unreachable,
    /// Reached, but refused: key, password, token, host key.
    Denied,
    /// The time given was not enough.
    Timeout,
    /// Asked for through the [`Context`](crate::Context); the message names what still runs, if anything.
    Cancelled,
    /// The provider lacks this capability.
    Unsupported,
    /// An external tool is missing or too old; the message says what to install.
    ToolMissing,
    /// An external tool or remote command ran and failed; its own text is the cause.
    ToolFailed,
    /// A health check or gate said no.
    Unhealthy,
    /// An effect that can't be probed was interrupted by a crash; somebody must say whether to run it again.
    Interrupted,
    /// The store can't be written or read: full, read-only, torn, foreign.
    Storage,
    /// An answer that makes no sense: the other side broke its protocol.
    Protocol,
    /// A defect in towpath itself.
    Internal,
}

impl ErrorKind {
    /// The kind's name as it stands in JSON, for example `not_found`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::ToolMissing => "tool_missing",
            Self::ToolFailed => "tool_failed",
            Self::Unhealthy => "unhealthy",
            Self::Interrupted => "interrupted",
            Self::Storage => "storage",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

/// Whether the same call may succeed later without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It fails again until somebody changes something.
    Never,
    /// It may succeed later: a lock, a restart, an overloaded server.
    Later,
}

/// A failure: what happened, where, and its cause.
///
/// `Display` is one line without the cause; [`Error::report`] adds the causes. Neither ever holds a secret: callers put
/// no secret into messages, and the event stream masks known ones.
#[derive(thiserror::Error)]
#[error("{provider} {operation}: {message}{}", ContextList(.context))]
pub struct Error {
    kind: ErrorKind,
    retry: Retry,
    provider: &'static str,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error that is not worth retrying.
    pub fn new(kind: ErrorKind, provider: &'static str, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            retry: Retry::Never,
            provider,
            operation,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }
    }

    /// Adds where it happened: `host`, `task`, `file` (as `path:line`), `step`, `exit_status`. Never a secret.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key, value.to_string()));
        self
    }

    /// Adds `key` unless some callee already said it, so that the innermost place wins.
    #[must_use]
    pub fn with_missing(self, key: &'static str, value: impl fmt::Display) -> Self {
        if self.get(key).is_some() { self } else { self.with(key, value) }
    }

    /// Marks it as worth a retry.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.retry = Retry::Later;
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying again may help.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// The provider that failed, `core` for the engine itself.
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// The verb that failed.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The sentence alone, without provider and context.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value of one context key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// All context, in the order in which it was added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.context.iter().map(|(k, v)| (*k, v.as_str()))
    }

    /// The error and its causes, one per line.
    pub fn report(&self) -> String {
        let mut out = self.to_string();
        let mut cause = self.source();
        while let Some(c) = cause {
            out.push_str("\n  caused by: ");
            out.push_str(&c.to_string());
            cause = c.source();
        }
        out
    }

    /// The error as journals, events and run pages carry it.
    pub fn record(&self) -> ErrorRecord {
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(c) = cause {
            causes.push(c.to_string());
            cause = c.source();
        }
        ErrorRecord {
            kind: self.kind,
            retry: self.retry,
            provider: self.provider.to_owned(),
            operation: self.operation.to_owned(),
            message: self.message.clone(),
            context: self.context.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
            causes,
        }
    }
}

/// Shows the same as [`Error::report`], since a test's `unwrap` is read by a person.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind.as_str(), self.report())
    }
}

struct ContextList<'a>(&'a Vec<(&'static str, String)>);

impl fmt::Display for ContextList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (k, v)) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { ", " })?;
            write!(f, "{k}={v}")?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// An [`Error`] as data: it can be stored, sent and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// What a caller can act on.
    pub kind: ErrorKind,
    /// Whether trying again may help.
    pub retry: Retry,
    /// The provider that failed.
    pub provider: String,
    /// The verb that failed.
    pub operation: String,
    /// The sentence.
    pub message: String,
    /// Where it happened, in the order in which it was added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<(String, String)>,
    /// The causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl fmt::Display for ErrorRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.provider, self.operation, self.message)?;
        for (i, (k, v)) in self.context.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { ", " })?;
            write!(f, "{k}={v}")?;
        }
        if !self.context.is_empty() {
            f.write_str(")")?;
        }
        for c in &self.causes {
            write!(f, "\n  caused by: {c}")?;
        }
        Ok(())
    }
}
