//! Where a release comes from: a file of this machine, an address, a revision of a Git repository; and what a build makes of it.

mod build;
mod cargo;
mod git;
mod tree;
mod url;

use std::path::{Path, PathBuf};

pub use build::BuildStep;
pub(super) use cargo::{Cargo, suits};
use towpath_core::{Artifact, Context, ErrorKind, Release, Result};

use super::config::ReleaseDirsConfig;
use super::error;
use git::Revision;

/// An artifact's id, read.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    File(&'a str),
    Url(&'a str),
    Git(Revision<'a>),
}

impl<'a> Place<'a> {
    fn of(id: &'a str) -> Result<Self> {
        if let Some(rest) = id.strip_prefix("git+") {
            return Revision::parse(rest).map(Self::Git);
        }
        if id.starts_with("https://") || id.starts_with("http://") {
            return Ok(Self::Url(id));
        }
        Ok(Self::File(id))
    }
}

/// A file of this machine, and what goes with it.
#[derive(Debug)]
struct Fetched {
    path: PathBuf,
    /// What it is called; its ending says whether it is an archive.
    name: String,
    /// The digest that it must have; none for a revision, which is one.
    digest: String,
    /// Removed when it has been read.
    _folder: Option<tempfile::TempDir>,
}

fn folder() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("towpath-release-").tempdir().map_err(|e| {
        error(ErrorKind::Storage, "stage", "there is no folder for what is shipped: set TMPDIR").caused_by(e)
    })
}

async fn fetch(cx: &Context, base_dir: &Path, artifact: &Artifact) -> Result<Fetched> {
    match Place::of(&artifact.id)? {
        Place::File(id) => {
            let path = base_dir.join(id);
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(Fetched { path, name, digest: artifact.digest.clone(), _folder: None })
        }
        Place::Url(url) => {
            let folder = folder()?;
            let (path, name) = url::fetch(cx, url, &artifact.digest, folder.path()).await?;
            Ok(Fetched { path, name, digest: artifact.digest.clone(), _folder: Some(folder) })
        }
        Place::Git(revision) => {
            let folder = folder()?;
            let path = git::archive(cx, &revision, &artifact.digest, folder.path()).await?;
            Ok(Fetched { path, name: "source.tar".into(), digest: String::new(), _folder: Some(folder) })
        }
    }
}

/// Has what a release ships on this machine. Relative paths start at `base_dir`.
pub(super) async fn cargo(
    cx: &Context,
    base_dir: &Path,
    config: &ReleaseDirsConfig,
    release: &Release,
) -> Result<Cargo> {
    let fetched = match &release.artifact {
        Some(artifact) => {
            Some(fetch(cx, base_dir, artifact).await.map_err(|e| e.with_missing("artifact", &artifact.id))?)
        }
        None => None,
    };
    let fetched = match (&config.build, fetched) {
        (Some(build), from) => build::run(cx, base_dir, build, release, from).await?,
        (None, Some(fetched)) => fetched,
        (None, None) => {
            let says = "the release has no artifact, and the config has no `build` that makes one";
            return Err(error(ErrorKind::InvalidInput, "stage", says).with("version", &release.version));
        }
    };
    cargo::read(fetched, config.file_name.clone()).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_where_a_release_comes_from() {
        assert_eq!(Place::of("dist/web.tar").unwrap(), Place::File("dist/web.tar"));
        assert_eq!(Place::of("https://a.example/web").unwrap(), Place::Url("https://a.example/web"));
        let git = Place::of("git+ssh://git@a.example/web.git#v1:app").unwrap();
        assert_eq!(
            git,
            Place::Git(Revision { repository: "ssh://git@a.example/web.git", revision: "v1", folder: Some("app") })
        );
    }
}
