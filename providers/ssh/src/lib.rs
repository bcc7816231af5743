#![doc = include_str!("../README.md")]

mod auth;
mod config;
mod connector;
mod exec;
mod files;
mod keys;
mod known_hosts;
mod pool;
mod process;
mod release_dirs;
mod running;
mod session;
mod settings;
mod short_scalar;
mod ssh_config;
mod start;

pub use config::{HostKeys, SshConfig};
pub use connector::Ssh;
pub use files::Files;
pub use release_dirs::{BuildStep, ReleaseDirs, ReleaseDirsConfig};

use towpath_core::Registry;

/// The connector's name in the registry, and the `kind` of its connections.
pub(crate) const PROVIDER: &str = "ssh";

/// Registers the connector `ssh` and the deployer `release-dirs`.
pub fn register(registry: &mut Registry) {
    registry.connector::<SshConfig, _>(PROVIDER, |config, _| Ok(std::sync::Arc::new(Ssh::new(config))));
    registry.deployer::<ReleaseDirsConfig, _>(release_dirs::PROVIDER, |config, setup| {
        Ok(std::sync::Arc::new(ReleaseDirs::new(config).base_dir(&setup.base_dir)))
    });
}

pub(crate) fn home_dir() -> std::path::PathBuf {
    std::env::home_dir().unwrap_or_else(|| "/".into())
}

/// Random letters for names and marks that nobody else has.
pub(crate) fn random_name() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}
