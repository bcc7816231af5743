//! Ends a run of Packer whose towpath is gone.

use std::time::Duration;

use tokio::time::Instant;
use towpath_core::{Context, Error, LocalProcess, Result, Retry};

use crate::provider::PACKER;
use crate::work::Work;

/// How long a run that nobody can find may hold its output. A process shows no mark before its program is loaded, nor between the loss of its
/// memory and its end; its files are open then.
const UNSEEN: Duration = Duration::from_secs(5);

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
    let mut ended = Ended::default();
    let mut until = Instant::now() + UNSEEN;
    loop {
        let processes = mark.processes();
        ended.found.extend(processes.iter().map(|p| p.name()));
        if let Some(first) = processes.first().copied() {
            // Packer leads a group of its own; a child of it is found first only if Packer itself is gone.
            let leader_is_ours = processes.iter().any(|p| p.pid() == first.group());
            if leader_is_ours {
                interrupted(cx, operation, work, first, grace).await?;
            }
            ended.killed |= !leader_is_ours || first.is_alive();
            ended.left = mark.kill_all().await;
            until = Instant::now() + UNSEEN;
        }
        if !ended.left.is_empty() || !work.is_running() {
            return Ok(ended);
        }
        if Instant::now() > until {
            ended.left.push("packer, on another machine, in another container or of another user".to_owned());
            return Ok(ended);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Interrupts a run, and waits until it has ended or its time is over.
async fn interrupted(
    cx: &Context,
    operation: &'static str,
    work: &Work,
    leader: LocalProcess,
    grace: Duration,
) -> Result<()> {
    work.interrupt(grace).send(leader.group());
    let until = Instant::now() + grace;
    while leader.is_alive() && Instant::now() < until {
        if let Err(e) = cx.check(PACKER, operation) {
            let what = "asked to stop while packer, whose towpath is gone, was cleaning up; the next build of this image looks after it";
            let error = Error::new(e.kind(), PACKER, operation, what).with("still_running", leader.name());
            return Err(if e.retry() == Retry::Later { error.retry_later() } else { error });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    async fn ended(held_for: Duration) -> Ended {
        let image = tempfile::tempdir().unwrap();
        let work = Work::new(image.path(), "build", Some("k")).unwrap();
        let output = File::create(work.stdout()).unwrap();
        output.lock().unwrap();
        let holder = tokio::spawn(async move {
            tokio::time::sleep(held_for).await;
            drop(output);
        });
        let ended = end(&Context::new(), "build", &work, Duration::from_secs(1)).await.unwrap();
        holder.abort();
        ended
    }

    /// As a process does that was killed, and has lost its memory already.
    #[tokio::test]
    async fn what_is_just_ending_is_waited_for() {
        let ended = ended(Duration::from_millis(300)).await;
        assert!(ended.left.is_empty() && ended.found.is_empty() && !ended.killed, "{ended:?}");
    }

    #[tokio::test]
    async fn what_can_not_be_seen_is_told() {
        let ended = ended(Duration::from_secs(60)).await;
        assert_eq!(ended.left.len(), 1, "{ended:?}");
    }
}
