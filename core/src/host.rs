use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Json, SecretRef};

/// Variables of hosts and groups, in the order in which they were written.
pub type Vars = serde_json::Map<String, Json>;

/// A machine: what it is called, how it is reached, what is known about it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name in inventories, plans and errors. Unique in an inventory.
    pub name: String,
    /// How it is reached.
    #[serde(default)]
    pub connection: ConnectionSpec,
    /// Labels, for selecting: `role=web`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Variables, as playbooks see them.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub vars: Vars,
}

/// How a host is reached. Keys outside the named ones belong to the connector and are checked by it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// The connector: `ssh` (default when empty), `local`, `docker`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Host name or address; the host's name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port; the connector's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// User to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password for logging in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// How a command becomes another user there, if it does by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeSpec>,
    /// Settings of the connector, checked by it: `identity_file`, `known_hosts`, `host_key`, ...
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub options: Vars,
}

/// How a command becomes another user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BecomeSpec {
    /// The user; `root` by default.
    #[serde(default = "root")]
    pub user: String,
    /// The way.
    #[serde(default)]
    pub method: BecomeMethod,
    /// Password that sudo or su asks for. Sent only after it has asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// More arguments of sudo or su.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

impl Default for BecomeSpec {
    fn default() -> Self {
        Self { user: root(), method: BecomeMethod::Sudo, password: None, flags: Vec::new() }
    }
}

fn root() -> String {
    "root".to_owned()
}

/// The program that changes the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BecomeMethod {
    /// `sudo`.
    #[default]
    Sudo,
    /// `su`.
    Su,
}

/// Hosts and groups, with Ansible's semantics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// All hosts, in their order.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// Groups by name. `all` and `ungrouped` are implied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Group>,
    /// Variables of the group `all`.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub vars: Vars,
}

impl Inventory {
    /// Finds a host by its name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|h| h.name == name)
    }
}

/// A group of an inventory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Names of its hosts, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Names of groups inside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// Its variables.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub vars: Vars,
}
