use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{BecomeMethod, BecomeSpec, Capabilities, Context, Host, Preflight, Result, Secret};

/// Reaches hosts.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync {
    /// What its connections can do: `exec`, `spawn`, `put`, `get`, `dial`, `become`, `signal`.
    fn capabilities(&self) -> Capabilities;

    /// Checks that hosts could be reached at all: keys, agent, known hosts. Connects nowhere.
    ///
    /// # Errors
    ///
    /// [`ToolMissing`](crate::ErrorKind::ToolMissing), [`InvalidInput`](crate::ErrorKind::InvalidInput): what to install or mend.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Connects and authenticates. Connections to the same host may share one transport.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](crate::ErrorKind::Unreachable), retryable: nobody answers.
    /// [`Denied`](crate::ErrorKind::Denied): an unknown or changed host key, or no accepted credential.
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): an option that is refused by name.
    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>>;
}

/// An authenticated way to one host. Cheap to share; every method may be called concurrently.
#[async_trait]
pub trait Connection: fmt::Debug + Send + Sync {
    /// The host's name, for errors and events.
    fn host(&self) -> &str;

    /// Runs a command and waits for its end.
    ///
    /// A non-zero exit status is *not* an error: look at [`ExecOutput::status`], or use [`ExecOutput::success`].
    /// The command runs in its own process group with stdin closed unless given. On cancel and on timeout the group is
    /// ended as the same user (TERM, 5 s, KILL) before this returns.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::ErrorKind::Cancelled), [`Timeout`](crate::ErrorKind::Timeout): says what still runs, if anything.
    /// [`Denied`](crate::ErrorKind::Denied): sudo or su refused.
    /// [`Unreachable`](crate::ErrorKind::Unreachable): the connection broke; whether the command ran on is not known.
    /// [`Protocol`](crate::ErrorKind::Protocol): more output than [`Exec::limit_bytes`].
    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput>;

    /// Starts a command with streams: a long-lived shell, a follower of a log.
    ///
    /// # Errors
    ///
    /// As [`exec`](Self::exec), for starting it.
    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process>;

    /// Writes a file: a temporary beside it with mode 0600, then owner and mode, then rename. Never a torn file.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound): its directory does not exist. [`Denied`](crate::ErrorKind::Denied): no permission.
    /// [`ToolFailed`](crate::ErrorKind::ToolFailed): the disk is full, chown failed, ...; the cause is in the message.
    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()>;

    /// Reads a file, up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Denied`](crate::ErrorKind::Denied);
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): larger than the limit.
    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<Bytes>;

    /// Opens a TCP port or Unix socket as seen from the host.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](crate::ErrorKind::Unreachable): nobody listens there. [`Denied`](crate::ErrorKind::Denied): forwarding is forbidden.
    async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>>;

    /// Ends a process group that an earlier run left behind: TERM, 5 s, KILL. Gives `false` if it was gone already.
    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool>;

    /// Closes the transport if nobody else uses it.
    async fn close(&self);
}

/// A command for a host.
#[derive(Debug, Clone)]
pub struct Exec {
    /// What runs.
    pub program: Program,
    /// Environment variables on top of the host's own.
    pub env: Vec<(String, String)>,
    /// Working directory; the user's home if not given.
    pub cwd: Option<String>,
    /// Standard input; closed if not given.
    pub stdin: Option<Bytes>,
    /// The user that it becomes.
    pub r#become: Option<Become>,
    /// Longest time it may take; `cx`'s deadline also counts.
    pub timeout: Option<Duration>,
    /// Most bytes of stdout and of stderr that are kept. More ends the command with an error. 16 MiB by default.
    pub limit_bytes: usize,
    /// Shown in events and errors instead of the command line, where that may hold secrets.
    pub label: Option<String>,
}

/// What an [`Exec`] runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments; every one is quoted.
    Argv(Vec<String>),
    /// A script for `/bin/sh`, sent through standard input or an argument, never written to disk.
    Script(String),
}

impl Exec {
    /// A program with arguments.
    pub fn argv<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(Program::Argv(argv.into_iter().map(Into::into).collect()))
    }

    /// A script for `/bin/sh`.
    pub fn script(script: impl Into<String>) -> Self {
        Self::new(Program::Script(script.into()))
    }

    fn new(program: Program) -> Self {
        Self {
            program,
            env: Vec::new(),
            cwd: None,
            stdin: None,
            r#become: None,
            timeout: None,
            limit_bytes: 16 << 20,
            label: None,
        }
    }

    /// Runs it as another user.
    #[must_use]
    pub fn become_user(mut self, to: Become) -> Self {
        self.r#become = Some(to);
        self
    }

    /// Gives it standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Bytes>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Limits its time.
    #[must_use]
    pub fn timeout(mut self, d: Duration) -> Self {
        self.timeout = Some(d);
        self
    }

    /// What events and errors show for it, at most 120 characters.
    pub fn shown(&self) -> String {
        let text = match (&self.label, &self.program) {
            (Some(label), _) => label.clone(),
            (None, Program::Argv(argv)) => argv.iter().map(|a| shell_quote(a)).collect::<Vec<_>>().join(" "),
            (None, Program::Script(s)) => s.lines().next().unwrap_or_default().to_owned(),
        };
        if text.chars().count() <= 120 { text } else { text.chars().take(117).chain("...".chars()).collect() }
    }
}

