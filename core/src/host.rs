use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::nearest;
use crate::{Error, ErrorKind, Json, Result, SecretRef};

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

impl Host {
    /// Replaces every `{{ name }}` in `text` by this host's variable: text as it is, anything else as JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): it has no variable of this name. Braces that do not close are text.
    pub fn fill(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, tail)) = after.split_once("}}") else { break };
            let name = name.trim();
            out.push_str(before);
            match self.vars.get(name) {
                Some(Json::String(s)) => out.push_str(s),
                Some(other) => out.push_str(&other.to_string()),
                None => {
                    let mut error = Error::new(
                        ErrorKind::InvalidInput,
                        "core",
                        "fill",
                        format!("`{text}` needs a variable that the host does not have"),
                    )
                    .with("host", &self.name)
                    .with("variable", name);
                    if let Some(near) = nearest(name, self.vars.keys().map(String::as_str)) {
                        error = error.with("nearest", near);
                    }
                    return Err(error);
                }
            }
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }
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
    /// Groups by name, in the order in which they were named first, as playbooks see them in `groups`. `all` and `ungrouped` are
    /// implied.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Group>")]
    pub groups: IndexMap<String, Group>,
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

    /// The host with all variables that hold for it: its own, then those of its groups, then those of `all`.
    ///
    /// Of two groups with the same variable the inner one counts, then the one whose name comes last, as in Ansible.
    pub fn effective(&self, host: &Host) -> Host {
        let mut of_groups: Vec<(usize, &str, &Group)> = Vec::new();
        // One without variables gives none, however far away it is.
        for (name, group) in self.groups.iter().filter(|(_, g)| !g.vars.is_empty()) {
            if let Some(distance) = self.distance(name, &host.name) {
                of_groups.push((distance, name, group));
            }
        }
        // The outermost first: later ones overwrite.
        of_groups.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let mut vars = self.vars.clone();
        for (_, _, group) in of_groups {
            vars.extend(group.vars.clone());
        }
        vars.extend(host.vars.clone());
        Host { vars, ..host.clone() }
    }

    /// How many groups are between a group and a host in it, level by level: a group that many others hold is looked at once.
    fn distance(&self, group: &str, host: &str) -> Option<usize> {
        let mut seen = BTreeSet::new();
        let mut level = vec![group];
        let mut distance = 0;
        while !level.is_empty() {
            let groups: Vec<&Group> =
                level.iter().filter(|name| seen.insert(**name)).filter_map(|name| self.groups.get(*name)).collect();
            if groups.iter().any(|g| g.hosts.iter().any(|h| h == host)) {
                return Some(distance);
            }
            level = groups.iter().flat_map(|g| g.children.iter().map(String::as_str)).collect();
            distance += 1;
        }
        None
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
