//! Waiting for something to become so.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, ErrorKind, Result, Retry};

use crate::PROVIDER;

/// How long is waited for AWS, and how often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Patience {
    /// Longest wait for one thing (an instance that runs, an AMI that is available), in seconds. 600 by default, 3600 for AMIs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_s: Option<u64>,

    /// Milliseconds between two questions. 3000 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10))]
    pub poll_ms: Option<u64>,
}

impl Patience {
    pub(crate) fn pause(self) -> Duration {
        Duration::from_millis(self.poll_ms.unwrap_or(3000).max(10))
    }

    pub(crate) fn limit(self) -> Duration {
        Duration::from_secs(self.timeout_s.unwrap_or(600))
    }

    /// The same for what takes as long as copying a disk.
    pub(crate) fn for_images(self) -> Self {
        Self { timeout_s: Some(self.timeout_s.unwrap_or(3600)), ..self }
    }
}

/// So many questions in a row may get no answer.
const UNANSWERED: u32 = 5;

/// Questions in a row that got no answer: one that gets none for once ends no work of an hour.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(u32);

impl Unanswered {
    /// Whether it is asked again after this failure.
    pub(crate) fn bears(&mut self, e: &Error) -> bool {
        let passing = e.retry() == Retry::Later && matches!(e.kind(), ErrorKind::Unreachable | ErrorKind::Timeout);
        self.0 += 1;
        passing && self.0 <= UNANSWERED
    }
}

/// What a look at something gave.
pub(crate) enum Look<T> {
    /// It is so.
    Done(T),
    /// Not yet; what it is now, for the error.
    NotYet(String),
}

/// What is waited for.
pub(crate) struct Wait<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) region: &'a str,
    pub(crate) operation: &'static str,
    /// `instance i-1 to run`.
    pub(crate) goal: String,
    pub(crate) patience: Patience,
}

impl Wait<'_> {
    /// Looks until it is so. `look` only reads: it is dropped on a cancel.
    pub(crate) async fn until<T, F>(&self, mut look: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<Look<T>>>,
    {
        let until = Instant::now() + self.patience.limit();
        let mut unanswered = Unanswered::default();
        loop {
            let state = match self.cx.guard(PROVIDER, self.operation, look()).await {
                Ok(Look::Done(done)) => return Ok(done),
                Ok(Look::NotYet(state)) => {
                    unanswered = Unanswered::default();
                    state
                }
                Err(e) if unanswered.bears(&e) => e.message().to_owned(),
                Err(e) => return Err(e),
            };
            if Instant::now() >= until {
                let message = format!(
                    "waited {} s for {}: look at it in the AWS console, or raise `wait.timeout_s`",
                    self.patience.limit().as_secs(),
                    self.goal
                );
                return Err(Error::new(ErrorKind::Timeout, PROVIDER, self.operation, message)
                    .with("region", self.region)
                    .with("state", state)
                    .retry_later());
            }
            self.cx.sleep(PROVIDER, self.operation, self.patience.pause()).await?;
        }
    }
}
