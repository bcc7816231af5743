//! Finds the program and checks its version.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use towpath_core::{Context, Error, ErrorKind, Result};

use super::VAGRANT;
use super::config::VagrantConfig;
use super::message::Line;
use super::run::not_started;

/// The oldest version that is known to work.
const OLDEST: (u32, u32) = (2, 2);
const INSTALL: &str = "install vagrant 2.2 or later (`apt-get install vagrant` on Debian, or a package from its makers), or name it \
                       in `program`";

/// Vagrant, found.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

fn find(program: &Path) -> Option<PathBuf> {
    let runs = |p: &Path| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|p| runs(p));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| runs(p))
}

impl Tool {
    /// Finds Vagrant, and asks it for its version.
    pub(super) async fn find(cx: &Context, config: &VagrantConfig, operation: &'static str) -> Result<Self> {
        let missing = |what: String| {
            Error::new(ErrorKind::ToolMissing, VAGRANT, operation, what).with("program", config.program.display())
        };
        let path = find(&config.program).ok_or_else(|| missing(format!("vagrant is not there: {INSTALL}")))?;
        let asked = Command::new(&path)
            .args(["version", "--machine-readable"])
            .envs(&config.env)
            // It would ask its maker for a newer version, and tell them which one this is.
            .env("VAGRANT_CHECKPOINT_DISABLE", "1")
            .envs(config.home.iter().map(|h| ("VAGRANT_HOME", h)))
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let asked = async { asked.await.map_err(|e| not_started(operation, &path, e)) };
        let out = cx.guard(VAGRANT, operation, asked).await?;
        let text = String::from_utf8_lossy(&out.stdout);
        let version = text.lines().filter_map(Line::parse).find(|l| l.kind == "version-installed");
        let Some(version) = version.map(|l| l.field(0).to_owned()) else {
            let error = missing(format!("the program does not tell its version as vagrant does: {INSTALL}"));
            return Err(error.caused_by(String::from_utf8_lossy(&out.stderr).trim().to_owned()));
        };
        let mut numbers = version.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
            return Err(missing(format!("vagrant {version} is too old: {INSTALL}")));
        }
        Ok(Self { path, version })
    }
}
