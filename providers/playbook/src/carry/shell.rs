//! A shell on a host that runs one script after the other.
//!
//! Scripts are written without waiting for the answers to the ones before. One task per shell writes and reads at the same
//! time, since each side may have to wait for the other to read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use towpath_core::{Become, Connection, Context, Error, ErrorKind, Exec, Process, Result};

use super::frame::{Lost, Output, Reader, Script};
use super::{look, preamble};
use crate::PLAYBOOK;

/// How long a host may take until its shell says the first word, and to be silent under a script of the engine.
const FIRST_WORD: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(1800);

struct Job {
    nonce: String,
    text: String,
    /// What it will look at, if it says so and only reads.
    looks: Vec<(String, String)>,
    /// Nobody waits for its answer yet.
    early: bool,
    patience: Option<Duration>,
    answer: oneshot::Sender<Result<Output>>,
}

/// How to end a shell, and to know that it has ended.
#[derive(Debug)]
struct Ending {
    stop: CancellationToken,
    ended: watch::Receiver<bool>,
}

impl Ending {
    async fn wait(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    async fn now(&self) {
        self.stop.cancel();
        self.wait().await;
    }
}

/// A shell. Dropping it lets it finish what it was sent, and ends it.
#[derive(Debug)]
pub(crate) struct Shell {
    queue: mpsc::UnboundedSender<Job>,
    ending: Arc<Ending>,
}

/// The answer to a script that was sent. Dropping it drops the answer; the script runs all the same.
#[derive(Debug)]
pub(crate) struct Ticket {
    answer: oneshot::Receiver<Result<Output>>,
    ending: Arc<Ending>,
}

impl Ticket {
    /// Waits for the answer. On cancel and at the deadline the shell is ended, with what it runs.
    pub(crate) async fn wait(self, cx: &Context) -> Result<Output> {
        let Self { answer, ending } = self;
        let work = async { Ok(answer.await) };
        match cx.guard(PLAYBOOK, "shell", work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::new(ErrorKind::Unreachable, PLAYBOOK, "shell", "the shell on the host has ended")),
            Err(stopped) => {
                ending.now().await;
                Err(stopped)
            }
        }
    }
}

impl Shell {
    /// Starts one. Does not wait for its first word.
    pub(crate) async fn open(cx: &Context, connection: &dyn Connection, become_: Option<Become>) -> Result<Self> {
        let mut exec = Exec::argv(["/bin/sh"]);
        exec.r#become = become_;
        let process = connection.spawn(cx, &exec).await?;
        let (queue, jobs) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (tell, ended) = watch::channel(false);
        let worker = Worker { host: connection.host().to_owned(), stop: stop.clone() };
        tokio::spawn(async move {
            worker.run(process, jobs).await;
            let _ = tell.send(true);
        });
        Ok(Self { queue, ending: Arc::new(Ending { stop, ended }) })
    }

    /// Sends a script. It runs in a subshell of its own once those before it are done.
    pub(crate) fn send(&self, script: &Script) -> Ticket {
        self.enqueue(script, false)
    }

    /// Sends a probe whose answer nobody waits for yet: it may be held back for a moment, for more to come.
    pub(crate) fn send_early(&self, script: &Script) -> Ticket {
        self.enqueue(script, true)
    }

    fn enqueue(&self, script: &Script, early: bool) -> Ticket {
        let nonce = nonce();
        let (tell, answer) = oneshot::channel();
        let patience = (!script.foreign).then_some(SILENCE);
        // If the shell has ended, the answer's sender is dropped, and the ticket says so.
        let looks = if script.foreign { Vec::new() } else { look::of(&script.text).0 };
        let _ = self.queue.send(Job { text: script.framed(&nonce), nonce, looks, early, patience, answer: tell });
        Ticket { answer, ending: Arc::clone(&self.ending) }
    }

    /// Whether it can't run anything any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Ends it, after what it was sent.
    pub(crate) async fn close(self) {
        let Self { queue, ending } = self;
        drop(queue);
        if tokio::time::timeout(Duration::from_secs(2), ending.wait()).await.is_err() {
            ending.now().await;
        }
    }
}

fn nonce() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// How long early probes wait for others. Rendering the next one takes a tenth of it.
const LINGER: Duration = Duration::from_millis(1);
/// Most scripts that are sent together.
const TOGETHER: usize = 64;

