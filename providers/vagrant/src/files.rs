//! Files of this provider.

use std::io;
use std::path::Path;

use towpath_core::{Error, ErrorKind};

use crate::boxes::VAGRANT_BOX;

pub(crate) use towpath_core::private_files::*;

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// The builder's own files can't be written or read.
pub(crate) fn storage(operation: &'static str, path: &Path, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, VAGRANT_BOX, operation, "the builder's own files can't be written or read")
        .with("path", path.display())
        .caused_by(e)
}

/// Removes a file. `false`: there was none.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
