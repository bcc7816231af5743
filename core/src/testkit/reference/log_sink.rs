use std::sync::Arc;

use async_trait::async_trait;

use super::{Shared, error};
use crate::testkit::log_sink::LogSinkFixture;
use crate::{Capabilities, Context, ErrorKind, LogRecord, LogSink, Preflight, Result};

/// Keeps records in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryLogSink {
    records: Shared<Vec<LogRecord>>,
    closed: Shared<bool>,
}

/// A sink that holds nothing.
pub fn log_sink() -> LogSinkFixture {
    let provider = MemoryLogSink::default();
    let records = provider.records.clone();
    let arrived = move |()| {
        let records = records.lock().clone();
        Box::pin(async move { records }) as _
    };
    LogSinkFixture { provider: Arc::new(provider), arrived: Box::new(arrived), cx: Context::new(), keep: Box::new(()) }
}

#[async_trait]
impl LogSink for MemoryLogSink {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["append", "flush", "close"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn append(&self, cx: &Context, records: &[LogRecord]) -> Result<()> {
        cx.check("memory", "append")?;
        if *self.closed.lock() {
            return Err(error(ErrorKind::InvalidInput, "append", "the sink is closed"));
        }
        self.records.lock().extend_from_slice(records);
        Ok(())
    }

    async fn flush(&self, cx: &Context) -> Result<()> {
        cx.check("memory", "flush")
    }

    async fn close(&self, _: &Context) -> Result<()> {
        *self.closed.lock() = true;
        Ok(())
    }
}
