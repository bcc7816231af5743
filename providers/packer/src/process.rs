//! Ends a run of Packer whose towpath is gone.

use std::time::Duration;

use towpath_core::{Context, Error, Result, Retry};

use crate::provider::PACKER;
use crate::work::Work;

/// What ending somebody else's run came to.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// What was running.
    pub(crate) found: Vec<String>,
    /// It had to be killed, so it could not clean up.
    pub(crate) killed: bool,
    /// What runs on all the same.
    pub(crate) left: Vec<String>,
}

/// Ends a run whose towpath is gone: an interrupt, so that Packer removes what its builders made, and a kill if that takes
/// longer than `grace`.
///
/// # Errors
///
/// A cancel or the deadline: what was interrupted cleans up still, and whoever comes next must look after it.
pub(crate) async fn end(cx: &Context, operation: &'static str, work: &Work, grace: Duration) -> Result<Ended> {
    let mark = work.mark();
    let processes = mark.processes();
    let mut ended = Ended { found: processes.iter().map(|p| p.name()).collect(), ..Ended::default() };
    if let Some(first) = processes.first().copied() {
        // Packer leads a group of its own; a child of it is found first only if Packer itself is gone.
        let leader_is_ours = processes.iter().any(|p| p.pid() == first.group());
        if leader_is_ours {
            work.interrupt(grace).send(first.group());
            let until = tokio::time::Instant::now() + grace;
            while first.is_alive() && tokio::time::Instant::now() < until {
                if let Err(e) = cx.check(PACKER, operation) {
                    let what = "asked to stop while packer, whose towpath is gone, was cleaning up; the next build of this image looks after it";
                    let error = Error::new(e.kind(), PACKER, operation, what).with("still_running", first.name());
                    return Err(if e.retry() == Retry::Later { error.retry_later() } else { error });
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        ended.killed = !leader_is_ours || first.is_alive();
        ended.left = mark.kill_all().await;
    }
    if ended.left.is_empty() && work.is_running() {
        ended.left.push("packer, on another machine, in another container or of another user".to_owned());
    }
    Ok(ended)
}
