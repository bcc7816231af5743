//! A build on this machine, before the first host is staged.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use towpath_core::local_tool::{Mark, ask};
use towpath_core::{Context, ErrorKind, EventKind, Release, Result};

use super::super::{PROVIDER, error};
use super::{Fetched, folder, tree};
use crate::random_name;

/// A command on this machine that makes what is shipped, once for each rollout. Its folder is the artifact's tree, unpacked, or that of the
/// pipeline file where the release has no artifact. It finds the release's `TOWPATH_SERVICE` and `TOWPATH_VERSION` in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildStep {
    /// Program and arguments.
    pub run: Vec<String>,

    /// What it makes, seen from its folder: a file, or a folder whose contents become the release.
    pub output: PathBuf,

    /// Longest time, in seconds. 1800 by default.
    #[serde(default = "default_limit_s")]
    #[schemars(range(min = 1))]
    pub limit_s: u64,
}

fn default_limit_s() -> u64 {
    1800
}

impl BuildStep {
    /// A command and what it makes.
    pub fn new<S: Into<String>>(run: impl IntoIterator<Item = S>, output: impl Into<PathBuf>) -> Self {
        Self { run: run.into_iter().map(Into::into).collect(), output: output.into(), limit_s: default_limit_s() }
    }

    pub(in super::super) fn check(&self) -> Result<()> {
        let invalid = |says: &str| Err(error(ErrorKind::InvalidInput, "config", says));
        if self.run.first().is_none_or(String::is_empty) || self.limit_s == 0 {
            return invalid("`build.run` names no command, or `build.limit_s` is 0");
        }
        let inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
        if !self.output.components().all(inside) {
            return invalid("`build.output` is below the folder of the build: no `..`, no absolute path");
        }
        Ok(())
    }
}

/// How much of a failed build's output an error shows.
const LINES: usize = 30;

/// Runs a build over what was fetched.
pub(super) async fn run(
    cx: &Context,
    base_dir: &Path,
    build: &BuildStep,
    release: &Release,
    from: Option<Fetched>,
) -> Result<Fetched> {
    let work = folder()?;
    let source = match from {
        None => base_dir.to_owned(),
        Some(from) => {
            let to = work.path().join("source");
            let unpacking = to.clone();
            blocking(move || place(&from, &unpacking)).await?;
            to
        }
    };
    command(cx, build, release, &source).await?;
    let made = source.join(&build.output);
    let missing = || {
        error(ErrorKind::NotFound, "stage", "the build ended well, and did not make its `output`")
            .with("output", made.display())
    };
    let meta = made.metadata().map_err(|e| missing().caused_by(e))?;
    let name = made.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // Taken out of the build's folder, which another build may change.
    let path = work.path().join("made");
    let (to, is_dir) = (path.clone(), meta.is_dir());
    blocking(move || if is_dir { tree::pack(&made, &to) } else { std::fs::copy(&made, &to).map(drop) }).await?;
    let name = if is_dir { "made.tar".to_owned() } else { name };
    Ok(Fetched { path, name, digest: String::new(), _folder: Some(work) })
}

/// Unpacks an archive, or lays a single file into the folder.
fn place(from: &Fetched, to: &Path) -> std::io::Result<()> {
    super::cargo::verify(&from.path, &from.digest)?;
    std::fs::create_dir(to)?;
    let packed = from.name.ends_with(".tar.zst");
    if packed || from.name.ends_with(".tar") {
        return tree::unpack(&from.path, packed, to);
    }
    std::fs::copy(&from.path, to.join(&from.name)).map(drop)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| error(ErrorKind::Internal, "stage", "the work on files was interrupted").caused_by(e))?;
    done.map_err(|e| error(ErrorKind::InvalidInput, "stage", "the source or what was built can't be read").caused_by(e))
}

async fn command(cx: &Context, build: &BuildStep, release: &Release, source: &Path) -> Result<()> {
    let (program, arguments) = build.run.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let message = format!("building {} {}: {}", release.service, release.version, build.run.join(" "));
    cx.emit(EventKind::Progress { message, done: None, total: None });
    let mut command = Command::new(program);
    command.args(arguments).current_dir(source);
    command.env("TOWPATH_SERVICE", &release.service).env("TOWPATH_VERSION", &release.version);
    // What a build has started goes with it when it is ended from here.
    let mark = Mark::new("TOWPATH_BUILD", random_name());
    mark.put_on(&mut command);
    let limited = cx.with_timeout(Duration::from_secs(build.limit_s));
    let failed = |kind, says: &str| {
        error(kind, "stage", says).with("command", build.run.join(" ")).with("version", &release.version)
    };
    let done = ask(&limited, PROVIDER, "stage", &mut command).await;
    if done.is_err() {
        mark.kill_all().await;
    }
    let done = done.map_err(|e| match e.kind() {
        ErrorKind::Timeout => failed(ErrorKind::Timeout, "the build took longer than `build.limit_s`").caused_by(e),
        _ => e,
    })?;
    let done = done.map_err(|e| failed(ErrorKind::NotFound, "the build can't be run").caused_by(e))?;
    if done.status.success() {
        return Ok(());
    }
    let said = format!("{}\n{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    Err(failed(ErrorKind::ToolFailed, "the build failed; nothing was brought to any host")
        .with("status", done.status)
        .caused_by(cx.masker().mask(&last).into_owned()))
}
