//! The artifact that a release brings, and whether a host can run it.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use towpath_core::{ErrorKind, Result};

use super::super::elf::{self, Needs};
use super::super::error;
use super::Fetched;

/// What is brought to the host.
#[derive(Debug)]
pub(crate) struct Cargo {
    pub(crate) path: PathBuf,
    _kept: Kept,
    pub(crate) name: String,
    pub(crate) archive: bool,
    pub(crate) digest: String,
    pub(crate) needs: Option<Needs>,
}

/// Files that are there until everything is uploaded.
#[derive(Debug)]
struct Kept {
    _unpacked: Option<tempfile::NamedTempFile>,
    _fetched: Fetched,
}

/// Fails if a file has another digest than this one, `sha256:<hex>`. Gives its digest. Any is right where none is given.
pub(super) fn verify(path: &Path, given: &str) -> std::io::Result<String> {
    let mut sum = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut sum)?;
    let digest = format!("sha256:{}", hex::encode(sum.finalize()));
    if !given.is_empty() && given != digest {
        return Err(std::io::Error::other(format!("it is not what was built: its digest is {digest}, not {given}")));
    }
    Ok(digest)
}

/// Reads what was fetched; `wanted` is what it is called in the release.
pub(super) async fn read(fetched: Fetched, wanted: Option<String>) -> Result<Cargo> {
    let shown = fetched.path.display().to_string();
    let missing = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
        error(kind, "stage", "the artifact can't be read").with("artifact", &shown).caused_by(e)
    };
    if !tokio::fs::metadata(&fetched.path).await.map_err(missing)?.is_file() {
        return Err(error(ErrorKind::InvalidInput, "stage", "the artifact is not a file").with("artifact", &shown));
    }
    let work = move || -> std::io::Result<Cargo> {
        let (path, name) = (fetched.path.clone(), fetched.name.clone());
        let (tar, packed) = (name.ends_with(".tar"), name.ends_with(".tar.zst"));
        let mut unpacked = None;
        if packed {
            let mut to = tempfile::NamedTempFile::new()?;
            zstd::stream::copy_decode(std::fs::File::open(&path)?, &mut to)?;
            unpacked = Some(to);
        }
        let digest = verify(&path, &fetched.digest)?;
        let needs = if tar || packed { None } else { elf::read(&std::fs::read(&path)?) };
        let path = unpacked.as_ref().map_or(path, |u| u.path().to_owned());
        let kept = Kept { _unpacked: unpacked, _fetched: fetched };
        Ok(Cargo { path, _kept: kept, name: wanted.unwrap_or(name), archive: tar || packed, digest, needs })
    };
    let cargo = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| error(ErrorKind::Internal, "stage", "reading the artifact was interrupted").caused_by(e))?;
    cargo.map_err(|e| {
        error(ErrorKind::InvalidInput, "stage", "the artifact can't be read").with("artifact", shown).caused_by(e)
    })
}

/// Says whether the host can run it.
pub(crate) fn suits(cargo: &Cargo, machine: Option<&str>, libc: Option<&str>, text: &str) -> Result<()> {
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