/// Quotes one word for `/bin/sh`; plain words stay as they are.
pub fn shell_quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%_+=:,./-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// How a command becomes another user, with the password resolved.
#[derive(Debug, Clone)]
pub struct Become {
    /// The user.
    pub user: String,
    /// The way.
    pub method: BecomeMethod,
    /// The password. Sent only after a random prompt was seen; never in argv, environment or script text.
    pub password: Option<Secret>,
    /// More arguments of sudo or su.
    pub flags: Vec<String>,
}

impl BecomeSpec {
    /// The same with its password resolved.
    ///
    /// # Errors
    ///
    /// Those of [`Context::resolve`].
    pub async fn resolve(&self, cx: &Context) -> Result<Become> {
        let password = match &self.password {
            Some(password) => Some(cx.resolve(password).await?),
            None => None,
        };
        Ok(Become { user: self.user.clone(), method: self.method, password, flags: self.flags.clone() })
    }
}

impl Become {
    /// `sudo -u root`, without a password.
    pub fn root() -> Self {
        Self { user: "root".into(), method: BecomeMethod::Sudo, password: None, flags: Vec::new() }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// Its exit code.
    Code(i32),
    /// The signal that ended it, without `SIG`: `TERM`.
    Signal(String),
}

impl ExitStatus {
    /// Says whether it is exit code 0.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(c) => write!(f, "{c}"),
            Self::Signal(s) => write!(f, "signal {s}"),
        }
    }
}

/// What a finished command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Bytes,
    /// Standard error.
    pub stderr: Bytes,
}

impl ExecOutput {
    /// Standard output as text, invalid UTF-8 replaced, without trailing newlines.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// Standard error as text, invalid UTF-8 replaced, without trailing newlines.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end_matches('\n').to_owned()
    }

    /// Turns a non-zero exit into [`ToolFailed`](crate::ErrorKind::ToolFailed) with the command's own last lines.
    pub fn success(self, provider: &'static str, operation: &'static str, host: &str, command: &Exec) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let text = if self.stderr.is_empty() { self.stdout_text() } else { self.stderr_text() };
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
        let mut error =
            crate::Error::new(crate::ErrorKind::ToolFailed, provider, operation, "a command on the host failed")
                .with("host", host)
                .with("command", command.shown())
                .with("exit_status", &self.status);
        if !tail.is_empty() {
            error = error.caused_by(tail);
        }
        Err(error)
    }
}

/// A running command with its streams.
pub struct Process {
    /// Its standard input; dropping it closes it.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Waits for it and ends it.
    pub control: Box<dyn ProcessControl>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("group", &self.control.group()).finish_non_exhaustive()
    }
}

/// Waits for a running command and ends it.
#[async_trait]
pub trait ProcessControl: Send + Sync {
    /// Its process group on the host, as far as known.
    fn group(&self) -> Option<RemoteGroup>;

    /// Waits for its end. A broken connection is [`Unreachable`](crate::ErrorKind::Unreachable), never a success.
    async fn wait(&mut self) -> Result<ExitStatus>;

    /// Ends its whole group as the same user: TERM, 5 s, KILL.
    async fn end(&mut self) -> Result<()>;
}

/// A process group on a host, as the journal records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteGroup {
    /// The host.
    pub host: String,
    /// Process group id.
    pub pgid: u32,
    /// Start time of the leader in clock ticks since boot, so that a reused id is not mistaken for it.
    pub started: u64,
    /// The boot it belongs to (`/proc/sys/kernel/random/boot_id`), empty if not known.
    #[serde(default)]
    pub boot: String,
    /// The user it runs as, if the connection's user became another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Shown to people.
    pub command: String,
}

impl RemoteGroup {
    /// Whom a connection must become to end it. `spec`: how this host's commands become somebody.
    ///
    /// # Errors
    ///
    /// Those of [`Context::resolve`].
    pub async fn owner(&self, cx: &Context, spec: Option<&BecomeSpec>) -> Result<Option<Become>> {
        let Some(user) = self.user.clone() else { return Ok(None) };
        let how = match spec {
            Some(spec) => spec.resolve(cx).await?,
            None => Become::root(),
        };
        Ok(Some(Become { user, ..how }))
    }
}

/// Content to put on a host.
#[derive(Debug, Clone)]
pub enum Source {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file on this machine.
    File(PathBuf),
}

/// Options of [`Connection::put`].
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Permission bits; if not given those of the file it replaces, else 0600.
    pub mode: Option<u32>,
    /// Owner by name or number.
    pub owner: Option<String>,
    /// Group by name or number.
    pub group: Option<String>,
    /// The user that writes it.
    pub r#become: Option<Become>,
}

/// Something to dial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Host name or address, and port, as seen from the host.
    Tcp(String, u16),
    /// Path of a Unix socket on the host.
    Unix(String),
}

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
