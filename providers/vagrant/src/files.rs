//! Files of this provider.

use std::io;
use std::path::Path;

use towpath_core::{Error, ErrorKind};

use crate::boxes::VAGRANT_BOX;

pub(crate) use towpath_core::private_files::*;

/// The builder's own files can't be written or read.
pub(crate) fn storage(operation: &'static str, path: &Path, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, VAGRANT_BOX, operation, "the builder's own files can't be written or read")
        .with("path", path.display())
        .caused_by(e)
}
