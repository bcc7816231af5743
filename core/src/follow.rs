use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep_until};

use crate::{Connection, Context, Error, ErrorKind, EventKind, Exec, ExitStatus, Process, Result};

/// After its end: how long output may be on its way, or a child in the background may hold the pipe.
const GRACE: Duration = Duration::from_secs(2);

/// Most bytes of one line that are kept; the rest of it is dropped.
const MOST: usize = 1 << 20;

/// How many of the last lines an error shows.
const TAIL: usize = 20;

/// Longest line that is shown, in bytes.
const LONGEST: usize = 16 << 10;

/// Runs a command on a host, hands every line of its output to `see` (`true`: of standard error), and gives its status. A daemon that
/// keeps the pipe does not hold it, not even one that prints without end. Once the status is known a cancel or the deadline only ends
/// the waiting for more output.
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
            // Where something is always there to be read, nothing else would get its turn, not even the clock.
            tokio::task::coop::consume_budget().await;
            // Output comes last, for the same reason.
            let why = tokio::select! {
                biased;
                ended = &mut wait, if status.is_none() => {
                    status = Some(ended);
                    grace = Some(Instant::now() + GRACE);
                    continue;
                }
                () = at(grace) => {
                    (out.open, err.open) = (false, false);
                    continue;
                }
                () = cx.cancelled() => Lost::Cancelled,
                () = at(until) => Lost::Late,
                line = out.next(), if out.open => {
                    line.iter().for_each(|l| see(false, l));
                    continue;
                }
                line = err.next(), if err.open => {
                    line.iter().for_each(|l| see(true, l));
                    continue;
                }
            };
            match status {
                // It is over; only what its children print is not waited for.
                Some(ended) => return ended,
                None => break why,
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

    /// The next line without its end; `None` when there is no more, and for a part of a line that was too long.
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
            if self.skipping {
                return None;
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

/// The last lines of a command, for an error.
#[derive(Debug, Default)]
pub struct Tail(VecDeque<String>);

impl Tail {
    /// A line as it may be shown: without known secrets, and not too long. Masked before it is cut, so that no part of a secret is left
    /// at the end.
    pub fn shown(cx: &Context, line: &str) -> String {
        let mut line = cx.masker().mask(line).into_owned();
        if let Some(at) = line.char_indices().map(|(i, _)| i).find(|i| *i >= LONGEST) {
            line.truncate(at);
            line.push_str("...");
        }
        line
    }

    /// Keeps a line that [`shown`](Self::shown) gave. If `tell`, listeners get it, too.
    pub fn add(&mut self, cx: &Context, from_err: bool, line: String, tell: bool) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        if tell {
            let stream = if from_err { "stderr" } else { "stdout" };
            cx.emit(EventKind::Output { stream: stream.to_owned(), line: line.clone() });
        }
        self.0.push_back(line);
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that was kept.
    pub fn text(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Endpoint, ExecOutput, ProcessControl, PutOptions, RemoteGroup, Source, Stream};

    /// A host on which a daemon holds the pipes of every command.
    #[derive(Debug)]
    struct Daemons {
        /// Whether the command itself is over at once.
        over: bool,
        /// What the daemon prints, over and over.
        prints: Option<&'static str>,
    }

    /// A daemon that prints and holds the pipes.
    struct Held {
        over: bool,
        _daemon: tokio::task::JoinHandle<()>,
    }

    #[async_trait::async_trait]
    impl ProcessControl for Held {
        fn group(&self) -> Option<RemoteGroup> {
            None
        }

        async fn wait(&mut self) -> Result<ExitStatus> {
            match self.over {
                true => Ok(ExitStatus::Code(3)),
                false => std::future::pending().await,
            }
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
            let ((mut out, stdout), (err, stderr)) = (tokio::io::duplex(1 << 16), tokio::io::duplex(64));
            out.write_all(b"started\n").await.expect("there is room");
            let prints = self.prints;
            let daemon = tokio::spawn(async move {
                let _held = err;
                while let Some(text) = prints {
                    // Until nobody reads any more.
                    if out.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
                std::future::pending().await
            });
            let control = Box::new(Held { over: self.over, _daemon: daemon });
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

    #[tokio::test]
    async fn a_daemon_that_keeps_the_pipes_is_not_waited_for() {
        let mut seen = Vec::new();
        let (cx, exec, host) = (Context::new(), Exec::script(""), Daemons { over: true, prints: None });
        let status = follow_lines(&cx, &host, &exec, "test", |err, line| seen.push((err, line.to_owned()))).await;
        assert_eq!(status.expect("it ends"), ExitStatus::Code(3));
        assert_eq!(seen, [(false, "started".to_owned())]);
    }

    /// Follows a command beside a daemon that prints faster than it is read. Fails where that has no end.
    async fn followed(cx: Context, over: bool, exec: Exec, prints: &'static str) -> (Result<ExitStatus>, usize) {
        let host = Daemons { over, prints: Some(prints) };
        let mut seen = 0;
        let following = follow_lines(&cx, &host, &exec, "test", |_, _| {
            seen += 1;
            // As a listener that has something to do.
            std::thread::sleep(Duration::from_micros(20));
        });
        let status = tokio::time::timeout(Duration::from_secs(60), following).await.expect("it comes to an end");
        (status, seen)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_that_prints_without_end_holds_nothing() {
        // Whole lines, and one line that never ends.
        for prints in ["y\n", "yyyyyyyy"] {
            let (status, seen) = followed(Context::new(), true, Exec::script(""), prints).await;
            assert_eq!(status.expect("it ends"), ExitStatus::Code(3), "{prints:?}");
            assert!(seen > 0, "what it prints at first is seen");

            let exec = Exec::script("").timeout(Duration::from_millis(300));
            let (status, _) = followed(Context::new(), false, exec, prints).await;
            assert_eq!(status.unwrap_err().kind(), ErrorKind::Timeout, "{prints:?}");

            let (cx, token) = Context::new().child();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                token.cancel();
            });
            let (status, _) = followed(cx, false, Exec::script(""), prints).await;
            assert_eq!(status.unwrap_err().kind(), ErrorKind::Cancelled, "{prints:?}");
        }
    }

    /// What has happened is told, whoever wants to stop.
    #[tokio::test]
    async fn a_cancel_after_the_end_only_ends_the_waiting() {
        let (cx, token) = Context::new().child();
        token.cancel();
        let (status, _) = followed(cx, true, Exec::script(""), "y\n").await;
        assert_eq!(status.expect("it was over"), ExitStatus::Code(3));
    }

    #[test]
    fn a_tail_is_short_and_masked() {
        let cx = Context::new();
        cx.learn_secret(&crate::Secret::new("hidden-value"));
        let long = Tail::shown(&cx, &format!("{}hidden-value", "x".repeat(LONGEST - 2)));
        assert!(long.ends_with("x**...") && long.len() < LONGEST + 10, "{}", long.len());
        let mut tail = Tail::default();
        assert!(tail.is_empty());
        (0..30).for_each(|n| tail.add(&cx, false, n.to_string(), false));
        assert_eq!(tail.text().lines().collect::<Vec<_>>(), (10..30).map(|n| n.to_string()).collect::<Vec<_>>());
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
