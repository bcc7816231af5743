#![doc = include_str!("../README.md")]

mod ask;
mod carry;
mod config;
mod execute;
mod facts;
mod inventory;
mod load;
mod modules;
mod provider;
mod render;
mod report;

pub use ask::{Ask, Question, Step};
pub use config::*;
pub use inventory::{AnsibleInventory, InventoryConfig, load_inventory};
pub use provider::*;
pub use report::*;

/// Name of the provider in errors and registries.
pub(crate) const PLAYBOOK: &str = "playbook";

#[cfg(test)]
pub(crate) fn render_hash(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

pub(crate) fn sha1(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    hex::encode(sha1::Sha1::digest(bytes))
}