/// A job and all that are there by now; after early ones also those that follow at once.
async fn batch(first: Job, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Vec<Job> {
    let mut all = vec![first];
    while all.len() < TOGETHER {
        let next = match jobs.try_recv() {
            Ok(job) => Some(job),
            Err(_) if all.last().is_some_and(|j| j.early) => {
                tokio::time::timeout(LINGER, jobs.recv()).await.ok().flatten()
            }
            Err(_) => None,
        };
        match next {
            Some(job) => all.push(job),
            None => break,
        }
    }
    all
}

/// The text of a batch: before each run of probes that say what they will look at, the question for all of them.
fn together(batch: &[Job]) -> String {
    let mut text = String::new();
    for run in batch.chunk_by(|a, b| !a.looks.is_empty() && !b.looks.is_empty()) {
        let looks: Vec<_> = run.iter().flat_map(|job| job.looks.iter().cloned()).collect();
        let ahead = look::ahead(&looks);
        text.push_str(&ahead);
        run.iter().for_each(|job| text.push_str(&job.text));
        if !ahead.is_empty() {
            text.push_str(look::FORGET);
        }
    }
    text
}

struct Worker {
    host: String,
    stop: CancellationToken,
}

/// A script whose answer is awaited.
struct Awaited {
    nonce: String,
    patience: Option<Duration>,
    answer: Option<oneshot::Sender<Result<Output>>>,
}

impl Worker {
    async fn run(self, process: Process, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let Process { mut stdin, stdout, mut stderr, mut control } = process;
        let first = nonce();
        let opening = preamble::text(&first);
        let (expect, mut expected) = mpsc::unbounded_channel();
        let _ = expect.send(Awaited { nonce: first, patience: Some(FIRST_WORD), answer: None });
        let mut said = Tail::default();
        let mut reader = Reader::new(stdout);
        let mut under_way = VecDeque::new();
        let result = {
            let write = async {
                let mut text = opening;
                loop {
                    if stdin.write_all(text.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
                        // The reader sees the end of the stream, and knows who waits.
                        break;
                    }
                    let Some(job) = jobs.recv().await else { break };
                    let batch = batch(job, &mut jobs).await;
                    text = together(&batch);
                    for Job { nonce, patience, answer, .. } in batch {
                        let _ = expect.send(Awaited { nonce, patience, answer: Some(answer) });
                    }
                }
                let _ = stdin.shutdown().await;
                drop(expect);
                std::future::pending::<()>().await;
            };
            let read = async {
                while let Some(mut awaited) = expected.recv().await {
                    let answer = reader.answer(&awaited.nonce);
                    let answer = match awaited.patience {
                        Some(limit) => tokio::time::timeout(limit, answer).await,
                        None => Ok(answer.await),
                    };
                    match answer {
                        Ok(Ok(output)) => {
                            if let Some(tell) = awaited.answer.take() {
                                let _ = tell.send(Ok(output));
                            }
                        }
                        Ok(Err(lost)) => {
                            under_way.push_back(awaited);
                            return Some(Trouble::Lost(lost));
                        }
                        Err(_) => {
                            let limit = awaited.patience.unwrap_or_default();
                            under_way.push_back(awaited);
                            return Some(Trouble::Silent(limit));
                        }
                    }
                }
                None
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Some(Trouble::Stopped),
                trouble = read => trouble,
                () = write => None,
                () = said.follow(&mut *stderr) => None,
            }
        };
        jobs.close();
        match result {
            None => {
                if tokio::time::timeout(Duration::from_secs(2), control.wait()).await.is_err() {
                    let _ = control.end().await;
                }
            }
            Some(trouble) => {
                if matches!(trouble, Trouble::Lost(Lost::Ended(_))) {
                    // What it said last may be on its way still.
                    let _ = tokio::time::timeout(Duration::from_millis(100), said.drain(&mut *stderr)).await;
                }
                let ended = control.end();
                // A transport that is gone can't say that anything has ended.
                let _ = tokio::time::timeout(Duration::from_secs(15), ended).await;
                while let Ok(awaited) = expected.try_recv() {
                    under_way.push_back(awaited);
                }
                for tell in under_way.into_iter().filter_map(|a| a.answer) {
                    let _ = tell.send(Err(self.error(&trouble, &said)));
                }
                while let Ok(job) = jobs.try_recv() {
                    let _ = job.answer.send(Err(self.error(&trouble, &said)));
                }
            }
        }
    }

    fn error(&self, trouble: &Trouble, said: &Tail) -> Error {
        let error = |kind, message: String| Error::new(kind, PLAYBOOK, "shell", message).with("host", &self.host);
        match trouble {
            Trouble::Stopped => error(ErrorKind::Cancelled, "the shell on the host was ended".into()),
            Trouble::Silent(limit) => {
                error(ErrorKind::Unreachable, format!("the shell on the host gave no answer for {} s", limit.as_secs()))
            }
            Trouble::Lost(Lost::TooMuch) => error(
                ErrorKind::Protocol,
                format!("more than {} MiB of output; the shell was ended", preamble::MOST_BYTES >> 20),
            ),
            Trouble::Lost(Lost::NoDirectory) => error(
                ErrorKind::Unreachable,
                "there is no folder on the host in which temporary files can be made; tried /dev/shm, $TMPDIR, /tmp \
                 and /var/tmp"
                    .into(),
            ),
            Trouble::Lost(Lost::Garbage) => {
                error(ErrorKind::Protocol, "the shell on the host answers what no shell would".into())
            }
            Trouble::Lost(Lost::Ended(cause)) => {
                let error = error(ErrorKind::Unreachable, "the shell on the host has ended".into());
                match (said.text(), cause) {
                    (text, _) if !text.is_empty() => error.caused_by(text),
                    (_, Some(e)) => error.caused_by(e.to_string()),
                    _ => error,
                }
            }
        }
    }
}

enum Trouble {
    Stopped,
    Silent(Duration),
    Lost(Lost),
}

/// The last words on standard error: why sudo refused, for one.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    const MOST: usize = 4096;

    async fn drain(&mut self, stream: &mut (dyn AsyncRead + Send + Unpin)) {
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            self.0.extend(buffer.get(..n).unwrap_or_default());
            let over = self.0.len().saturating_sub(Self::MOST);
            self.0.drain(..over);
        }
    }

    async fn follow(&mut self, stream: &mut (dyn AsyncRead + Send + Unpin)) {
        self.drain(stream).await;
        std::future::pending().await
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}
