//! The folder of archives.
//!
//! ```text
//! <dir>/<image>/<sha256 of the file>.tar.zst     an archive, 0600
//! <dir>/<image>/<content key>.json               which archive was made from what, 0600
//! <dir>/<image>/lock                             held while an archive is written
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use towpath_core::{Artifact, ArtifactKind, Error, ErrorKind, Result};

use super::tree::{Digesting, Tree};
use super::{LOCAL_ARCHIVE, blocking};
use crate::files::{private_dir, read_json, write_json};

/// Zstandard's own default; more costs more than it saves here.
const LEVEL: i32 = 3;

/// What a content key led to.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    digest: String,
}

/// The archives of one image.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

fn storage(operation: &'static str, path: &Path, what: &str, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, LOCAL_ARCHIVE, operation, what).with("path", path.display()).caused_by(e)
}

fn absolute(dir: &Path, operation: &'static str) -> Result<PathBuf> {
    std::path::absolute(dir).map_err(|e| storage(operation, dir, "the folder of archives can't be named", e))
}

/// The folder, or why this user can't write there.
pub(super) fn writable(dir: &Path) -> Result<PathBuf> {
    let dir = absolute(dir, "preflight")?;
    let there = dir.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/"));
    nix::unistd::access(there, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
        .map_err(|e| storage("preflight", there, "this user can't write into the folder of archives", e.into()))?;
    Ok(dir)
}

/// The path of an artifact, if it is one of this folder's.
pub(super) fn own(dir: &Path, operation: &'static str, artifact: &Artifact) -> Result<PathBuf> {
    let path = PathBuf::from(&artifact.id);
    let folder = absolute(dir, operation)?.join(&artifact.name);
    let named = path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(".tar.zst"));
    let plain = !artifact.name.is_empty() && !artifact.name.contains('/') && !artifact.name.starts_with('.');
    if artifact.kind == ArtifactKind::Archive && named && plain && path.parent() == Some(&folder) {
        return Ok(path);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        LOCAL_ARCHIVE,
        operation,
        "the artifact is none of this builder's archives; `dir` must be the one that it was built with",
    )
    .with("artifact", &artifact.id)
    .with("dir", dir.display()))
}

/// Digest of a file; `None` if there is none.
pub(super) async fn digest_of(operation: &'static str, path: PathBuf) -> Result<Option<String>> {
    let at = path.clone();
    blocking(move || digest(&at)).await.map_err(|e| storage(operation, &path, "the archive can't be read", e))
}

fn digest(path: &Path) -> io::Result<Option<String>> {
    let mut file = match OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Some(hex::encode(sum.finalize())));
        }
        sum.update(buffer.get(..n).unwrap_or_default());
    }
}

impl Store {
    pub(super) fn new(dir: &Path, image: &str, operation: &'static str) -> Result<Self> {
        Ok(Self { dir: absolute(dir, operation)?.join(image) })
    }

    /// Where the archive with this digest is.
    pub(super) fn archive(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.tar.zst"))
    }

    fn record(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }

    /// A file without a name: it is gone when it is closed, whatever happens.
    pub(super) fn spool(&self, operation: &'static str) -> Result<File> {
        // In the system's folder for this, so that a plan leaves the folder of archives as it is.
        let dir = std::env::temp_dir();
        let path = dir.join(format!(".towpath-tree-{:016x}", rand::random::<u64>()));
        let open = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        };
        open().map_err(|e| storage(operation, &dir, "a temporary file for the host's tree can't be made", e))
    }

    /// The digest of the archive that was made from this content, if it is still there and whole.
    pub(super) async fn find(&self, operation: &'static str, key: &str) -> Result<Option<String>> {
        let (this, record) = (self.clone(), self.record(key));
        let path = record.clone();
        let find = move || {
            // A record that can't be read is as good as none: it is written anew.
            let Some(Record { digest: known }) = read_json(&path).ok().flatten() else { return Ok(None) };
            Ok(digest(&this.archive(&known))?.filter(|found| *found == known))
        };
        blocking(find).await.map_err(|e| storage(operation, &record, "the archive can't be read", e))
    }

    /// Writes an archive and its record. Gives its digest.
    pub(super) async fn save(&self, tree: Arc<Tree>, key: &str) -> Result<String> {
        let (this, key) = (self.clone(), key.to_owned());
        blocking(move || this.write(&tree, &key))
            .await
            .map_err(|e| storage("build", &self.dir, "the archive can't be written", e))
    }

    fn write(&self, tree: &Tree, key: &str) -> io::Result<String> {
        private_dir(&self.dir)?;
        let _lock = self.lock()?;
        self.clear_leftovers();
        let temporary = self.dir.join(format!(".new-{:016x}", rand::random::<u64>()));
        let done = (|| {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            let mut encoder = zstd::Encoder::new(Digesting::new(file), LEVEL)?;
            encoder.include_checksum(true)?;
            let mut encoder = BufWriter::with_capacity(256 << 10, encoder);
            tree.write(&mut encoder)?;
            let encoder = encoder.into_inner().map_err(io::IntoInnerError::into_error)?;
            let (file, digest) = encoder.finish()?.finish();
            file.sync_all()?;
            fs::rename(&temporary, self.archive(&digest))?;
            // After the archive: a record without one is nothing, an archive without a record is only built again.
            write_json(&self.record(key), &Record { digest: digest.clone() })?;
            File::open(&self.dir)?.sync_all()?;
            Ok(digest)
        })();
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }

    fn lock(&self) -> io::Result<Flock<File>> {
        let path = self.dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
    }

    /// Removes what a crashed build left. The lock is held, so nobody is writing.
    fn clear_leftovers(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes an archive and the records that lead to it. `false`: it was not there.
    pub(super) async fn remove(&self, path: &Path) -> Result<bool> {
        let (this, archive) = (self.clone(), path.to_owned());
        let remove = move || {
            if !this.dir.is_dir() {
                return Ok(false);
            }
            let lock = this.lock()?;
            let there = match fs::remove_file(&archive) {
                Ok(()) => true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => false,
                Err(e) => return Err(e),
            };
            let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut others = false;
            for entry in fs::read_dir(&this.dir)?.flatten() {
                let path = entry.path();
                let leads_here = |r: &Record| name == format!("{}.tar.zst", r.digest);
                if path.extension().is_some_and(|e| e == "json")
                    && read_json::<Record>(&path).ok().flatten().as_ref().is_some_and(leads_here)
                {
                    fs::remove_file(&path)?;
                } else if entry.file_name() != "lock" {
                    others = true;
                }
            }
            if !others {
                // The last archive takes the image's folder with it.
                let _ = fs::remove_file(this.dir.join("lock"));
                let _ = fs::remove_dir(&this.dir);
            }
            drop(lock);
            Ok(there)
        };
        blocking(remove).await.map_err(|e| storage("remove", path, "the archive can't be removed", e))
    }
}
