//! A started command with streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Poller, Poll, ready};

use bytes::{Buf as _, Bytes};
use russh::ChannelMsg;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use towpath_core::posix::{Follower, Input, deadline, failed_outcome, followed, impatient};
use towpath_core::{Context, ErrorKind, Exec, ExitStatus, Process, Result};

use crate::PROVIDER;
use crate::exec::Place;
use crate::running::{Running, signal_name};
use crate::start::start;

/// Most output that waits to be read. Output can't be left on the wire: it would hold up all that shares the transport.
const MOST_WAITING: usize = 64 << 20;

/// Starts a command with streams.
pub(crate) async fn spawn(cx: &Context, place: &Place, exec: &Exec) -> Result<Process> {
    let until = deadline(cx, exec);
    let (stdin, input) = Input::of_process(exec);
    let mut run = start(cx, place, exec, Some(input), until).await?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let (out, stdout) = pipe(&waiting);
    let (err, stderr) = pipe(&waiting);
    out.send(std::mem::take(&mut run.stdout).into());
    err.send(std::mem::take(&mut run.stderr).into());
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
    until: Option<std::time::Instant>,
    out: Sender,
    err: Sender,
    mut follower: Follower,
) {
    let outcome = loop {
        let early = run.early.take().map(|status| match status {
            ExitStatus::Code(code) => ChannelMsg::ExitStatus { exit_status: code.cast_unsigned() },
            ExitStatus::Signal(name) => ChannelMsg::ExitSignal {
                signal_name: russh::Sig::Custom(name),
                core_dumped: false,
                error_message: String::new(),
                lang_tag: String::new(),
            },
        });
        let message = tokio::select! {
            biased;
            () = std::future::ready(()), if early.is_some() => early,
            cancelled = impatient(&cx, until) => break failed_outcome(&run.end_for(cancelled).await),
            // Asked to end it, or nobody holds it any more.
            _ = follower.asked.recv() => break match run.end().await {
                Ok(()) => Ok(ExitStatus::Signal("TERM".into())),
                Err(e) => failed_outcome(&e),
            },
            message = run.read.wait() => message,
        };
        match message {
            Some(ChannelMsg::Data { data }) => out.send(data),
            Some(ChannelMsg::ExtendedData { data, .. }) => err.send(data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                run.tracked.finished().await;
                follower.tell(Ok(ExitStatus::Code(exit_status.cast_signed())));
                run.rest(|is_err, data| if is_err { err.copy(data) } else { out.copy(data) }).await;
                return;
            }
            Some(ChannelMsg::ExitSignal { signal_name: signal, .. }) => {
                run.tracked.finished().await;
                break Ok(ExitStatus::Signal(signal_name(&signal)));
            }
            None | Some(ChannelMsg::Close) => {
                break Err((
                    ErrorKind::Unreachable,
                    "the connection broke; whether the command runs on is not known".into(),
                ));
            }
            Some(_) => {}
        }
        if out.waiting.load(Ordering::Relaxed) > MOST_WAITING {
            let _ = run.end().await;
            break Err((ErrorKind::Protocol, format!("nobody reads its output: more than {MOST_WAITING} bytes wait")));
        }
    };
    follower.tell(outcome);
}

/// Where output is put. Never waits.
struct Sender {
    queue: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

struct Receiver {
    queue: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    now: Bytes,
}

fn pipe(waiting: &Arc<AtomicUsize>) -> (Sender, Receiver) {
    let (send, queue) = mpsc::unbounded_channel();
    let receiver = Receiver { queue, waiting: Arc::clone(waiting), now: Bytes::new() };
    (Sender { queue: send, waiting: Arc::clone(waiting) }, receiver)
}

impl Sender {
    fn send(&self, data: Bytes) {
        let length = data.len();
        // Output that nobody wants is dropped.
        if length > 0 && self.queue.send(data).is_ok() {
            self.waiting.fetch_add(length, Ordering::Relaxed);
        }
    }

    fn copy(&self, data: &[u8]) {
        self.send(Bytes::copy_from_slice(data));
    }
}

impl AsyncRead for Receiver {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.now.is_empty() {
            match ready!(self.queue.poll_recv(cx)) {
                Some(data) => self.now = data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.now.len().min(buf.remaining());
        buf.put_slice(self.now.get(..n).unwrap_or_default());
        self.now.advance(n);
        self.waiting.fetch_sub(n, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
