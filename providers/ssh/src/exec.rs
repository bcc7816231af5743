//! Runs one command to its end.

use std::sync::Arc;

use russh::ChannelMsg;
use towpath_core::posix::{Input, deadline, end_answer, end_command, impatient};
use towpath_core::{Become, Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, RemoteGroup, Result};

use crate::PROVIDER;
use crate::pool::Slot;
use crate::running::signal_name;
use crate::start::start;

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
            return Err(run.tracked.wrote_too_much(limit, ended));
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
                run.tracked.over = true;
                let message = "the connection broke; whether the command ran on is not known";
                return Err(place
                    .error(ErrorKind::Unreachable, message)
                    .with("command", &run.tracked.shown)
                    .retry_later());
            }
            Some(_) => {}
        }
    };
    run.tracked.finished().await;
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
            .with("command", &run.tracked.shown));
    }
    Ok(ExecOutput { status, stdout: stdout.into(), stderr: stderr.into() })
}

/// Ends a group over a channel of its own, as the same user. `false`: it was gone.
pub(crate) async fn end_group(cx: &Context, place: &Place, group: &RemoteGroup, to: Option<&Become>) -> Result<bool> {
    let (quiet, exec) = end_command(cx, group, to);
    // Boxed, since a command's end may need this in turn.
    let out = Box::pin(run(&quiet, place, &exec, None)).await?;
    end_answer(PROVIDER, &place.host, group, &out)
}
