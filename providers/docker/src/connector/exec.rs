//! Runs one command to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use towpath_core::posix::end_script;
use towpath_core::{Become, Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, RemoteGroup, Result};

use super::running::Said;
use super::start::{Input, start};
use crate::PROVIDER;
use crate::engine::Engine;

/// Where and for whom a command runs.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) engine: Engine,
    /// The container's id.
    pub(super) container: Arc<str>,
    /// The host's name, for errors.
    pub(super) host: Arc<str>,
    /// Whom the engine runs commands as; the container's own user if not given.
    pub(super) user: Option<Arc<str>>,
    /// Whether the container has sudo, once somebody wanted to know.
    pub(super) has_sudo: Arc<OnceCell<bool>>,
}

impl Place {
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, PROVIDER, "exec", message).with("host", &self.host)
    }
}

/// When a command must be over.
pub(super) fn deadline(cx: &Context, exec: &Exec) -> Option<Instant> {
    let own = exec.timeout.map(|d| Instant::now() + d);
    match (own, cx.deadline()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Ends when the caller loses patience: with `true` after a cancel, with `false` at the deadline.
pub(super) async fn impatient(cx: &Context, deadline: Option<Instant>) -> bool {
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

/// Runs a command to its end.
pub(super) async fn run(cx: &Context, place: &Place, exec: &Exec, input: Option<Input>) -> Result<ExecOutput> {
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
        let said = tokio::select! {
            biased;
            cancelled = &mut patience => return Err(run.end_for(cancelled).await),
            said = run.next() => said?,
        };
        match said {
            Said::Out(data) => stdout.extend_from_slice(&data),
            Said::Err(data) => stderr.extend_from_slice(&data),
            Said::Ended(status) => break status,
        }
    };
    run.finished().await;
    Ok(ExecOutput { status, stdout: stdout.into(), stderr: stderr.into() })
}

/// Ends a group through a command of its own, as the same user. `false`: it was gone.
pub(super) async fn end_group(cx: &Context, place: &Place, group: &RemoteGroup, to: Option<&Become>) -> Result<bool> {
    let mut exec = Exec::script(end_script(group)).timeout(Duration::from_secs(30));
    exec.label = Some(format!("end of process group {}", group.pgid));
    exec.r#become = to.cloned();
    // Without its own name in the journal: it ends by itself. Boxed, since a command's end may need this in turn.
    let quiet = Context::builder().environment(cx.environment()).masker(cx.masker().clone()).build();
    let out = match Box::pin(run(&quiet, place, &exec, None)).await {
        Ok(out) => out,
        Err(e) => {
            // All processes of a container that does not run are gone.
            let found = place.engine.container("end_group", &place.container).await?;
            let runs = found.and_then(|c| c.state).is_some_and(|s| s.running == Some(true));
            return if runs { Err(e) } else { Ok(false) };
        }
    };
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
