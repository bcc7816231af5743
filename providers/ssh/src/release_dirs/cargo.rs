//! The artifact that a release brings, and whether a host can run it.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use towpath_core::{Artifact, ErrorKind, Result};

use super::elf::{self, Needs};
use super::error;

/// What is brought to the host.
#[derive(Debug)]
pub(super) struct Cargo {
    pub(super) path: PathBuf,
    /// Kept until it is uploaded.
    _unpacked: Option<tempfile::NamedTempFile>,
    pub(super) name: String,
    pub(super) archive: bool,
    pub(super) digest: String,
    pub(super) needs: Option<Needs>,
}

/// Reads an artifact. Relative paths start at `base_dir`; `file_name` is what it is called in the release.
pub(super) async fn read(base_dir: &Path, file_name: Option<&str>, artifact: &Artifact) -> Result<Cargo> {
    let path = base_dir.join(&artifact.id);
    let missing = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
        error(kind, "stage", "the artifact can't be read").with("artifact", path.display()).caused_by(e)
    };
    if !tokio::fs::metadata(&path).await.map_err(missing)?.is_file() {
        return Err(
            error(ErrorKind::InvalidInput, "stage", "the artifact is not a file").with("artifact", path.display())
        );
    }
    let (path, given) = (path.clone(), artifact.digest.clone());
    let wanted = file_name.map(str::to_owned);
    let work = move || -> std::io::Result<Cargo> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let (tar, packed) = (name.ends_with(".tar"), name.ends_with(".tar.zst"));
        let mut unpacked = None;
        if packed {
            let mut to = tempfile::NamedTempFile::new()?;
            zstd::stream::copy_decode(std::fs::File::open(&path)?, &mut to)?;
            unpacked = Some(to);
        }
        let mut sum = Sha256::new();
        std::io::copy(&mut std::fs::File::open(&path)?, &mut sum)?;
        let digest = format!("sha256:{}", hex::encode(sum.finalize()));
        if !given.is_empty() && given != digest {
            return Err(std::io::Error::other(format!(
                "it is not what was built: its digest is {digest}, not {given}"
            )));
        }
        let needs = if tar || packed { None } else { elf::read(&std::fs::read(&path)?) };
        let path = unpacked.as_ref().map_or(path, |u| u.path().to_owned());
        Ok(Cargo { path, _unpacked: unpacked, name: wanted.unwrap_or(name), archive: tar || packed, digest, needs })
    };
    let cargo = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| error(ErrorKind::Internal, "stage", "reading the artifact was interrupted").caused_by(e))?;
    cargo.map_err(|e| {
        error(ErrorKind::InvalidInput, "stage", "the artifact can't be read")
            .with("artifact", &artifact.id)
            .caused_by(e)
    })
}

/// Says whether the host can run it.
pub(super) fn suits(cargo: &Cargo, machine: Option<&str>, libc: Option<&str>, text: &str) -> Result<()> {
    let Some(needs) = &cargo.needs else { return Ok(()) };
    let no = |message: String| Err(error(ErrorKind::InvalidInput, "stage", message));
    if let Some(machine) = machine.filter(|m| !needs.machine.is_empty() && *m != needs.machine) {
        return no(format!("the executable is for {}, the host is {machine}: build it for the host", needs.machine));
    }
    if let (Some(loader), true) = (&needs.loader, text.lines().any(|l| l == "noloader")) {
        return no(format!(
            "the executable needs the dynamic loader {loader}, which the host does not have: build it for the host's libc, \
             or statically"
        ));
    }
    let version = |l: &str| {
        let (major, minor) = l.strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    };
    if let (Some((a, b)), Some((c, d))) = (needs.glibc, libc.and_then(version))
        && (a, b) > (c, d)
    {
        return no(format!(
            "the executable needs glibc {a}.{b}, the host has {c}.{d}: build it on an older system, or statically"
        ));
    }
    Ok(())
}
