//! A command that runs: what it says, what feeds it, what ends it.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use towpath_core::posix::{Input, Tracked};
use towpath_core::{Error, ErrorKind, ExitStatus, Result};

use super::exec::{Place, end_group};
use crate::errors::failed;

/// How long output may still come after a command's end while a background child holds its streams.
const LINGER: Duration = Duration::from_millis(200);

/// A command that is silent for so long is looked after: the engine keeps its streams open as long as any child has them.
const SILENCE: Duration = Duration::from_millis(500);

/// What a command's connection to the engine says.
pub(super) type Output = Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, bollard::errors::Error>> + Send>>;
/// Its standard input.
pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Something that a command said, or its end.
pub(super) enum Said {
    Out(Bytes),
    Err(Bytes),
    Ended(ExitStatus),
}

/// A started command.
pub(super) struct Running {
    pub(super) place: Place,
    pub(super) tracked: Tracked,
    /// The engine's id of it.
    pub(super) id: String,
    /// `None`: the engine has closed it.
    pub(super) output: Option<Output>,
    /// What came before it was known to run: the engine reads both outputs by themselves, so that the frame on one may come
    /// after what the command wrote to the other.
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// How it ended, once that is known and output is only waited for.
    ended: Option<ExitStatus>,
    looks: u32,
}

/// Sends the command's text and its standard input, then the end of it.
pub(super) fn feed(mut to: Writer, header: Vec<u8>, input: Option<Input>) {
    tokio::spawn(async move {
        // A command may end without reading its input: then nobody wants the rest. What is missing of a file that can't be
        // read the command sees: it was told the size.
        let _: std::io::Result<()> = async {
            to.write_all(&header).await?;
            to.flush().await?;
            match input {
                Some(Input::Bytes(bytes)) => to.write_all(&bytes).await?,
                Some(Input::Reader(mut reader)) => {
                    let mut buffer = vec![0u8; 1 << 16];
                    loop {
                        let n = reader.read(&mut buffer).await?;
                        if n == 0 {
                            break;
                        }
                        to.write_all(buffer.get(..n).unwrap_or_default()).await?;
                        to.flush().await?;
                    }
                }
                None => {}
            }
            to.flush().await
        }
        .await;
        // In any case: a command whose input never ends does not end either.
        let _ = to.shutdown().await;
    });
}

impl Running {
    pub(super) fn new(place: Place, tracked: Tracked, id: String, output: Output) -> Self {
        Self { place, tracked, id, output: Some(output), stdout: Vec::new(), stderr: Vec::new(), ended: None, looks: 0 }
    }

    /// Waits for what it says next. May be dropped and called again; nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Said> {
        loop {
            if let Some(output) = &mut self.output {
                let patience = if self.ended.is_some() { LINGER } else { SILENCE * self.looks.clamp(1, 10) };
                match tokio::time::timeout(patience, output.next()).await {
                    Ok(Some(Ok(said))) => {
                        self.looks = 0;
                        return Ok(match said {
                            LogOutput::StdErr { message } => Said::Err(message),
                            LogOutput::StdOut { message } | LogOutput::StdIn { message } => Said::Out(message),
                            // Without a frame: the engine's own words on why it can't start it.
                            LogOutput::Console { message } => Said::Err(message),
                        });
                    }
                    Ok(Some(Err(e))) => return Err(self.broken(e)),
                    Ok(None) => {
                        self.output = None;
                        self.looks = 0;
                    }
                    Err(_) if self.ended.is_some() => self.output = None,
                    Err(_) => {
                        self.looks = self.looks.saturating_add(1);
                        self.ended = self.look().await?;
                    }
                }
                continue;
            }
            if let Some(status) = self.ended.take() {
                return Ok(Said::Ended(status));
            }
            // Its streams are closed; it may run on all the same, or the engine learns of its end a moment later.
            if self.looks > 0 {
                tokio::time::sleep(Duration::from_millis(2) * self.looks.min(100).pow(2)).await;
            }
            self.looks = (self.looks + 1).min(20);
            self.ended = self.look().await?;
        }
    }

    /// Asks the engine whether it has ended. Exclusive, since its output can be held by one at a time only.
    async fn look(&mut self) -> Result<Option<ExitStatus>> {
        let said = match self.place.engine.docker.inspect_exec(&self.id).await {
            Ok(said) => said,
            Err(e) => {
                // The note stays, as after a broken connection.
                self.tracked.over = true;
                let what = "the engine does not answer, or does not know the command any more";
                return Err(self
                    .place
                    .error(ErrorKind::Unreachable, "how the command ended is not known, nor whether it runs on")
                    .with("command", &self.tracked.shown)
                    .retry_later()
                    .caused_by(failed("exec", what, e).report()));
            }
        };
        match (said.running, said.exit_code) {
            (Some(true), _) => Ok(None),
            (_, Some(code)) => Ok(Some(ExitStatus::Code(i32::try_from(code).unwrap_or(255)))),
            _ => Ok(None),
        }
    }

    fn broken(&mut self, e: bollard::errors::Error) -> Error {
        // The note stays: a resumed run looks whether it is running still.
        self.tracked.over = true;
        self.place
            .error(ErrorKind::Unreachable, "the connection broke; whether the command ran on is not known")
            .with("command", &self.tracked.shown)
            .retry_later()
            .caused_by(e)
    }

    /// Ends its group and says so.
    pub(super) async fn end_for(&mut self, cancelled: bool) -> Error {
        let ended = self.end().await;
        self.tracked.ended_for(cancelled, ended)
    }

    /// Ends its group.
    pub(super) async fn end(&mut self) -> Result<()> {
        if self.tracked.over {
            return Ok(());
        }
        let done = match &self.tracked.group {
            Some(group) => {
                end_group(&self.tracked.cx, &self.place, group, self.tracked.r#become.as_ref()).await.map(drop)
            }
            None => Err(self
                .place
                .error(ErrorKind::Unsupported, "the container does not tell process groups: nothing can be ended")),
        };
        self.output = None;
        if done.is_ok() {
            self.tracked.finished().await;
        }
        self.tracked.over = true;
        done
    }
}

impl Drop for Running {
    /// A future that was dropped leaves nothing behind, as far as that can be helped.
    fn drop(&mut self) {
        let place = self.place.clone();
        self.tracked.abandon(|cx, group, to| async move { end_group(&cx, &place, &group, to.as_ref()).await });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::task::{Context as Poller, Poll};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::*;

    /// A file of which the second piece can't be read.
    struct Torn(bool);

    impl AsyncRead for Torn {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Poller<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(Err(io::Error::other("torn")));
            }
            to.put_slice(b"first");
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_end_of_the_input_is_told_also_after_a_failure() {
        for (input, want) in [
            (Some(Input::Reader(Box::new(Torn(false)))), "head first"),
            (Some(Input::Bytes("all".into())), "head all"),
            (None, "head "),
        ] {
            let (to, mut seen) = tokio::io::duplex(64);
            // Its other half stays open, as a connection does that still brings output.
            let (kept, to) = tokio::io::split(to);
            feed(Box::pin(to), b"head ".to_vec(), input);
            let mut all = String::new();
            let ended = tokio::time::timeout(Duration::from_secs(20), seen.read_to_string(&mut all)).await;
            ended.expect("the command's input never ends").unwrap();
            assert_eq!(all, want);
            drop(kept);
        }
    }
}
