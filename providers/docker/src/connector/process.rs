//! A started command with streams.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncWriteExt as _, DuplexStream};
use towpath_core::posix::{Follower, Input, deadline, failed_outcome, followed, impatient};
use towpath_core::{Context, Error, Exec, ExitStatus, Process, Result};

use super::exec::Place;
use super::running::{Running, Said};
use super::start::start;
use crate::PROVIDER;

/// Most output that waits to be read, of each stream. More holds the command up, as a full pipe does.
const MOST_WAITING: usize = 64 << 20;

/// Starts a command with streams.
pub(super) async fn spawn(cx: &Context, place: &Place, exec: &Exec) -> Result<Process> {
    let until = deadline(cx, exec);
    let (stdin, input) = Input::of_process(exec);
    let run = start(cx, place, exec, Some(input), until).await?;
    let (out, stdout) = tokio::io::duplex(MOST_WAITING);
    let (err, stderr) = tokio::io::duplex(MOST_WAITING);
    let (control, follower) = followed(PROVIDER, Arc::clone(&place.host), run.tracked.group.clone());
    tokio::spawn(follow(run, cx.clone(), until, out, err, follower));
    Ok(Process {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        control: Box::new(control),
    })
}

async fn follow(
    mut run: Running,
    cx: Context,
    until: Option<Instant>,
    mut out: DuplexStream,
    mut err: DuplexStream,
    mut follower: Follower,
) {
    let early = [Said::Out(std::mem::take(&mut run.stdout).into()), Said::Err(std::mem::take(&mut run.stderr).into())];
    let mut early = early.into_iter();
    let outcome = loop {
        let step = async {
            let now = match early.next() {
                Some(said) => said,
                None => run.next().await?,
            };
            // Output that nobody wants is dropped.
            match now {
                Said::Out(data) => drop(out.write_all(&data).await),
                Said::Err(data) => drop(err.write_all(&data).await),
                Said::Ended(status) => return Ok(Some(status)),
            }
            Ok::<_, Error>(None)
        };
        let done = tokio::select! {
            biased;
            done = step => done,
            cancelled = impatient(&cx, until) => break failed_outcome(&run.end_for(cancelled).await),
            // Asked to end it, or nobody holds it any more.
            _ = follower.asked.recv() => break match run.end().await {
                Ok(()) => Ok(ExitStatus::Signal("TERM".into())),
                Err(e) => failed_outcome(&e),
            },
        };
        match done {
            Ok(None) => {}
            Ok(Some(status)) => {
                run.tracked.finished().await;
                break Ok(status);
            }
            Err(e) => break failed_outcome(&e),
        }
    };
    follower.tell(outcome);
}
