//! Finds a vagrant that outlived the towpath process which had started it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Environment variable of vagrant and all that it starts: the folder that it works in.
pub(super) const FOLDER_VAR: &str = "TOWPATH_VAGRANT_FOLDER";

/// The process that leads the group of a vagrant at work in this folder. Linux only; elsewhere nothing is found, and Vagrant's own
/// locks keep two from working at once.
pub(super) fn find(folder: &Path) -> Option<i32> {
    let wanted = [FOLDER_VAR.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else { continue };
        // Services that it started may outlive it on purpose; vagrant itself leads the group.
        if environ.split(|b| *b == 0).any(|v| v == wanted)
            && nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).is_ok_and(|g| g.as_raw() == pid)
        {
            return Some(pid);
        }
    }
    None
}
