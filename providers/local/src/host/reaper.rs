//! Reaps orphans. A host is process 1 of its namespace (or a subreaper), so that every process whose parent has ended
//! becomes its child.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// Children that somebody in this process waits for.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a child under the lock, so that the reaper never takes its status away.
pub(super) fn spawn(command: &mut tokio::process::Command) -> io::Result<tokio::process::Child> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    if let Some(pid) = child.id() {
        own.insert(pid.cast_signed());
    }
    Ok(child)
}

/// Forgets a child whose status was taken.
pub(super) fn forget(pid: u32) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid.cast_signed());
}

/// Reaps in the background.
pub(super) fn start() -> io::Result<()> {
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?;
    tokio::spawn(async move {
        loop {
            ended.recv().await;
            // Signals merge, and one of our own children in front hides the orphans behind it until it is waited for.
            while !reap() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    Ok(())
}

/// Reaps every orphan that has ended. Gives `false` if one of our own children stands in front.
fn reap() -> bool {
    loop {
        let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::All, peek) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => {
                if own.contains(&pid.as_raw()) {
                    return false;
                }
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
            _ => return true,
        }
    }
}

/// All processes below this one, by `/proc`.
pub(super) fn descendants() -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut fields = rest.split_ascii_whitespace();
        let (Some(state), Some(parent)) = (fields.next(), fields.next().and_then(|p| p.parse().ok())) else { continue };
        if state != "Z" {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![Pid::this().as_raw()];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}
