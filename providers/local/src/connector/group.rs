//! Process groups: found, told apart from later ones of the same id, and ended.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use towpath_core::RemoteGroup;

use crate::process::start_time;

/// This boot, so that an id of an earlier one is not mistaken.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The group that a command leads.
pub(super) fn record(host: &str, pid: u32, command: String) -> Option<RemoteGroup> {
    let started = start_time(pid)?;
    Some(RemoteGroup { host: host.to_owned(), pgid: pid, started, boot: boot(), user: None, command })
}

/// Says whether a group has a process that still runs. Zombies do not: who must reap them may never do it.
fn lives(pgid: i32) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return killpg(Pid::from_raw(pgid), None).is_ok() };
    entries.flatten().any(|entry| {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { return false };
        let Some((_, rest)) = stat.rsplit_once(')') else { return false };
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next();
        fields.nth(1).and_then(|g| g.parse().ok()) == Some(pgid) && !matches!(state, Some("Z" | "X"))
    })
}

/// Ends a group: TERM, 5 s, KILL. Gives `false` if it was gone already.
pub(super) async fn end(pgid: u32) -> io::Result<bool> {
    let pgid = i32::try_from(pgid).ok().filter(|p| *p > 1).ok_or_else(|| io::Error::other("no process group id"))?;
    if !lives(pgid) {
        return Ok(false);
    }
    for (signal, limit) in [(Signal::SIGTERM, 5), (Signal::SIGKILL, 10)] {
        match killpg(Pid::from_raw(pgid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => return Err(e.into()),
        }
        let until = Instant::now() + Duration::from_secs(limit);
        while Instant::now() < until {
            if !lives(pgid) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Err(io::Error::other(format!("process group {pgid} does not end, even after SIGKILL")))
}

/// Ends a group that an earlier run recorded, unless its id belongs to somebody else by now.
pub(super) async fn end_recorded(group: &RemoteGroup) -> io::Result<bool> {
    let same_boot = group.boot.is_empty() || group.boot == boot();
    if !same_boot || start_time(group.pgid).is_some_and(|started| started != group.started) {
        return Ok(false);
    }
    if start_time(group.pgid).is_none() {
        // Its leader is gone. A group id stays taken while any member lives, so what is left in it is still that group.
        return end(group.pgid).await;
    }
    end(group.pgid).await
}
