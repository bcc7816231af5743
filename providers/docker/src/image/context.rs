//! The files that a Dockerfile may copy: as an archive, and their digest.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use towpath_core::{Error, ErrorKind, Result};
use walkdir::WalkDir;

use super::ignore::Ignore;
use crate::PROVIDER;

/// An archive in an unnamed file of this machine.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    /// Digest over names, modes and content. Times and owners don't count, as for the engine's own cache.
    pub(super) digest: String,
}

/// Counts everything into a digest that is written to an archive.
struct Digesting<'a, W> {
    to: W,
    digest: &'a mut Sha256,
}

impl<W: Write> Write for Digesting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn unreadable(path: &Path, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        PROVIDER,
        "build",
        "a file of the build context can't be read: name it in `.dockerignore`, or make it readable",
    )
    .with("file", path.display())
    .caused_by(e)
}

impl Archive {
    /// Packs a folder without what its `.dockerignore` names. `always`: the Dockerfile, which is sent in any case.
    pub(super) fn pack(folder: &Path, always: &Path) -> Result<Self> {
        let rules = folder.join(".dockerignore");
        let ignore = match std::fs::read_to_string(&rules) {
            Ok(text) => Ignore::parse(&text, &rules)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ignore::default(),
            Err(e) => return Err(unreadable(&rules, e)),
        };
        let mut file = tempfile::tempfile().map_err(|e| {
            Error::new(ErrorKind::Storage, PROVIDER, "build", "no room for the build context").caused_by(e)
        })?;
        let mut digest = Sha256::new();
        let mut archive = Builder::new(Digesting { to: io::BufWriter::new(&mut file), digest: &mut digest });
        let relative = |path: &Path| path.strip_prefix(folder).map(Path::to_path_buf).unwrap_or_default();
        let enter = |entry: &walkdir::DirEntry| {
            let path = relative(entry.path());
            // A whole folder is passed over only if nothing in it can come back.
            ignore.has_exceptions() || always.starts_with(&path) || !ignore.leaves_out(&path)
        };
        for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter().filter_entry(enter) {
            let entry = entry.map_err(|e| unreadable(folder, e))?;
            let path = relative(entry.path());
            if ignore.leaves_out(&path) && path != always && path != Path::new(".dockerignore") {
                continue;
            }
            append(&mut archive, entry.path(), &path).map_err(|e| unreadable(entry.path(), e))?;
        }
        let written = archive.into_inner().and_then(|mut to| to.flush());
        written.map_err(|e| {
            Error::new(ErrorKind::Storage, PROVIDER, "build", "no room for the build context").caused_by(e)
        })?;
        Ok(Self { file, digest: hex::encode(digest.finalize()) })
    }

    /// Its bytes, piece by piece. One stream at a time: all share one place in the file.
    pub(super) fn stream(&self) -> io::Result<impl futures::Stream<Item = io::Result<Bytes>> + Send + use<>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let pieces = std::iter::from_fn(move || {
            let mut piece = vec![0; 256 << 10];
            match file.read(&mut piece) {
                Ok(0) => None,
                Ok(n) => {
                    piece.truncate(n);
                    Some(Ok(Bytes::from(piece)))
                }
                Err(e) => Some(Err(e)),
            }
        });
        Ok(futures::stream::iter(pieces))
    }
}

fn append<W: Write>(archive: &mut Builder<W>, from: &Path, name: &Path) -> io::Result<()> {
    let found = from.symlink_metadata()?;
    let mut header = Header::new_gnu();
    header.set_mode(found.permissions().mode() & 0o7777);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let kind = found.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        archive.append_data(&mut header, name, io::empty())
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        archive.append_link(&mut header, name, std::fs::read_link(from)?)
    } else if kind.is_file() {
        header.set_entry_type(EntryType::Regular);
        header.set_size(found.size());
        // No more than its size, if somebody writes to it just now.
        archive.append_data(&mut header, name, File::open(from)?.take(found.size()))
    } else {
        // Sockets and devices: a builder could do nothing with them.
        Ok(())
    }
}
