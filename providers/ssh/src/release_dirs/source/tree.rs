//! Folders as tar archives: the same bytes for the same tree.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Packs a folder, in the order of names, without times and owners.
pub(super) fn pack(folder: &Path, to: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create_new(to)?);
    archive.follow_symlinks(false);
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let path = folder.join(&relative);
        let meta = path.symlink_metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&meta, tar::HeaderMode::Deterministic);
        header.set_mode(meta.permissions().mode() & 0o777);
        if relative.as_os_str().is_empty() {
            todo.extend(names(&path, &relative)?);
        } else if meta.is_dir() {
            header.set_size(0);
            archive.append_data(&mut header, &relative, io::empty())?;
            todo.extend(names(&path, &relative)?);
        } else if meta.is_symlink() {
            header.set_size(0);
            archive.append_link(&mut header, &relative, std::fs::read_link(&path)?)?;
        } else if meta.is_file() {
            header.set_size(meta.size());
            archive.append_data(&mut header, &relative, File::open(&path)?)?;
        }
        // Sockets and pipes are nothing to ship.
    }
    archive.into_inner()?.sync_all()
}

/// What is in a folder, the last one first, since the last one of a list is taken.
fn names(path: &Path, relative: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all =
        std::fs::read_dir(path)?.map(|e| Ok(relative.join(e?.file_name()))).collect::<io::Result<Vec<_>>>()?;
    all.sort_by(|a, b| b.cmp(a));
    Ok(all)
}

/// Unpacks an archive into a new folder. Nothing of it gets outside.
pub(super) fn unpack(archive: &Path, packed: bool, to: &Path) -> io::Result<()> {
    let file = io::BufReader::new(File::open(archive)?);
    let reader: Box<dyn io::Read> =
        if packed { Box::new(zstd::stream::read::Decoder::new(file)?) } else { Box::new(file) };
    tar::Archive::new(reader).unpack(to)
}
