#![doc = include_str!("../README.md")]

mod ask;
mod carry;
#[cfg(test)]
mod compatibility;
mod config;
mod execute;
mod facts;
mod inventory;
mod load;
mod modules;
#[cfg(test)]
mod mutate;
mod outline;
mod provider;
mod render;
mod report;
mod settings;
mod vault;

pub use ask::{Ask, Question, Step};
pub use config::*;
pub use inventory::{
    AnsibleInventory, ConnectionDefaults, InventoryConfig, InventorySources, LoadedInventory, Passwords, load_inventory,
};
pub use outline::{PlayOutline, TaskOutline, select_hosts, tags_select};
pub use provider::*;
pub use report::*;
pub use settings::{AnsibleSettings, Meaning, SettingKey, parse_extra_vars, setting_keys, settings_page};
pub use vault::{DEFAULT_VAULT_ID, Vault, VaultSource, password_from_file};

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
