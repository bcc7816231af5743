use std::time::Instant;

use crate::{Context, Exec};

/// When a command must be over: by its own time or the context's, whichever is sooner.
pub fn deadline(cx: &Context, exec: &Exec) -> Option<Instant> {
    let own = exec.timeout.map(|d| Instant::now() + d);
    match (own, cx.deadline()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Ends when the caller loses patience: with `true` after a cancel, with `false` at the deadline.
pub async fn impatient(cx: &Context, deadline: Option<Instant>) -> bool {
    let late = async {
        match deadline {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cx.cancelled() => true,
        () = late => false,
    }
}
