//! Packer's processes: who they are, and how they are ended.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use towpath_core::{Context, Error, Result, Retry};

use crate::provider::PACKER;
use crate::work::Work;

/// Environment variable of Packer and all that it starts. Its value is random for each run and recorded before, so that
/// a process is found even if towpath died before it learnt its id.
pub(crate) const TOKEN_VAR: &str = "TOWPATH_PACKER_RUN";

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) started: u64,
}

/// Fields of `/proc/<pid>/stat` after the command's name; that may hold blanks and brackets, the last bracket ends it.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Start time in clock ticks since boot. `None`: no such process, or only its remains.
fn start_time(pid: i32) -> Option<u64> {
    let fields = stat(pid)?;
    match fields.first().map(String::as_str) {
        Some("Z" | "X") | None => None,
        Some(_) => fields.get(19)?.parse().ok(),
    }
}

impl Process {
    fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// What runs there, for people: the program's name only, since arguments may hold anything.
    pub(crate) fn name(self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        format!("{} (process {})", name.trim(), self.pid)
    }
}

/// All processes of this user that carry `token` in their environment, the oldest first.
pub(crate) fn find(token: &str) -> Vec<Process> {
    let wanted = format!("{TOKEN_VAR}={token}").into_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        if environ.split(|b| *b == 0).any(|v| v == wanted)
            && let Some(started) = start_time(pid)
        {
            found.push(Process { pid, started });
        }
    }
    found.sort_by_key(|p| (p.started, p.pid));
    found
}

/// Interrupts a group of processes, as Ctrl-C would.
pub(crate) fn interrupt(group: i32) {
    // Gone already is what is wanted.
    let _ = killpg(Pid::from_raw(group), Signal::SIGINT);
}

/// Kills all that carry the token, until none is left. Gives the names of those that do not end.
pub(crate) async fn kill_all(token: &str) -> Vec<String> {
    for _ in 0..100 {
        let found = find(token);
        if found.is_empty() {
            return Vec::new();
        }
        for process in &found {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    find(token).into_iter().map(Process::name).collect()
}

/// What ending somebody else's run came to.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// What was running.
    pub(crate) found: Vec<String>,
    /// It had to be killed, so it could not clean up.
    pub(crate) killed: bool,
    /// What runs on all the same.
    pub(crate) left: Vec<String>,
}

/// Ends a run whose towpath is gone: an interrupt, so that Packer removes what its builders made, and a kill if that takes
/// longer than `grace`.
///
/// # Errors
///
/// A cancel or the deadline: what was interrupted cleans up still, and whoever comes next must look after it.
pub(crate) async fn end(cx: &Context, operation: &'static str, work: &Work, grace: Duration) -> Result<Ended> {
    let processes = find(&work.token);
    let mut ended = Ended { found: processes.iter().map(|p| p.name()).collect(), ..Ended::default() };
    if let Some(first) = processes.first().copied() {
        // Packer leads a group of its own; a child of it is found first only if Packer itself is gone.
        let group = stat(first.pid).and_then(|f| f.get(2)?.parse().ok()).unwrap_or(first.pid);
        let leader_is_ours = processes.iter().any(|p| p.pid == group);
        if leader_is_ours {
            work.interrupt(group);
            let until = tokio::time::Instant::now() + grace;
            while Process::is_alive(first) && tokio::time::Instant::now() < until {
                if let Err(e) = cx.check(PACKER, operation) {
                    let what = "asked to stop while packer, whose towpath is gone, was cleaning up; the next build of this image looks after it";
                    let error = Error::new(e.kind(), PACKER, operation, what).with("still_running", first.name());
                    return Err(if e.retry() == Retry::Later { error.retry_later() } else { error });
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        ended.killed = !leader_is_ours || first.is_alive();
        ended.left = kill_all(&work.token).await;
    }
    if ended.left.is_empty() && work.is_running() {
        ended.left.push("packer, on another machine, in another container or of another user".to_owned());
    }
    Ok(ended)
}
