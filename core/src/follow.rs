use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep_until};

use crate::{Connection, Context, Error, ErrorKind, Exec, ExitStatus, Process, Result};

/// After its end: how long output may be on its way, or a child in the background may hold the pipe.
const GRACE: Duration = Duration::from_secs(2);

/// Most bytes of one line that are kept; the rest of it is dropped.
const MOST: usize = 1 << 20;

/// Runs a command on a host, hands every line of its output to `see` (`true`: of standard error), and gives its status. A daemon that
/// keeps the pipe does not hold it.
///
/// Lines are neither masked nor told to anybody: that is the caller's business.
///
/// # Errors
///
/// [`Cancelled`](ErrorKind::Cancelled), [`Timeout`](ErrorKind::Timeout): its process group was ended, or the error says what may run
/// still. Those of the connection.
pub async fn follow_lines(
    cx: &Context,
    connection: &dyn Connection,
    exec: &Exec,
    provider: &'static str,
    mut see: impl FnMut(bool, &str),
) -> Result<ExitStatus> {
    let until = [exec.timeout.map(|d| Instant::now() + d), cx.deadline().map(Into::into)].into_iter().flatten().min();
    let Process { stdin, stdout, stderr, mut control } = connection.spawn(cx, exec).await?;
    drop(stdin);
    let (mut out, mut err) = (Lines::new(stdout), Lines::new(stderr));
    let lost = {
        let wait = control.wait();
        tokio::pin!(wait);
        let mut status = None;
        // From the end on: when nothing more is waited for.
        let mut grace = None;
        loop {
            match status.take() {
                Some(ended) if !out.open && !err.open => return ended,
                still => status = still,
            }
            tokio::select! {
                biased;
                () = cx.cancelled(), if status.is_none() => break Lost::Cancelled,
                () = at(until), if status.is_none() => break Lost::Late,
                line = out.next(), if out.open => line.iter().for_each(|l| see(false, l)),
                line = err.next(), if err.open => line.iter().for_each(|l| see(true, l)),
                ended = &mut wait, if status.is_none() => {
                    status = Some(ended);
                    grace = Some(Instant::now() + GRACE);
                }
                () = at(grace) => (out.open, err.open) = (false, false),
            }
        }
    };
    let (kind, word) = match lost {
        Lost::Cancelled => (ErrorKind::Cancelled, "cancelled"),
        Lost::Late => (ErrorKind::Timeout, "out of time"),
    };
    Err(match control.end().await {
        Ok(()) => Error::new(kind, provider, "apply", format!("{word}; the command was ended with its process group")),
        // The connector was faster, and says what it did.
        Err(e) if e.kind() == kind => e,
        Err(e) => Error::new(kind, provider, "apply", format!("{word}; the command may be running still"))
            .caused_by(e.report()),
    })
}

/// Why a command is not waited for.
enum Lost {
    Cancelled,
    Late,
}

async fn at(when: Option<Instant>) {
    match when {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Lines of a stream. Losing interest in [`next`](Self::next) loses no line.
struct Lines<R> {
    read: R,
    buffer: Vec<u8>,
    /// The rest of a line that was too long.
    skipping: bool,
    open: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(read: R) -> Self {
        Self { read, buffer: Vec::new(), skipping: false, open: true }
    }

    /// The next line without its end; `None`, once, when there is no more.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if !std::mem::take(&mut self.skipping) {
                    return Some(text(line.strip_suffix(b"\n").unwrap_or(&line)));
                }
                continue;
            }
            if self.skipping {
                self.buffer.clear();
            } else if self.buffer.len() > MOST {
                self.skipping = true;
                return Some(text(&std::mem::take(&mut self.buffer)));
            }
            self.buffer.reserve(8 << 10);
            if !matches!(self.read.read_buf(&mut self.buffer).await, Ok(n) if n > 0) {
                self.open = false;
                let rest = std::mem::take(&mut self.buffer);
                return (!rest.is_empty() && !self.skipping).then(|| text(&rest));
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::{Endpoint, ExecOutput, ProcessControl, PutOptions, RemoteGroup, Source, Stream};

    /// A host on which every command is over at once, but a daemon that it started holds its pipes.
    #[derive(Debug)]
    struct Daemons;

    /// Keeps the other ends of the pipes open.
    struct Held(#[allow(dead_code, reason = "only kept")] [tokio::io::DuplexStream; 2]);

    #[async_trait::async_trait]
    impl ProcessControl for Held {
        fn group(&self) -> Option<RemoteGroup> {
            None
        }

        async fn wait(&mut self) -> Result<ExitStatus> {
            Ok(ExitStatus::Code(3))
        }

        async fn end(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn no<T>() -> Result<T> {
        Err(Error::new(ErrorKind::Unsupported, "test", "test", "not here"))
    }

    #[async_trait::async_trait]
    impl Connection for Daemons {
        fn host(&self) -> &str {
            "here"
        }

        async fn exec(&self, _: &Context, _: &Exec) -> Result<ExecOutput> {
            no()
        }

        async fn spawn(&self, _: &Context, _: &Exec) -> Result<Process> {
            use tokio::io::AsyncWriteExt as _;
            let ((mut out, stdout), (err, stderr)) = (tokio::io::duplex(64), tokio::io::duplex(64));
            out.write_all(b"started\n").await.expect("there is room");
            let control = Box::new(Held([out, err]));
            Ok(Process {
                stdin: Box::new(tokio::io::sink()),
                stdout: Box::new(stdout),
                stderr: Box::new(stderr),
                control,
            })
        }

        async fn put(&self, _: &Context, _: Source, _: &str, _: &PutOptions) -> Result<()> {
            no()
        }

        async fn get(&self, _: &Context, _: &str, _: u64) -> Result<bytes::Bytes> {
            no()
        }

        async fn dial(&self, _: &Context, _: &Endpoint) -> Result<Box<dyn Stream>> {
            no()
        }

        async fn end_group(&self, _: &Context, _: &RemoteGroup) -> Result<bool> {
            no()
        }

        async fn close(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_keeps_the_pipes_is_not_waited_for() {
        let mut seen = Vec::new();
        let (cx, exec) = (Context::new(), Exec::script(""));
        let status = follow_lines(&cx, &Daemons, &exec, "test", |err, line| seen.push((err, line.to_owned()))).await;
        assert_eq!(status.expect("it ends"), ExitStatus::Code(3));
        assert_eq!(seen, [(false, "started".to_owned())]);
    }

    #[tokio::test]
    async fn lines_come_whole_and_a_long_one_is_cut() {
        let long = "x".repeat(3 << 20);
        let text = format!("a\r\n\n{long}\nlast");
        let mut lines = Lines::new(text.as_bytes());
        let mut seen = Vec::new();
        while lines.open {
            seen.extend(lines.next().await);
        }
        assert_eq!((seen.len(), seen[0].as_str(), seen[1].as_str(), seen[3].as_str()), (4, "a", "", "last"));
        assert!(seen[2].len() > MOST && seen[2].len() < long.len());
    }
}
