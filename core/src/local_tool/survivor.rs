//! Finds tools that outlived the process which had started them. Linux only: elsewhere nothing is found, and the tools' own locks keep two
//! from working at once.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::LocalProcess;

fn ids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The tool whose standard output is this file.
///
/// Nobody else writes there, so no id that was given to another process meanwhile can be mistaken for it. A helper that the tool has lent its
/// output is not found, unless it leads a group of its own.
pub fn writer_of(out: &Path) -> Option<LocalProcess> {
    let wanted = fs::metadata(out).ok()?;
    let writes = |pid: &u32| {
        let found = fs::metadata(format!("/proc/{pid}/fd/1"));
        found.is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
    };
    ids().filter(writes).filter_map(LocalProcess::of).find(|process| process.leads())
}

/// All processes of this user that have an environment variable of this name, with its value, the oldest first.
pub fn marked(name: &str) -> Vec<(LocalProcess, OsString)> {
    let mut found = Vec::new();
    for pid in ids() {
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        let value = |line: &[u8]| Some(line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_vec());
        if let Some(value) = environ.split(|b| *b == 0).find_map(value)
            && let Some(process) = LocalProcess::of(pid)
        {
            found.push((process, OsString::from_vec(value)));
        }
    }
    found.sort();
    found
}

/// An environment variable of a tool and of all that it starts, so that they are found even if towpath died before it learnt an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    name: &'static str,
    value: OsString,
}

impl Mark {
    /// `value` is written down before the tool starts, and never used again.
    pub fn new(name: &'static str, value: impl AsRef<OsStr>) -> Self {
        Self { name, value: value.as_ref().to_owned() }
    }

    /// Marks what this command starts.
    pub fn put_on(&self, command: &mut Command) {
        command.env(self.name, &self.value);
    }

    /// All processes of this user that carry it, the oldest first.
    pub fn processes(&self) -> Vec<LocalProcess> {
        let all = marked(self.name).into_iter();
        all.filter(|(_, value)| value.as_bytes() == self.value.as_bytes()).map(|(process, _)| process).collect()
    }

    /// Kills all that carry it, until none is left. Gives the names of those that do not end.
    pub async fn kill_all(&self) -> Vec<String> {
        for _ in 0..100 {
            let found = self.processes();
            if found.is_empty() {
                return Vec::new();
            }
            for pid in found.iter().filter_map(|p| i32::try_from(p.pid()).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.processes().into_iter().map(LocalProcess::name).collect()
    }
}
