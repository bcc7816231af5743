//! A command that runs: what feeds it, what ends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncReadExt as _;
use towpath_core::posix::{Input, Tracked};
use towpath_core::{Error, ErrorKind, ExitStatus, Result};

use crate::exec::{Place, end_group};
use crate::session::Transport;

/// A started command.
pub(crate) struct Running {
    pub(crate) place: Place,
    pub(crate) tracked: Tracked,
    pub(crate) read: ChannelReadHalf,
    pub(crate) write: Arc<ChannelWriteHalf<Msg>>,
    pub(crate) transport: Arc<Transport>,
    /// What arrived before it was known to run.
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// How it ended, if that was told before it was known to run: servers send the status as soon as they have it, and what
    /// waits in pipes later.
    pub(crate) early: Option<ExitStatus>,
}

impl Running {
    /// Sends the command's text and its standard input, then the end of it.
    pub(crate) fn feed(&self, what: Option<(Vec<u8>, Option<Input>)>) {
        let Some((header, input)) = what else { return };
        let write = Arc::clone(&self.write);
        tokio::spawn(async move {
            // A command may end without reading its input: then nobody wants the rest.
            if write.data_bytes(Bytes::from(header)).await.is_err() {
                return;
            }
            match input {
                Some(Input::Bytes(mut bytes)) => {
                    while !bytes.is_empty() {
                        let part = bytes.split_to(bytes.len().min(1 << 18));
                        if write.data_bytes(part).await.is_err() {
                            return;
                        }
                    }
                }
                Some(Input::Reader(mut reader)) => {
                    let mut buffer = vec![0u8; 1 << 16];
                    while let Ok(n) = reader.read(&mut buffer).await {
                        let part = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                        if n == 0 || write.data_bytes(part).await.is_err() {
                            break;
                        }
                    }
                }
                None => {}
            }
            let _ = write.eof().await;
        });
    }

    /// It ended without having become the command.
    pub(crate) fn not_started(&self) -> Error {
        if self.tracked.r#become.is_none() {
            // Files may still travel: such accounts are often for SFTP only.
            self.place.slot.runs_no_commands();
        }
        self.tracked.not_started(&self.stderr, "host")
    }

    /// Ends its group and says so.
    pub(crate) async fn end_for(&mut self, cancelled: bool) -> Error {
        let ended = self.end().await;
        self.tracked.ended_for(cancelled, ended)
    }

    /// Ends its group.
    pub(crate) async fn end(&mut self) -> Result<()> {
        if self.tracked.over {
            return Ok(());
        }
        let done = match &self.tracked.group {
            Some(group) => {
                let ending = end_group(&self.tracked.cx, &self.place, group, self.tracked.r#become.as_ref());
                tokio::pin!(ending);
                let mut open = true;
                loop {
                    // Its output is read on, or a full channel would hold up the whole transport.
                    tokio::select! {
                        done = &mut ending => break done.map(|_| ()),
                        message = self.read.wait(), if open => open = message.is_some(),
                    }
                }
            }
            None => {
                let _ = self.write.signal(Sig::TERM).await;
                Err(self
                    .place
                    .error(ErrorKind::Unsupported, "the host does not tell process groups; only a signal was sent"))
            }
        };
        let _ = self.write.close().await;
        if done.is_ok() {
            self.tracked.finished().await;
        }
        self.tracked.over = true;
        done
    }

    /// Waits, after its end, for output that is on its way. A background child may hold the channel open for ever.
    pub(crate) async fn rest(&mut self, mut take: impl FnMut(bool, &[u8])) {
        loop {
            let transport = Arc::clone(&self.transport);
            let quiet = async move {
                let _ = transport.round_trip().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            tokio::select! {
                biased;
                message = self.read.wait() => match message {
                    Some(ChannelMsg::Data { data }) => take(false, &data),
                    Some(ChannelMsg::ExtendedData { data, .. }) => take(true, &data),
                    None | Some(ChannelMsg::Close) => break,
                    Some(_) => {}
                },
                () = quiet => break,
            }
        }
        let _ = self.write.close().await;
    }
}

impl Drop for Running {
    /// A future that was dropped leaves nothing behind, as far as that can be helped.
    fn drop(&mut self) {
        let place = self.place.clone();
        self.tracked
            .abandon(|cx, group, to| async move { crate::exec::end_group(&cx, &place, &group, to.as_ref()).await });
    }
}

/// Names of signals as `ExitStatus` has them.
pub(crate) fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
