//! What every [`LogSink`] does.

use std::sync::Arc;

use super::suite::{Act, Keep, fails, known, suite};
use crate::{Context, ErrorKind, Json, LogRecord, LogSink, Severity, Timestamp};

/// A sink that holds nothing yet.
pub struct LogSinkFixture {
    /// The provider.
    pub provider: Arc<dyn LogSink>,
    /// Reads what has arrived, in the order in which it did.
    pub arrived: Act<(), Vec<LogRecord>>,
    /// Where it works.
    pub cx: Context,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ log_sink log_sink_behaviour LogSinkFixture {
    preflight_answers,
    capabilities_are_known_names,
    accepted_records_arrive_in_order,
    every_field_arrives,
    an_empty_batch_is_a_success,
    concurrent_batches_lose_nothing,
    flush_of_nothing_is_a_success,
    close_delivers_what_was_accepted,
    append_after_close_is_refused,
    close_is_idempotent,
});

fn line(n: usize) -> LogRecord {
    LogRecord {
        at: Timestamp(1_700_000_000_000 + n as u64),
        severity: Severity::Info,
        host: Some("web-1".into()),
        source: "web".into(),
        message: format!("line {n}"),
        fields: Default::default(),
    }
}

fn lines(range: std::ops::Range<usize>) -> Vec<LogRecord> {
    range.map(line).collect()
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: LogSinkFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// A sink has all verbs of the trait.
pub async fn capabilities_are_known_names(f: LogSinkFixture) {
    known(&f.provider.capabilities(), &["append", "flush", "close"]);
    assert_eq!(f.provider.capabilities().verbs, ["append", "close", "flush"]);
}

/// After a flush, everything is where it belongs.
pub async fn accepted_records_arrive_in_order(f: LogSinkFixture) {
    f.provider.append(&f.cx, &lines(0..100)).await.expect("append");
    f.provider.append(&f.cx, &lines(100..101)).await.expect("append");
    f.provider.flush(&f.cx).await.expect("flush");
    assert_eq!((f.arrived)(()).await, lines(0..101));
}

/// Nothing is flattened or cut: newlines, quotes, other scripts, long lines, fields.
pub async fn every_field_arrives(f: LogSinkFixture) {
    let fields = [
        ("status".to_owned(), Json::from(500)),
        ("user".to_owned(), Json::from("Zoë \"Z\"")),
        ("nested".to_owned(), serde_json::json!({ "a": [1, 2.5, null, true] })),
    ];
    let record = LogRecord {
        at: Timestamp(1_700_000_000_123),
        severity: Severity::Error,
        host: None,
        source: "web/worker".into(),
        message: format!("first\nsecond\t\"quoted\" \\ \u{1F6A2} \u{0}{}", "x".repeat(20_000)),
        fields: fields.into_iter().collect(),
    };
    f.provider.append(&f.cx, std::slice::from_ref(&record)).await.expect("append");
    f.provider.flush(&f.cx).await.expect("flush");
    assert_eq!((f.arrived)(()).await, [record]);
}

/// And writes nothing.
pub async fn an_empty_batch_is_a_success(f: LogSinkFixture) {
    f.provider.append(&f.cx, &[]).await.expect("append");
    f.provider.flush(&f.cx).await.expect("flush");
    assert_eq!((f.arrived)(()).await, []);
}

/// Batches may be handed over from many tasks; each stays whole and in order.
pub async fn concurrent_batches_lose_nothing(f: LogSinkFixture) {
    let batches = (0..20).map(|n| {
        let (sink, cx) = (Arc::clone(&f.provider), f.cx.clone());
        tokio::spawn(async move { sink.append(&cx, &lines(n * 50..(n + 1) * 50)).await })
    });
    for batch in batches.collect::<Vec<_>>() {
        batch.await.unwrap().expect("append");
    }
    f.provider.flush(&f.cx).await.expect("flush");
    let arrived = (f.arrived)(()).await;
    for n in 0..20 {
        let batch: Vec<_> = lines(n * 50..(n + 1) * 50);
        let found: Vec<_> = arrived.iter().filter(|r| batch.contains(r)).cloned().collect();
        assert_eq!(found, batch, "batch {n}");
    }
    assert_eq!(arrived.len(), 1000);
}

/// Twice, too.
pub async fn flush_of_nothing_is_a_success(f: LogSinkFixture) {
    f.provider.flush(&f.cx).await.expect("flush");
    f.provider.flush(&f.cx).await.expect("second flush");
}

/// No flush is needed before.
pub async fn close_delivers_what_was_accepted(f: LogSinkFixture) {
    f.provider.append(&f.cx, &lines(0..3)).await.expect("append");
    f.provider.close(&f.cx).await.expect("close");
    assert_eq!((f.arrived)(()).await, lines(0..3));
}

/// What comes too late is the caller's to keep.
pub async fn append_after_close_is_refused(f: LogSinkFixture) {
    f.provider.append(&f.cx, &lines(0..1)).await.expect("append");
    f.provider.close(&f.cx).await.expect("close");
    fails(ErrorKind::InvalidInput, f.provider.append(&f.cx, &lines(1..2)).await);
    assert_eq!((f.arrived)(()).await, lines(0..1), "a refused record does not arrive");
}

/// Closed already is a success.
pub async fn close_is_idempotent(f: LogSinkFixture) {
    f.provider.close(&f.cx).await.expect("close");
    f.provider.close(&f.cx).await.expect("second close");
}
