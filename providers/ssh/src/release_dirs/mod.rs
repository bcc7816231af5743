//! The deployer `release-dirs`.

mod config;
mod deployer;
mod elf;
mod layout;
mod source;
mod stage;

pub use config::ReleaseDirsConfig;
pub use deployer::ReleaseDirs;
pub use source::BuildStep;

use towpath_core::{Error, ErrorKind};

/// The deployer's name in the registry.
pub(crate) const PROVIDER: &str = "release-dirs";

fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, PROVIDER, operation, message)
}
