//! Files of this builder.

use std::io;
use std::path::Path;

use towpath_core::{Error, ErrorKind};

pub(crate) use towpath_core::private_files::*;

use crate::provider::PACKER;

/// This builder's own files can't be written or read.
pub(crate) fn storage(operation: &'static str, path: &Path, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, PACKER, operation, "the builder's own files can't be written or read")
        .with("path", path.display())
        .caused_by(e)
}
