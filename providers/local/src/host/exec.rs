//! Commands and shells on a host.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ssh::{Shared, Table, locked};
use super::{View, reaper};
use crate::process::TOKEN_VAR;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Input that waits for a command that does not read. Beyond it the whole connection waits, since SSH channels of one
/// connection share a buffer in russh; so this is far above what commands are given.
const INPUT_LIMIT_BYTES: usize = 64 << 20;

/// Process groups of running commands by channel.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups(Table<ChannelId, i32>);

impl Groups {
    /// Sends a signal to a channel's group.
    pub(super) fn signal(&self, channel: ChannelId, signal: &Sig) {
        let number = match signal {
            Sig::ABRT => Signal::SIGABRT,
            Sig::ALRM => Signal::SIGALRM,
            Sig::FPE => Signal::SIGFPE,
            Sig::HUP => Signal::SIGHUP,
            Sig::ILL => Signal::SIGILL,
            Sig::INT => Signal::SIGINT,
            Sig::KILL => Signal::SIGKILL,
            Sig::PIPE => Signal::SIGPIPE,
            Sig::QUIT => Signal::SIGQUIT,
            Sig::SEGV => Signal::SIGSEGV,
            Sig::TERM => Signal::SIGTERM,
            Sig::USR1 => Signal::SIGUSR1,
            Sig::Custom(name) => match format!("SIG{name}").parse() {
                Ok(signal) => signal,
                Err(_) => return,
            },
        };
        // Under the lock: once the command is reaped its entry is gone, so that a reused id is never hit.
        locked(&self.0, |groups| {
            if let Some(group) = groups.get(&channel) {
                let _ = killpg(Pid::from_raw(*group), number);
            }
        });
    }
}

/// A command to start.
pub(super) struct Job<'a> {
    pub(super) shared: &'a Shared,
    /// For `/bin/sh -c`; without it a shell that reads its input.
    pub(super) command: Option<&'a [u8]>,
    pub(super) env: Vec<(String, String)>,
    pub(super) peer: &'a str,
}

impl Job<'_> {
    /// Starts it in its own process group.
    pub(super) fn start(self) -> io::Result<Child> {
        use std::os::unix::ffi::OsStrExt as _;
        let home = self.shared.view.home();
        let mut command = tokio::process::Command::new("/bin/sh");
        if let Some(text) = self.command {
            command.arg("-c").arg(std::ffi::OsStr::from_bytes(text));
        }
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &home)
            .env("SHELL", "/bin/sh")
            .env("LANG", "C.UTF-8")
            .env("SSH_CONNECTION", format!("{} 127.0.0.1 22", self.peer.replace(':', " ")));
        let user = match &self.shared.view {
            View::Namespace => "root".to_owned(),
            View::Plain { root } => {
                command.env("TMPDIR", root.join("tmp")).env("TOWPATH_ROOT", root);
                std::env::var("USER").unwrap_or_default()
            }
        };
        command.env("USER", &user).env("LOGNAME", &user).envs(self.env).env(TOKEN_VAR, &self.shared.token);
        command.current_dir(&home).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        reaper::spawn(&mut command)
    }
}

/// Carries a running command's streams, and says how it ended.
///
/// As OpenSSH does it: the exit status goes out when the command ends, the channel is closed when its output is closed too,
/// which a background child may hold open.
///
/// `hint` goes below the first complaint about permissions on standard error.
pub(super) async fn serve(
    mut child: Child,
    channel: Channel<Msg>,
    handle: Handle,
    groups: Groups,
    hint: Option<String>,
) {
    let id = channel.id();
    let pid = child.id().unwrap_or_default();
    locked(&groups.0, |g| g.insert(id, pid.cast_signed()));
    let (reader, writer) = channel.split();
    let writer = Arc::new(writer);
    let gone = CancellationToken::new();
    let input = child.stdin.take().map(|stdin| tokio::spawn(feed(reader, stdin, gone.clone().drop_guard())));
    let out = child.stdout.take().map(|s| tokio::spawn(drain(s, Arc::clone(&writer), None, None, gone.clone())));
    let err = child.stderr.take().map(|s| tokio::spawn(drain(s, Arc::clone(&writer), Some(1), hint, gone.clone())));
    let status = child.wait().await;
    locked(&groups.0, |g| g.remove(&id));
    reaper::forget(pid);
    if let Ok(status) = status {
        tell_status(&handle, id, status).await;
    }
    for task in [out, err].into_iter().flatten() {
        let _ = task.await;
    }
    let _ = writer.eof().await;
    let _ = writer.close().await;
    if let Some(task) = input {
        task.abort();
    }
}

