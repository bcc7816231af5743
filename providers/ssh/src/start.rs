//! Starts one command and waits until it is known to run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::sync::oneshot;
use towpath_core::posix::{Input, Seen, Start, Tracked, Wrapped, count_prompts, find_frame, impatient, wrap};
use towpath_core::{Context, ErrorKind, Exec, ExitStatus, Result};

use crate::exec::Place;
use crate::running::{Running, signal_name};
use crate::session::Transport;
use crate::{PROVIDER, random_name};

/// The longest a started command may take to say that it runs, after somebody has lost patience.
const GRACE: Duration = Duration::from_secs(5);

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
    let wrapped = wrap(PROVIDER, exec, Start::AsConnected, random_name).map_err(|e| e.with("host", &place.host))?;
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
    let line = wrapped.line();
    let Wrapped { header, token, prompt, .. } = wrapped;
    let (read, write) = channel.split();
    let broken = |e: russh::Error| {
        place.error(ErrorKind::Unreachable, "the connection broke before the command ran").retry_later().caused_by(e)
    };
    write.exec(false, line).await.map_err(broken)?;
    let mut run = Running {
        place: place.clone(),
        tracked: Tracked::new(PROVIDER, Arc::clone(&place.host), cx, exec),
        read,
        write: Arc::new(write),
        transport,
        stdout: Vec::new(),
        stderr: Vec::new(),
        early: None,
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
                    run.tracked.over = true;
                    return Err(run.tracked.gave_up(cancelled, "; it had not started"));
                }
                lost = Some(cancelled);
                continue;
            }
            () = limit => {
                let _ = run.write.close().await;
                run.tracked.over = true;
                return Err(match lost {
                    Some(cancelled) => {
                        let what = "; the host did not say what it started: it may be running still";
                        run.tracked.gave_up(cancelled, what)
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
                    run.tracked.begun(group);
                    if let (Some(cancelled), None) = (lost, &run.early) {
                        return Err(run.end_for(cancelled).await);
                    }
                    if held.is_some() {
                        run.feed(held.take());
                    }
                    if run.early.is_none() {
                        run.tracked.note().await?;
                    }
                    return Ok(run);
                }
                if let (Some(password), true) = (password, held.is_some()) {
                    let prompts = count_prompts(&run.stderr, &prompt);
                    if prompts > asked {
                        asked = prompts;
                        if answered {
                            let _ = run.write.close().await;
                            run.tracked.over = true;
                            return Err(run.tracked.denied(&run.stderr, "the password is not accepted"));
                        }
                        answered = true;
                        let answer = Bytes::from(format!("{}\n", password.expose()));
                        run.write.data_bytes(answer).await.map_err(broken)?;
                    }
                }
            }
            Some(ChannelMsg::Failure) => {
                run.tracked.over = true;
                place.slot.runs_no_commands();
                return Err(place.error(ErrorKind::Denied, "the host refuses to run commands"));
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                run.early = Some(ExitStatus::Code(exit_status.cast_signed()));
            }
            Some(ChannelMsg::ExitSignal { signal_name: signal, .. }) => {
                run.early = Some(ExitStatus::Signal(signal_name(&signal)));
            }
            Some(ChannelMsg::Close) => {
                run.tracked.over = true;
                return Err(run.not_started());
            }
            None if run.early.is_some() => {
                run.tracked.over = true;
                return Err(run.not_started());
            }
            None => {
                run.tracked.over = true;
                let message = "the connection broke while a command was started; whether it runs is not known";
                return Err(place
                    .error(ErrorKind::Unreachable, message)
                    .with("command", &run.tracked.shown)
                    .retry_later());
            }
            Some(_) => {}
        }
    }
}
