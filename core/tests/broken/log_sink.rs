use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use towpath_core::testkit::log_sink::{LogSinkFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{Capabilities, Context, ErrorKind, LogRecord, LogSink, Preflight, Result};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn LogSink>,
    defect: Defect,
    /// Accepted and not handed on yet.
    held: Mutex<Vec<LogRecord>>,
}

#[async_trait]
impl LogSink for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn append(&self, cx: &Context, records: &[LogRecord]) -> Result<()> {
        let mut records = records.to_vec();
        match self.defect.name {
            "accepted_records_arrive_in_order" => records.reverse(),
            "every_field_arrives" => {
                for record in &mut records {
                    record.message = record.message.lines().collect::<Vec<_>>().join(" ");
                }
            }
            "an_empty_batch_is_a_success" if records.is_empty() => return Err(error(ErrorKind::InvalidInput)),
            "concurrent_batches_lose_nothing" => {
                // Reads, lets others in, writes back: the batches of those are lost.
                let mut held = self.held.lock().unwrap().clone();
                tokio::task::yield_now().await;
                held.append(&mut records);
                *self.held.lock().unwrap() = held;
                return Ok(());
            }
            "close_delivers_what_was_accepted" => {
                self.held.lock().unwrap().append(&mut records);
                return Ok(());
            }
            _ => {}
        }
        let taken = self.real.append(cx, &records).await;
        if self.defect.is("append_after_close_is_refused") { Ok(()) } else { taken }
    }

    async fn flush(&self, cx: &Context) -> Result<()> {
        if self.defect.is("flush_of_nothing_is_a_success") && self.defect.before() > 0 {
            return Err(error(ErrorKind::InvalidInput));
        }
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        self.real.append(cx, &held).await?;
        self.real.flush(cx).await
    }

    async fn close(&self, cx: &Context) -> Result<()> {
        if self.defect.is("close_is_idempotent") && self.defect.before() > 0 {
            return Err(error(ErrorKind::InvalidInput));
        }
        self.real.close(cx).await
    }
}

#[tokio::test]
async fn log_sink() {
    trial(
        behaviours(),
        async || reference::log_sink(),
        async |defect| {
            let f = reference::log_sink();
            let provider = Broken { real: f.provider, defect: Defect::new(defect), held: Mutex::default() };
            LogSinkFixture { provider: Arc::new(provider), ..f }
        },
    )
    .await;
}