async fn tell_status(handle: &Handle, id: ChannelId, status: ExitStatus) {
    if let Some(code) = status.code() {
        let _ = handle.exit_status_request(id, code.cast_unsigned()).await;
    } else if let Some(number) = status.signal() {
        let name = Signal::try_from(number).map_or("KILL", |s| s.as_str().trim_start_matches("SIG"));
        let signal = match name {
            "ABRT" => Sig::ABRT,
            "ALRM" => Sig::ALRM,
            "FPE" => Sig::FPE,
            "HUP" => Sig::HUP,
            "ILL" => Sig::ILL,
            "INT" => Sig::INT,
            "KILL" => Sig::KILL,
            "PIPE" => Sig::PIPE,
            "QUIT" => Sig::QUIT,
            "SEGV" => Sig::SEGV,
            "TERM" => Sig::TERM,
            "USR1" => Sig::USR1,
            other => Sig::Custom(other.to_owned()),
        };
        let _ = handle.exit_signal_request(id, signal, status.core_dumped(), String::new(), String::new()).await;
    }
}

/// Refuses a command: its reason on standard error, exit status 126 as a shell's for what it may not run.
pub(super) async fn refuse(reason: String, channel: Channel<Msg>, handle: Handle) {
    let text = format!("towpath: {reason}\n");
    let _ = channel.extended_data_bytes(1, text.into_bytes()).await;
    let _ = handle.exit_status_request(channel.id(), 126).await;
    let _ = channel.eof().await;
    let _ = channel.close().await;
}

/// Carries output to the client, until it ends or the client is gone: closing our end lets the command see that.
async fn drain(
    mut from: impl AsyncRead + Unpin,
    to: Arc<ChannelWriteHalf<Msg>>,
    stream: Option<u32>,
    mut hint: Option<String>,
    gone: CancellationToken,
) {
    let work = async {
        let mut buffer = BytesMut::with_capacity(32 << 10);
        loop {
            buffer.reserve(16 << 10);
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let mut bytes = buffer.split().freeze();
            if let Some(at) = hint.as_ref().and_then(|_| end_of_complaint(&bytes)) {
                let (before, after) = bytes.split_at(at);
                bytes = [before, hint.take().unwrap_or_default().as_bytes(), after].concat().into();
            }
            let sent = match stream {
                None => to.data_bytes(bytes).await,
                Some(number) => to.extended_data_bytes(number, bytes).await,
            };
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = gone.cancelled() => {}
    }
}

/// Where the first line ends that says what the guard of plain hosts makes every program say, in the language of these
/// commands. Source: Linux documentation, "Landlock", "Current limitations": a refused link or move is a cross-device one.
fn end_of_complaint(bytes: &[u8]) -> Option<usize> {
    let says = |said: &&str| bytes.windows(said.len()).position(|w| w == said.as_bytes());
    let at = ["Permission denied", "Invalid cross-device link"].iter().filter_map(says).min()?;
    let rest = bytes.get(at..)?;
    Some(rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n + 1))
}

/// Hands the client's input to the command, and its end.
async fn feed(mut from: ChannelReadHalf, stdin: ChildStdin, _gone_when_over: DropGuard) {
    let mut stdin = Some(stdin);
    let mut queue: VecDeque<Bytes> = VecDeque::new();
    let mut queued = 0;
    let mut ended = false;
    loop {
        if ended && queue.is_empty() {
            stdin = None;
        }
        let writable = stdin.is_some() && !queue.is_empty();
        tokio::select! {
            message = from.wait(), if queued < INPUT_LIMIT_BYTES => match message {
                Some(ChannelMsg::Data { data }) => {
                    if stdin.is_some() {
                        queued += data.len();
                        queue.push_back(data);
                    }
                }
                Some(ChannelMsg::Eof) => ended = true,
                Some(ChannelMsg::Close) | None => return,
                Some(_) => {}
            },
            written = write_front(&mut stdin, &queue), if writable => match written {
                Ok(n) => {
                    queued -= n;
                    if let Some(mut front) = queue.pop_front()
                        && n < front.len() {
                            queue.push_front(front.split_off(n));
                        }
                }
                // It closed its input or ended: the rest is of no use to anybody.
                Err(_) => {
                    stdin = None;
                    queue.clear();
                    queued = 0;
                }
            },
        }
    }
}

async fn write_front(stdin: &mut Option<ChildStdin>, queue: &VecDeque<Bytes>) -> io::Result<usize> {
    match (stdin, queue.front()) {
        (Some(stdin), Some(front)) => stdin.write(front).await,
        _ => Ok(0),
    }
}
