//! A command that runs: what feeds it, what ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncReadExt as _;
use towpath_core::{Become, BecomeMethod, Context, Error, ErrorKind, ExitStatus, Json, RemoteGroup, Result};

use crate::exec::{Place, end_group};
use crate::session::Transport;
use crate::start::Input;

/// A started command.
pub(crate) struct Running {
    pub(crate) place: Place,
    pub(crate) cx: Context,
    pub(crate) read: ChannelReadHalf,
    pub(crate) write: Arc<ChannelWriteHalf<Msg>>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) group: Option<RemoteGroup>,
    pub(crate) r#become: Option<Become>,
    pub(crate) shown: String,
    /// What arrived before it was known to run.
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// How it ended, if that was told before it was known to run: servers send the status as soon as they have it, and what
    /// waits in pipes later.
    pub(crate) early: Option<ExitStatus>,
    pub(crate) note: Option<String>,
    pub(crate) over: bool,
}

static NOTES: AtomicU64 = AtomicU64::new(1);

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

    pub(crate) fn denied(&self, message: &str) -> Error {
        let to = self.r#become.as_ref();
        let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        let method = to.map_or("sudo", |b| if b.method == BecomeMethod::Su { "su" } else { "sudo" });
        let error = self
            .place
            .error(ErrorKind::Denied, format!("{method}: {message}"))
            .with("user", to.map_or("", |b| b.user.as_str()));
        if said.is_empty() { error } else { error.caused_by(said) }
    }

    /// It ended without having become the command.
    pub(crate) fn not_started(&self) -> Error {
        if self.r#become.is_some() {
            return self.denied("the host does not let this user become the other one");
        }
        // Files may still travel: such accounts are often for SFTP only.
        self.place.slot.runs_no_commands();
        let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        self.place
            .error(ErrorKind::Protocol, "the host does not run commands with /bin/sh")
            .caused_by(if said.is_empty() { "it said nothing".to_owned() } else { said })
    }

    /// Keeps the group in the journal as long as it runs.
    pub(crate) async fn note(&mut self) -> Result<()> {
        let (Some(_), Some(group)) = (self.cx.step(), &self.group) else { return Ok(()) };
        let name = format!("group/{}", NOTES.fetch_add(1, Ordering::Relaxed));
        self.cx.note(&name, serde_json::to_value(group).unwrap_or_default()).await?;
        self.note = Some(name);
        Ok(())
    }

    /// Says that it is over: nothing is left to end.
    pub(crate) async fn finished(&mut self) {
        self.over = true;
        if let Some(name) = self.note.take() {
            let _ = self.cx.note(&name, Json::Null).await;
        }
    }

    pub(crate) fn gave_up(&self, cancelled: bool, what: &str) -> Error {
        let (kind, word) =
            if cancelled { (ErrorKind::Cancelled, "cancelled") } else { (ErrorKind::Timeout, "out of time") };
        self.place.error(kind, format!("{word}{what}")).with("command", &self.shown)
    }

    /// Ends its group and says so.
    pub(crate) async fn end_for(&mut self, cancelled: bool) -> Error {
        match self.end().await {
            Ok(()) => self.gave_up(cancelled, "; the command was ended with its process group"),
            Err(e) => self.gave_up(cancelled, "; the command may be running still").caused_by(e.report()),
        }
    }

    /// Ends its group.
    pub(crate) async fn end(&mut self) -> Result<()> {
        if self.over {
            return Ok(());
        }
        let done = match &self.group {
            Some(group) => {
                let ending = end_group(&self.cx, &self.place, group, self.r#become.as_ref());
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
            self.finished().await;
        }
        self.over = true;
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
        if self.over {
            return;
        }
        let (Some(group), Ok(runtime)) = (self.group.take(), tokio::runtime::Handle::try_current()) else { return };
        let (cx, place, to, note) = (self.cx.shielded(), self.place.clone(), self.r#become.take(), self.note.take());
        runtime.spawn(async move {
            let ended = end_group(&cx, &place, &group, to.as_ref()).await.is_ok();
            if let (true, Some(name)) = (ended, note) {
                let _ = cx.note(&name, Json::Null).await;
            }
        });
    }
}

/// Names of signals as `ExitStatus` has them.
pub(crate) fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
