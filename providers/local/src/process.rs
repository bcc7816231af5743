//! Detached processes: who they are, whether they live, and how they are ended.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use towpath_core::LocalProcess;
use towpath_core::local_tool::Mark;

/// Environment variable that names the thing a process belongs to. Its children inherit it, so that leftovers are found.
pub(crate) const TOKEN_VAR: &str = "TOWPATH_LOCAL_TOKEN";

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its id as this machine sees it, outside of any namespace.
    pub(crate) pid: i32,
    /// Its start time in clock ticks since boot.
    pub(crate) started: u64,
    /// The token of what it belongs to.
    pub(crate) token: String,
}

impl ProcessId {
    /// Says whether exactly this process runs still. A zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        let now = u32::try_from(self.pid).ok().and_then(LocalProcess::of);
        now.is_some_and(|now| now.started() == self.started) && self.has_token()
    }

    /// A process of another boot may have the same id and start time, but not the token.
    fn has_token(&self) -> bool {
        let wanted = format!("{TOKEN_VAR}={}", self.token);
        let environ = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environ.split(|b| *b == 0).any(|v| v == wanted.as_bytes())
    }

    /// Sends a signal, unless the process is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Ends it: TERM, `grace`, KILL. Gives `false` if it was gone already.
    pub(crate) async fn end(&self, grace: Duration) -> std::io::Result<bool> {
        if !self.is_alive() {
            return Ok(false);
        }
        self.signal(Signal::SIGTERM);
        if wait_until(grace, || !self.is_alive()).await {
            return Ok(true);
        }
        self.signal(Signal::SIGKILL);
        if wait_until(Duration::from_secs(10), || !self.is_alive()).await {
            return Ok(true);
        }
        Err(std::io::Error::other(format!("process {} does not end, even after SIGKILL", self.pid)))
    }
}

async fn wait_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Start time of a process, or of its remains, in clock ticks since boot. `None`: there is no such process.
pub(crate) fn start_time(pid: impl std::fmt::Display) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; the last bracket ends it.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// All processes of this user that carry `token` in their environment.
pub(crate) fn find_by_token(token: &str) -> Vec<ProcessId> {
    let all = Mark::new(TOKEN_VAR, token).processes().into_iter();
    all.map(|p| ProcessId { pid: p.pid().cast_signed(), started: p.started(), token: token.to_owned() }).collect()
}

/// Ends every process that carries `token`: KILL, until none is left. Gives how many there were.
pub(crate) async fn end_by_token(token: &str) -> std::io::Result<usize> {
    let mut seen = std::collections::BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = find_by_token(token);
        if found.is_empty() {
            return Ok(seen.len());
        }
        for process in found {
            match kill(Pid::from_raw(process.pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(std::io::Error::other(format!("process {} can't be ended: {e}", process.pid))),
            }
            seen.insert((process.pid, process.started));
        }
        if Instant::now() >= until {
            return Err(std::io::Error::other("processes do not end, even after SIGKILL"));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
