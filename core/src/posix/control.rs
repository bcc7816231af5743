use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};

use crate::{Error, ErrorKind, Exec, ExitStatus, ProcessControl, RemoteGroup, Result};

/// Standard input of a command.
pub enum Input {
    /// All of it is there.
    Bytes(Bytes),
    /// It comes.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Input(bytes)",
            Self::Reader(_) => "Input(reader)",
        })
    }
}

impl Input {
    /// What a command with streams reads: what it was given, then what its caller writes into the other end.
    pub fn of_process(exec: &Exec) -> (DuplexStream, Self) {
        let (stdin, reader) = tokio::io::duplex(1 << 18);
        let input: Box<dyn AsyncRead + Send + Unpin> = match &exec.stdin {
            Some(first) => Box::new(io::Cursor::new(first.clone()).chain(reader)),
            None => Box::new(reader),
        };
        (stdin, Self::Reader(input))
    }
}

/// How a command with streams came to its end: a status, or the kind of a failure and its words.
pub type Outcome = std::result::Result<ExitStatus, (ErrorKind, String)>;

/// Waits for a command that a task follows, and asks that task to end it.
#[derive(Debug)]
pub struct Followed {
    provider: &'static str,
    host: Arc<str>,
    group: Option<RemoteGroup>,
    ask: mpsc::Sender<()>,
    state: watch::Receiver<Option<Outcome>>,
}

/// The task's side of it.
#[derive(Debug)]
pub struct Follower {
    /// Gives something, or is closed, when the command is to be ended.
    pub asked: mpsc::Receiver<()>,
    tell: watch::Sender<Option<Outcome>>,
}

impl Follower {
    /// Says how it ended.
    pub fn tell(&self, outcome: Outcome) {
        let _ = self.tell.send(Some(outcome));
    }
}

/// A failure as an [`Outcome`].
pub fn failed_outcome(e: &Error) -> Outcome {
    Err((e.kind(), e.report()))
}

/// Makes both sides.
pub fn followed(provider: &'static str, host: Arc<str>, group: Option<RemoteGroup>) -> (Followed, Follower) {
    let (ask, asked) = mpsc::channel(1);
    let (tell, state) = watch::channel(None);
    (Followed { provider, host, group, ask, state }, Follower { asked, tell })
}

impl Followed {
    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.provider, "exec", message).with("host", &self.host)
    }
}

#[async_trait]
impl ProcessControl for Followed {
    fn group(&self) -> Option<RemoteGroup> {
        self.group.clone()
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        let outcome = self.state.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        match outcome {
            Some(Ok(status)) => Ok(status),
            Some(Err((kind, message))) => Err(self.error(kind, message)),
            None => Err(self.error(ErrorKind::Unreachable, "the command is not followed any more")),
        }
    }

    async fn end(&mut self) -> Result<()> {
        if self.state.borrow().is_some() || self.ask.send(()).await.is_err() {
            return Ok(());
        }
        self.wait().await.map(drop)
    }
}
