//! A started command with streams.

use std::io;
use std::time::Instant;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};
use towpath_core::{Context, Error, ErrorKind, Exec, ExitStatus, Process, ProcessControl, RemoteGroup, Result};

use super::exec::{Place, deadline, impatient};
use super::running::{Running, Said};
use super::start::{Input, start};

/// Most output that waits to be read, of each stream. More holds the command up, as a full pipe does.
const MOST_WAITING: usize = 64 << 20;

/// Starts a command with streams.
pub(super) async fn spawn(cx: &Context, place: &Place, exec: &Exec) -> Result<Process> {
    let until = deadline(cx, exec);
    let (stdin, reader) = tokio::io::duplex(1 << 18);
    let input: Box<dyn AsyncRead + Send + Unpin> = match &exec.stdin {
        Some(first) => Box::new(tokio::io::AsyncReadExt::chain(io::Cursor::new(first.clone()), reader)),
        None => Box::new(reader),
    };
    let run = start(cx, place, exec, Some(Input::Reader(input)), until).await?;
    let (out, stdout) = tokio::io::duplex(MOST_WAITING);
    let (err, stderr) = tokio::io::duplex(MOST_WAITING);
    let group = run.group.clone();
    let (ask, asked) = mpsc::channel(1);
    let (tell, state) = watch::channel(None);
    tokio::spawn(follow(run, cx.clone(), until, out, err, asked, tell));
    Ok(Process {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        control: Box::new(Control { place: place.clone(), group, ask, state }),
    })
}

/// How it came to its end: a status, or the kind of a failure and its words.
type Outcome = std::result::Result<ExitStatus, (ErrorKind, String)>;

async fn follow(
    mut run: Running,
    cx: Context,
    until: Option<Instant>,
    mut out: DuplexStream,
    mut err: DuplexStream,
    mut asked: mpsc::Receiver<()>,
    tell: watch::Sender<Option<Outcome>>,
) {
    let failed = |e: &Error| Err((e.kind(), e.report()));
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
            cancelled = impatient(&cx, until) => break failed(&run.end_for(cancelled).await),
            // Asked to end it, or nobody holds it any more.
            _ = asked.recv() => break match run.end().await {
                Ok(()) => Ok(ExitStatus::Signal("TERM".into())),
                Err(e) => failed(&e),
            },
        };
        match done {
            Ok(None) => {}
            Ok(Some(status)) => {
                run.finished().await;
                break Ok(status);
            }
            Err(e) => break failed(&e),
        }
    };
    let _ = tell.send(Some(outcome));
}

struct Control {
    place: Place,
    group: Option<RemoteGroup>,
    ask: mpsc::Sender<()>,
    state: watch::Receiver<Option<Outcome>>,
}

#[async_trait]
impl ProcessControl for Control {
    fn group(&self) -> Option<RemoteGroup> {
        self.group.clone()
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        let lost = || self.place.error(ErrorKind::Unreachable, "the command is not followed any more");
        let outcome = match self.state.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => return Err(lost()),
        };
        match outcome {
            Some(Ok(status)) => Ok(status),
            Some(Err((kind, message))) => Err(self.place.error(kind, message)),
            None => Err(lost()),
        }
    }

    async fn end(&mut self) -> Result<()> {
        if self.state.borrow().is_some() || self.ask.send(()).await.is_err() {
            return Ok(());
        }
        self.wait().await.map(drop)
    }
}
