use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::{Context, Result};

/// Finds a program by its path, or by its name in `path` (`None`: the variable `PATH` of this process).
pub fn find_program(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let runs = |p: &Path| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|p| runs(p));
    }
    let path = path.map(OsStr::to_owned).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| runs(p))
}

/// Runs a tool that changes nothing which anybody would miss: it is asked for its version, or only reads. On a cancel, at the deadline, and when this is
/// dropped, it is killed.
///
/// # Errors
///
/// A cancel or the deadline. The inner one: it can't be started.
pub async fn ask(
    cx: &Context,
    provider: &'static str,
    operation: &'static str,
    command: &mut Command,
) -> Result<io::Result<Output>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    cx.guard(provider, operation, async { Ok(command.output().await) }).await
}
