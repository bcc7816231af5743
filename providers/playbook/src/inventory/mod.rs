//! Ansible inventories: files, folders and scripts as Ansible has them, to hosts and groups.

mod connection;
mod draft;
#[cfg(test)]
mod fuzz;
mod ini;
mod literal;
mod provider;
mod range;
mod script;
mod sources;
mod ssh_args;
mod vars;
mod yaml;

pub use connection::{ConnectionDefaults, Passwords};
pub(crate) use provider::INVENTORY;
pub use provider::{AnsibleInventory, InventoryConfig};
pub use sources::{InventorySources, LoadedInventory};

use std::path::Path;

use towpath_core::{Error, ErrorKind, Inventory, Result};

use crate::PLAYBOOK;

/// Reads an Ansible inventory: an INI or a YAML file (`.yml`, `.yaml`, `.json`), a folder of them or a script that prints JSON, with
/// `group_vars` and `host_vars` beside it.
///
/// Host ranges (`web[01:10]`), groups in groups and variables are as in Ansible. The connection variables become each host's
/// [`ConnectionSpec`](towpath_core::ConnectionSpec), and stay variables: `ansible_host`, `ansible_port`, `ansible_user`,
/// `ansible_connection`, `ansible_ssh_private_key_file`, `ansible_ssh_common_args` and `ansible_ssh_extra_args`.
/// [`InventorySources`] reads several sources, with vaults and defaults.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): the file can't be read or understood, with `file:line`; an SSH option that is
/// not known, by its name; a password in plain text. An inventory without hosts is *not* an error.
pub fn load_inventory(path: impl AsRef<Path>) -> Result<Inventory> {
    let path = path.as_ref();
    if !path.exists() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            PLAYBOOK,
            "inventory",
            "the inventory can't be read: there is no such file",
        )
        .with("file", path.display()));
    }
    Ok(InventorySources::new([path.display().to_string()]).strict().load()?.inventory)
}

/// An error at a line of a file.
fn invalid_at(path: &Path, line: usize, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", message)
        .with("file", format!("{}:{line}", path.display()))
}
