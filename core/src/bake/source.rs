//! The commits that playbooks and roles come from.

use std::path::PathBuf;

use tokio::process::Command;

use crate::Context;

/// A checkout as it was when something was baked from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// Name of its folder. Paths and remotes of a machine stay out of records: they may hold names and passwords.
    pub(super) name: String,
    pub(super) commit: String,
    /// Whether files in it differ from the commit.
    pub(super) modified: bool,
}

/// Reads the commits; a folder that is no checkout is warned of.
pub(super) async fn commits(cx: &Context, folders: &[PathBuf]) -> Vec<Commit> {
    let mut found = Vec::new();
    for folder in folders {
        let git = async |args: &[&str]| {
            let out = Command::new("git").arg("-C").arg(folder).args(args).kill_on_drop(true).output().await.ok()?;
            out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        };
        let (commit, changes) = (git(&["rev-parse", "HEAD"]).await, git(&["status", "--porcelain", "--", "."]).await);
        match (commit, changes) {
            (Some(commit), Some(changes)) => {
                let name = std::path::absolute(folder).ok();
                let name = name.as_ref().and_then(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned());
                found.push(Commit { name: name.unwrap_or_default(), commit, modified: !changes.is_empty() });
            }
            _ => cx.warn(format!(
                "{} is no Git checkout, or there is no `git`: the record names no commit of it",
                folder.display()
            )),
        }
    }
    found
}
