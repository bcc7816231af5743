//! Ansible inventories: files as Ansible writes them, to hosts and groups.

mod connection;
mod ini;
mod provider;
mod yaml;

pub(crate) use provider::INVENTORY;
pub use provider::{AnsibleInventory, InventoryConfig};

use std::path::Path;

use towpath_core::{Error, ErrorKind, Group, Host, Inventory, Json, Result, Vars};

use crate::PLAYBOOK;
use crate::execute::beside;

/// Reads an Ansible inventory: an INI or a YAML file (`.yml`, `.yaml`, `.json`), with `group_vars` and `host_vars` beside it.
///
/// Host ranges (`web[01:10]`), groups in groups and variables are as in Ansible. The connection variables become each host's
/// [`ConnectionSpec`](towpath_core::ConnectionSpec), and stay variables: `ansible_host`, `ansible_port`, `ansible_user`,
/// `ansible_connection`, `ansible_ssh_private_key_file`, `ansible_ssh_common_args` and `ansible_ssh_extra_args`.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): the file can't be read or understood, with `file:line`; an SSH option that is
/// not known, by its name; a password in plain text. An inventory without hosts is *not* an error.
pub fn load_inventory(path: impl AsRef<Path>) -> Result<Inventory> {
    let path = path.as_ref();
    let is_yaml = path.extension().is_some_and(|e| ["yml", "yaml", "json"].iter().any(|y| e == *y));
    let mut found = Draft::default();
    if is_yaml {
        yaml::read(path, &mut found)?;
    } else {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", "the inventory can't be read")
                .with("file", path.display())
                .caused_by(e)
        })?;
        ini::read(path, &text, &mut found)?;
    }
    let mut inventory = found.0;
    let dir = path.parent().unwrap_or(Path::new("."));
    inventory.vars.extend(beside(dir, "group_vars", "all")?);
    for (name, group) in &mut inventory.groups {
        group.vars.extend(beside(dir, "group_vars", name)?);
    }
    for host in &mut inventory.hosts {
        host.vars.extend(beside(dir, "host_vars", &host.name)?);
    }
    connection::apply(&mut inventory, path, dir)?;
    Ok(inventory)
}

/// An inventory while it is read.
#[derive(Debug, Default)]
struct Draft(Inventory);

impl Draft {
    /// The host, made if it is new.
    fn host(&mut self, name: &str) -> &mut Host {
        let at = self.0.hosts.iter().position(|h| h.name == name).unwrap_or_else(|| {
            self.0.hosts.push(Host { name: name.to_owned(), ..Host::default() });
            self.0.hosts.len() - 1
        });
        // `at` is the place of a host that was just found or pushed.
        #[allow(clippy::indexing_slicing)]
        &mut self.0.hosts[at]
    }

    /// The group, made if it is new. `None`: `all` and `ungrouped`, which are implied.
    fn group(&mut self, name: &str) -> Option<&mut Group> {
        (name != "all" && name != "ungrouped").then(|| self.0.groups.entry(name.to_owned()).or_default())
    }

    /// Puts a host into a group.
    fn member(&mut self, group: &str, host: &str) {
        if let Some(group) = self.group(group)
            && !group.hosts.iter().any(|h| h == host)
        {
            group.hosts.push(host.to_owned());
        }
    }

    /// Puts a group into a group.
    fn child(&mut self, group: &str, child: &str) {
        self.group(child);
        if let Some(group) = self.group(group)
            && !group.children.iter().any(|c| c == child)
        {
            group.children.push(child.to_owned());
        }
    }

    /// Variables of a group.
    fn vars(&mut self, group: &str) -> Option<&mut Vars> {
        match group {
            "all" => Some(&mut self.0.vars),
            "ungrouped" => None,
            _ => self.group(group).map(|g| &mut g.vars),
        }
    }
}

/// The names that a pattern of the inventory stands for: `web[01:03].example` gives three, a plain name itself.
///
/// The error says what is wrong with it.
fn expand(pattern: &str) -> std::result::Result<Vec<String>, String> {
    let Some(open) = pattern.find('[') else { return Ok(vec![pattern.to_owned()]) };
    let wrong = || format!("`{pattern}` is no range: write `web[1:3]`, `web[01:10:2]` or `web[a:c]`");
    let (head, rest) = pattern.split_at(open);
    let (range, tail) = rest.get(1..).and_then(|r| r.split_once(']')).ok_or_else(wrong)?;
    let parts: Vec<&str> = range.split(':').collect();
    let (from, to, step) = match parts.as_slice() {
        [from, to] => (*from, *to, 1),
        [from, to, step] => (*from, *to, step.parse().ok().filter(|s| *s > 0).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    let single = |s: &str| s.chars().next().filter(|c| c.is_ascii_alphabetic() && s.len() == 1);
    let middle: Vec<String> = match (single(from), single(to)) {
        (Some(a), Some(b)) if a <= b => (a..=b).step_by(step).map(String::from).collect(),
        (None, None) => {
            let first: u64 = if from.is_empty() { 0 } else { from.parse().map_err(|_| wrong())? };
            let last: u64 = to.parse().map_err(|_| wrong())?;
            if last < first || last - first > 100_000 {
                return Err(wrong());
            }
            let width = if from.starts_with('0') { from.len() } else { 0 };
            (first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect()
        }
        _ => return Err(wrong()),
    };
    let tails = expand(tail)?;
    Ok(middle.iter().flat_map(|m| tails.iter().map(move |t| format!("{head}{m}{t}"))).collect())
}

/// A value of an INI inventory: a Python literal if it is one, else text.
fn literal(text: &str) -> Json {
    let number = text.strip_prefix('-').unwrap_or(text);
    match text {
        "True" => return Json::Bool(true),
        "False" => return Json::Bool(false),
        "None" => return Json::Null,
        _ => {}
    }
    // A leading zero is no number in Python, and a mode or an account in real life.
    if number.bytes().all(|b| b.is_ascii_digit()) && (number == "0" || !number.starts_with('0')) {
        if let Ok(n) = text.parse::<i64>() {
            return n.into();
        }
    }
    if number.contains('.') && number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        if let Ok(n) = text.parse::<f64>() {
            return n.into();
        }
    }
    if text.starts_with(['[', '{']) {
        if let Ok(value) = serde_json::from_str(text).or_else(|_| serde_json::from_str(&text.replace('\'', "\""))) {
            return value;
        }
    }
    Json::String(text.to_owned())
}
