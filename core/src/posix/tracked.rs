use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::posix::wrapper::end_script;
use crate::{Become, BecomeMethod, Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Json, RemoteGroup, Result};

/// A command on a host from its start to its end, whatever carries it: whose it is, and its line in the journal.
#[derive(Debug)]
pub struct Tracked {
    provider: &'static str,
    host: Arc<str>,
    /// What it was started with.
    pub cx: Context,
    /// Its process group, once the host has told it.
    pub group: Option<RemoteGroup>,
    /// Whom it became.
    pub r#become: Option<Become>,
    /// What events and errors show for it.
    pub shown: String,
    /// Nothing is left to end, or nothing that can be.
    pub over: bool,
    note: Option<String>,
}

static NOTES: AtomicU64 = AtomicU64::new(1);

impl Tracked {
    /// One that is about to start.
    pub fn new(provider: &'static str, host: Arc<str>, cx: &Context, exec: &Exec) -> Self {
        Self {
            provider,
            host,
            cx: cx.clone(),
            group: None,
            r#become: exec.r#become.clone(),
            shown: exec.shown(),
            over: false,
            note: None,
        }
    }

    /// An error that names the host.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.provider, "exec", message).with("host", &self.host)
    }

    /// Learns its group from the frame: process group, start time of its leader, boot.
    pub fn begun(&mut self, group: Option<(u32, u64, String)>) {
        self.group = group.map(|(pgid, started, boot)| RemoteGroup {
            host: self.host.to_string(),
            pgid,
            started,
            boot,
            user: self.r#become.as_ref().map(|b| b.user.clone()),
            command: self.shown.clone(),
        });
    }

    /// Keeps the group in the journal as long as it runs.
    ///
    /// # Errors
    ///
    /// Those of [`Context::note`].
    pub async fn note(&mut self) -> Result<()> {
        let (Some(_), Some(group)) = (self.cx.step(), &self.group) else { return Ok(()) };
        let name = format!("group/{}", NOTES.fetch_add(1, Ordering::Relaxed));
        self.cx.note(&name, serde_json::to_value(group).unwrap_or_default()).await?;
        self.note = Some(name);
        Ok(())
    }

    /// Says that it is over: nothing is left to end.
    pub async fn finished(&mut self) {
        self.over = true;
        if let Some(name) = self.note.take() {
            let _ = self.cx.note(&name, Json::Null).await;
        }
    }

    /// sudo or su refused; `said`: its own words.
    pub fn denied(&self, said: &[u8], message: &str) -> Error {
        let to = self.r#become.as_ref();
        let said = String::from_utf8_lossy(said).trim().to_owned();
        let method = to.map_or("sudo", |b| if b.method == BecomeMethod::Su { "su" } else { "sudo" });
        let error = self
            .error(ErrorKind::Denied, format!("{method}: {message}"))
            .with("user", to.map_or("", |b| b.user.as_str()));
        if said.is_empty() { error } else { error.caused_by(said) }
    }

    /// It ended without having become the command. `place`: what it was to run on, for people.
    pub fn not_started(&self, said: &[u8], place: &str) -> Error {
        if self.r#become.is_some() {
            return self.denied(said, &format!("the {place} does not let this user become the other one"));
        }
        let said = String::from_utf8_lossy(said).trim().to_owned();
        self.error(ErrorKind::Protocol, format!("the {place} does not run commands with /bin/sh"))
            .caused_by(if said.is_empty() { "it said nothing".to_owned() } else { said })
    }

    /// Its caller has lost patience; `what`: what became of it.
    pub fn gave_up(&self, cancelled: bool, what: &str) -> Error {
        let (kind, word) =
            if cancelled { (ErrorKind::Cancelled, "cancelled") } else { (ErrorKind::Timeout, "out of time") };
        self.error(kind, format!("{word}{what}")).with("command", &self.shown)
    }

    /// The same, after its group was ended, or could not be.
    pub fn ended_for(&self, cancelled: bool, ended: Result<()>) -> Error {
        match ended {
            Ok(()) => self.gave_up(cancelled, "; the command was ended with its process group"),
            Err(e) => self.gave_up(cancelled, "; the command may be running still").caused_by(e.report()),
        }
    }

    /// It wrote more than it may, and was ended for that, or could not be.
    pub fn wrote_too_much(&self, limit_bytes: usize, ended: Result<()>) -> Error {
        let error = self
            .error(ErrorKind::Protocol, format!("the command wrote more than {limit_bytes} bytes, and was ended"))
            .with("command", &self.shown);
        match ended {
            Ok(()) => error,
            Err(e) => error.caused_by(e.report()),
        }
    }

    /// For a command whose future was dropped: ends its group in a task of its own, as far as that can be helped.
    pub fn abandon<F>(&mut self, end: impl FnOnce(Context, RemoteGroup, Option<Become>) -> F)
    where
        F: Future<Output = Result<bool>> + Send + 'static,
    {
        if self.over {
            return;
        }
        let (Some(group), Ok(runtime)) = (self.group.take(), tokio::runtime::Handle::try_current()) else { return };
        let (cx, note) = (self.cx.shielded(), self.note.take());
        let ending = end(cx.clone(), group, self.r#become.take());
        runtime.spawn(async move {
            if let (Ok(_), Some(name)) = (ending.await, note) {
                let _ = cx.note(&name, Json::Null).await;
            }
        });
    }
}

/// The command that ends a group, and the context to run it in: without a line of its own in the journal, since it ends by itself.
pub fn end_command(cx: &Context, group: &RemoteGroup, to: Option<&Become>) -> (Context, Exec) {
    let mut exec = Exec::script(end_script(group)).timeout(Duration::from_secs(30));
    exec.label = Some(format!("end of process group {}", group.pgid));
    exec.r#become = to.cloned();
    (Context::builder().environment(cx.environment()).masker(cx.masker().clone()).build(), exec)
}

/// What that command said. `false`: the group was gone.
///
/// # Errors
///
/// [`ToolFailed`](ErrorKind::ToolFailed): it runs still.
pub fn end_answer(provider: &'static str, host: &str, group: &RemoteGroup, out: &ExecOutput) -> Result<bool> {
    match &out.status {
        ExitStatus::Code(0) => Ok(true),
        ExitStatus::Code(3) => Ok(false),
        status => Err(Error::new(ErrorKind::ToolFailed, provider, "exec", "a process group can't be ended")
            .with("host", host)
            .with("group", group.pgid)
            .with("exit_status", status)
            .caused_by(out.stderr_text())),
    }
}
