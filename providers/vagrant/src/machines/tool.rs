//! Finds the program and checks its version.

use std::path::PathBuf;

use tokio::process::Command;
use towpath_core::local_tool::{ask, find_program};
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

impl Tool {
    /// Finds Vagrant, and asks it for its version.
    pub(super) async fn find(cx: &Context, config: &VagrantConfig, operation: &'static str) -> Result<Self> {
        let missing = |what: String| {
            Error::new(ErrorKind::ToolMissing, VAGRANT, operation, what).with("program", config.program.display())
        };
        let path =
            find_program(&config.program, None).ok_or_else(|| missing(format!("vagrant is not there: {INSTALL}")))?;
        let mut command = Command::new(&path);
        command.args(["version", "--machine-readable"]).envs(&config.env).current_dir("/");
        // It would ask its maker for a newer version, and tell them which one this is.
        command.env("VAGRANT_CHECKPOINT_DISABLE", "1").envs(config.home.iter().map(|h| ("VAGRANT_HOME", h)));
        let out = ask(cx, VAGRANT, operation, &mut command).await?.map_err(|e| not_started(operation, &path, e))?;
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
