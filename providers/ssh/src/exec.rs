//! Runs one command to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;
use towpath_core::{
    Become, BecomeMethod, Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Json, RemoteGroup, Result,
};

use crate::PROVIDER;
use crate::pool::Slot;
use crate::session::Transport;
use crate::wrapper::{Seen, Wrapped, end_script, find_frame, wrap};

/// Standard input of a command.
pub(crate) enum Input {
    Bytes(Bytes),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// Where and for whom a command runs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) slot: Arc<Slot>,
    pub(crate) host: Arc<str>,
}

impl Place {
    pub(crate) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, PROVIDER, "exec", message).with("host", &self.host)
    }
}

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
    note: Option<String>,
    over: bool,
}

static NOTES: AtomicU64 = AtomicU64::new(1);

/// The longest a started command may take to say that it runs, after somebody has lost patience.
const GRACE: Duration = Duration::from_secs(5);

/// When a command must be over.
pub(crate) fn deadline(cx: &Context, exec: &Exec) -> Option<Instant> {
    let own = exec.timeout.map(|d| Instant::now() + d);
    match (own, cx.deadline()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Ends when the caller loses patience: with `true` after a cancel, with `false` at the deadline.
pub(crate) async fn impatient(cx: &Context, deadline: Option<Instant>) -> bool {
    let late = async {
        match deadline {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cx.cancelled() => true,
        () = late => false,
    }
}

/// Starts a command and waits until it is known to run.
///
/// In a task of its own: a caller who goes away in the middle would else leave a command behind whose group nobody knows.
pub(crate) async fn start(
    cx: &Context,
    place: &Place,
    exec: &Exec,
    input: Option<Input>,
    until: Option<Instant>,
) -> Result<Running> {
    cx.check(PROVIDER, "exec").map_err(|e| e.with("host", &place.host))?;
    let wrapped = wrap(exec).map_err(|e| e.with("host", &place.host))?;
    // Waited for here: a caller who goes away before there is a session has started nothing.
    let session = place.slot.session(cx).await.map_err(|e| e.with_missing("host", &place.host))?;
    let (mut tell, told) = oneshot::channel();
    let (cx, own, exec) = (cx.clone(), place.clone(), exec.clone());
    tokio::spawn(async move {
        let mut begin = begin(&cx, &own, &exec, (wrapped, session), input, until);
        tokio::select! {
            begun = &mut begin => drop(tell.send(begun)),
            // What has begun by then is ended as it is dropped.
            () = tell.closed() => drop(tokio::time::timeout(GRACE, begin).await),
        }
    });
    told.await.unwrap_or_else(|_| Err(place.error(ErrorKind::Internal, "starting a command was interrupted")))
}

/// Boxed, since ending a command runs another one.
fn begin<'a>(
    cx: &'a Context,
    place: &'a Place,
    exec: &'a Exec,
    with: (Wrapped, Session),
    input: Option<Input>,
    until: Option<Instant>,
) -> BoxFuture<'a, Result<Running>> {
    Box::pin(run_until_known(cx, place, exec, with, input, until))
}

type Session = (Arc<Transport>, Channel<Msg>);

async fn run_until_known(
    cx: &Context,
    place: &Place,
    exec: &Exec,
    (wrapped, (transport, channel)): (Wrapped, Session),
    input: Option<Input>,
    until: Option<Instant>,
) -> Result<Running> {
    let Wrapped { line, header, token, prompt } = wrapped;
    let (read, write) = channel.split();
    let broken = |e: russh::Error| {
        place.error(ErrorKind::Unreachable, "the connection broke before the command ran").retry_later().caused_by(e)
    };
    write.exec(false, line).await.map_err(broken)?;
    let mut run = Running {
        place: place.clone(),
        cx: cx.clone(),
        read,
        write: Arc::new(write),
        transport,
        group: None,
        r#become: exec.r#become.clone(),
        shown: exec.shown(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        early: None,
        note: None,
        over: false,
    };
    let password = exec.r#become.as_ref().and_then(|b| b.password.as_ref());
    let mut held = Some((header, input));
    if password.is_none() {
        // Nobody else reads it: the command's text may follow at once.
        run.feed(held.take());
    }
    let mut answered = false;
    let mut asked = 0;
    let patience = impatient(cx, until);
    tokio::pin!(patience);
    let mut lost: Option<bool> = None;
    loop {
        let limit = async {
            match lost.is_some() || run.early.is_some() {
                true => tokio::time::sleep(GRACE).await,
                false => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            biased;
            cancelled = &mut patience, if lost.is_none() => {
                if held.is_some() {
                    // It waits for its text still, and will not get it.
                    let _ = run.write.close().await;
                    run.over = true;
                    return Err(run.gave_up(cancelled, "; it had not started"));
                }
                lost = Some(cancelled);
                continue;
            }
            () = limit => {
                let _ = run.write.close().await;
                run.over = true;
                return Err(match lost {
                    Some(cancelled) => {
                        let what = "; the host did not say what it started: it may be running still";
                        run.gave_up(cancelled, what)
                    }
                    None => run.not_started(),
                });
            }
            message = run.read.wait() => message,
        };
        match message {
            Some(ChannelMsg::Data { data }) => run.stdout.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                run.stderr.extend_from_slice(&data);
                if let Seen::Frame { start, end, group } = find_frame(&run.stderr, &token) {
                    let before = run.stderr.get(..start).unwrap_or_default().to_vec();
                    let after = run.stderr.get(end..).unwrap_or_default().to_vec();
                    // With `become` what came before is the prompt and a lecture, else the login shell's own.
                    run.stderr = if exec.r#become.is_some() { after } else { [before, after].concat() };
                    run.group = group.map(|(pgid, started, boot)| RemoteGroup {
                        host: place.host.to_string(),
                        pgid,
                        started,
                        boot,
                        user: exec.r#become.as_ref().map(|b| b.user.clone()),
                        command: run.shown.clone(),
                    });
                    if let (Some(cancelled), None) = (lost, &run.early) {
                        return Err(run.end_for(cancelled).await);
                    }
                    if held.is_some() {
                        run.feed(held.take());
                    }
                    if run.early.is_none() {
                        run.note().await?;
                    }
                    return Ok(run);
                }
                if let (Some(password), true) = (password, held.is_some()) {
                    let prompts = count_prompts(&run.stderr, &prompt);
                    if prompts > asked {
                        asked = prompts;
                        if answered {
                            let _ = run.write.close().await;
                            run.over = true;
                            return Err(run.denied("the password is not accepted"));
                        }
                        answered = true;
                        let answer = Bytes::from(format!("{}\n", password.expose()));
                        run.write.data_bytes(answer).await.map_err(broken)?;
                    }
                }
            }
            Some(ChannelMsg::Failure) => {
                run.over = true;
                return Err(place.error(ErrorKind::Denied, "the host refuses to run commands"));
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                run.early = Some(ExitStatus::Code(exit_status.cast_signed()));
            }
            Some(ChannelMsg::ExitSignal { signal_name: signal, .. }) => {
                run.early = Some(ExitStatus::Signal(signal_name(&signal)));
            }
            Some(ChannelMsg::Close) => {
                run.over = true;
                return Err(run.not_started());
            }
            None if run.early.is_some() => {
                run.over = true;
                return Err(run.not_started());
            }
            None => {
                run.over = true;
                let message = "the connection broke while a command was started; whether it runs is not known";
                return Err(place.error(ErrorKind::Unreachable, message).with("command", &run.shown).retry_later());
            }
            Some(_) => {}
        }
    }
}

/// sudo asks with the random prompt; su with its own words.
fn count_prompts(stderr: &[u8], prompt: &str) -> usize {
    let text = String::from_utf8_lossy(stderr);
    if prompt.is_empty() { text.matches(": ").count() } else { text.matches(prompt).count() }
}

impl Running {
    /// Sends the command's text and its standard input, then the end of it.
    fn feed(&self, what: Option<(Vec<u8>, Option<Input>)>) {
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

    fn denied(&self, message: &str) -> Error {
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
    fn not_started(&self) -> Error {
        if self.r#become.is_some() {
            return self.denied("the host does not let this user become the other one");
        }
        let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        self.place
            .error(ErrorKind::Protocol, "the host does not run commands with /bin/sh")
            .caused_by(if said.is_empty() { "it said nothing".to_owned() } else { said })
    }

    /// Keeps the group in the journal as long as it runs.
    async fn note(&mut self) -> Result<()> {
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

    fn gave_up(&self, cancelled: bool, what: &str) -> Error {
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

/// Runs a command to its end.
pub(crate) async fn run(cx: &Context, place: &Place, exec: &Exec, input: Option<Input>) -> Result<ExecOutput> {
    let until = deadline(cx, exec);
    let mut run = start(cx, place, exec, input, until).await?;
    let (mut stdout, mut stderr) = (std::mem::take(&mut run.stdout), std::mem::take(&mut run.stderr));
    let limit = exec.limit_bytes;
    let patience = impatient(cx, until);
    tokio::pin!(patience);
    let status = loop {
        if stdout.len() > limit || stderr.len() > limit {
            let ended = run.end().await;
            let error = place
                .error(ErrorKind::Protocol, format!("the command wrote more than {limit} bytes, and was ended"))
                .with("command", &run.shown);
            return Err(match ended {
                Ok(()) => error,
                Err(e) => error.caused_by(e.report()),
            });
        }
        if let Some(status) = run.early.take() {
            break status;
        }
        let message = tokio::select! {
            biased;
            cancelled = &mut patience => return Err(run.end_for(cancelled).await),
            message = run.read.wait() => message,
        };
        match message {
            Some(ChannelMsg::Data { data }) => stdout.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, .. }) => stderr.extend_from_slice(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => break ExitStatus::Code(exit_status.cast_signed()),
            Some(ChannelMsg::ExitSignal { signal_name: signal, .. }) => break ExitStatus::Signal(signal_name(&signal)),
            None | Some(ChannelMsg::Close) => {
                // The note stays: a resumed run looks whether it is running still.
                run.over = true;
                let message = "the connection broke; whether the command ran on is not known";
                return Err(place.error(ErrorKind::Unreachable, message).with("command", &run.shown).retry_later());
            }
            Some(_) => {}
        }
    };
    run.finished().await;
    run.rest(|err, data| {
        let to = if err { &mut stderr } else { &mut stdout };
        if to.len() <= limit {
            to.extend_from_slice(data);
        }
    })
    .await;
    if stdout.len() > limit || stderr.len() > limit {
        return Err(place
            .error(ErrorKind::Protocol, format!("the command wrote more than {limit} bytes"))
            .with("command", &run.shown));
    }
    Ok(ExecOutput { status, stdout: stdout.into(), stderr: stderr.into() })
}

/// Ends a group over a channel of its own, as the same user. `false`: it was gone.
pub(crate) async fn end_group(cx: &Context, place: &Place, group: &RemoteGroup, to: Option<&Become>) -> Result<bool> {
    let mut exec = Exec::script(end_script(group)).timeout(Duration::from_secs(30));
    exec.label = Some(format!("end of process group {}", group.pgid));
    exec.r#become = to.cloned();
    // Without its own name in the journal: it ends by itself. Boxed, since a command's end may need this in turn.
    let quiet = Context::builder().environment(cx.environment()).masker(cx.masker().clone()).build();
    let out = Box::pin(run(&quiet, place, &exec, None)).await?;
    match out.status {
        ExitStatus::Code(0) => Ok(true),
        ExitStatus::Code(3) => Ok(false),
        ref status => Err(place
            .error(ErrorKind::ToolFailed, "a process group can't be ended")
            .with("group", group.pgid)
            .with("exit_status", status)
            .caused_by(out.stderr_text())),
    }
}
