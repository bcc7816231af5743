//! Runs one command to its end.

use std::sync::Arc;

use tokio::sync::OnceCell;
use towpath_core::posix::{Input, deadline, end_answer, end_command, impatient};
use towpath_core::{Become, Context, Error, ErrorKind, Exec, ExecOutput, RemoteGroup, Result};

use super::running::Said;
use super::start::start;
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
            return Err(run.tracked.wrote_too_much(limit, ended));
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
    run.tracked.finished().await;
    Ok(ExecOutput { status, stdout: stdout.into(), stderr: stderr.into() })
}

/// Ends a group through a command of its own, as the same user. `false`: it was gone.
pub(super) async fn end_group(cx: &Context, place: &Place, group: &RemoteGroup, to: Option<&Become>) -> Result<bool> {
    let (quiet, exec) = end_command(cx, group, to);
    // Boxed, since a command's end may need this in turn.
    let out = match Box::pin(run(&quiet, place, &exec, None)).await {
        Ok(out) => out,
        Err(e) => {
            // All processes of a container that does not run are gone.
            let found = place.engine.container("end_group", &place.container).await?;
            let runs = found.and_then(|c| c.state).is_some_and(|s| s.running == Some(true));
            return if runs { Err(e) } else { Ok(false) };
        }
    };
    end_answer(PROVIDER, &place.host, group, &out)
}
