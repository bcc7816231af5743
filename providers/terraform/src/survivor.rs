//! Finds a tool that outlived the towpath process that started it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The process whose standard output is this file.
///
/// Nobody else writes there, so no id that was given to another process meanwhile can be mistaken for it. Linux only; elsewhere
/// nothing is found, and the state's own lock keeps two from working at once.
pub(crate) fn writer_of(log: &Path) -> Option<u32> {
    let wanted = std::fs::metadata(log).ok()?;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(found) = std::fs::metadata(entry.path().join("fd/1")) else { continue };
        // Children (providers, local-exec) may hold it too: the tool leads its group.
        if (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()) && leads(pid) {
            return Some(pid);
        }
    }
    None
}

fn leads(pid: u32) -> bool {
    let own = i32::try_from(pid).ok().map(nix::unistd::Pid::from_raw);
    own.is_some_and(|p| nix::unistd::getpgid(Some(p)) == Ok(p))
}
