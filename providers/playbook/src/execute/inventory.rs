//! Groups, patterns and variables of an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::json;
use towpath_core::{Inventory, Json, Result, Vars};

use crate::load::{yaml, yaml_files};

/// An inventory, looked up.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) names: Vec<String>,
    /// Hosts by group, with those of groups inside.
    pub(crate) groups: IndexMap<String, Vec<String>>,
    /// Group names of a host, outermost first; without `all`.
    of_host: BTreeMap<String, Vec<String>>,
    /// From files beside the playbook, and from the inventory.
    group_vars: BTreeMap<String, [Arc<Vars>; 2]>,
    host_vars: BTreeMap<String, [Arc<Vars>; 2]>,
    /// What a host is called and where it belongs, as variables.
    magic: BTreeMap<String, Arc<Vars>>,
}

/// Variables in folders beside playbooks, read once.
#[derive(Debug, Default)]
pub(crate) struct Beside(std::collections::HashMap<(String, String), Arc<Vars>>);

impl Beside {
    fn get(&mut self, dir: &Path, folder: &str, name: &str) -> Result<Arc<Vars>> {
        let key = (folder.to_owned(), name.to_owned());
        if let Some(have) = self.0.get(&key) {
            return Ok(have.clone());
        }
        let read = Arc::new(beside(dir, folder, name)?);
        self.0.insert(key, read.clone());
        Ok(read)
    }
}

/// Variables in `group_vars` or `host_vars` of a folder.
pub(crate) fn beside(dir: &Path, folder: &str, name: &str) -> Result<Vars> {
    let base = dir.join(folder);
    let mut all = Vars::new();
    for file in [name.to_owned(), format!("{name}.yml"), format!("{name}.yaml"), format!("{name}.json")] {
        let path = base.join(file);
        if path.is_file() {
            all.extend(yaml::read_vars(&path)?);
        } else if path.is_dir() {
            for p in yaml_files(&path) {
                all.extend(yaml::read_vars(&p)?);
            }
        }
    }
    Ok(all)
}

impl Index {
    pub(crate) fn new(inventory: &Inventory, dir: &Path, files: &mut Beside) -> Result<Self> {
        let names: Vec<String> = inventory.hosts.iter().map(|h| h.name.clone()).collect();
        let mut depth: BTreeMap<String, usize> = inventory.groups.keys().map(|g| (g.clone(), 1)).collect();
        // Deeper than its parents; bounded, should groups contain each other.
        for _ in 0..inventory.groups.len() {
            let mut settled = true;
            for (g, group) in &inventory.groups {
                let d = depth.get(g).copied().unwrap_or(1);
                for c in &group.children {
                    let have = depth.entry(c.clone()).or_insert(1);
                    let deeper = (*have).max(d + 1).min(50);
                    settled &= deeper == *have;
                    *have = deeper;
                }
            }
            if settled {
                break;
            }
        }
        let mut members: BTreeMap<String, BTreeSet<String>> =
            inventory.groups.iter().map(|(g, group)| (g.clone(), group.hosts.iter().cloned().collect())).collect();
        for _ in 0..inventory.groups.len() {
            let mut settled = true;
            for (g, group) in &inventory.groups {
                for c in &group.children {
                    let inner = members.get(c).cloned().unwrap_or_default();
                    let own = members.entry(g.clone()).or_default();
                    let before = own.len();
                    own.extend(inner);
                    settled &= own.len() == before;
                }
            }
            if settled {
                break;
            }
        }
        let alone = names.iter().filter(|n| !members.values().any(|m| m.contains(*n))).cloned().collect();
        let mut groups = IndexMap::from([("all".to_owned(), names.clone()), ("ungrouped".to_owned(), alone)]);
        // Groups that are named as children only stand nowhere else.
        for g in inventory.groups.keys().chain(members.keys()) {
            let in_it = |m: &BTreeSet<String>| names.iter().filter(|n| m.contains(*n)).cloned().collect();
            groups.entry(g.clone()).or_insert_with(|| members.get(g).map(in_it).unwrap_or_default());
        }
        let mut of_host = BTreeMap::new();
        let mut host_vars = BTreeMap::new();
        // Among groups of one depth the one with the higher number counts, then the one whose name comes last.
        let priority = |g: &String| {
            let value = inventory.groups.get(g).and_then(|g| g.vars.get("ansible_group_priority"));
            value.and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok())).unwrap_or(1)
        };
        for h in &inventory.hosts {
            let mut mine: Vec<String> =
                members.iter().filter(|(_, m)| m.contains(&h.name)).map(|(g, _)| g.clone()).collect();
            mine.sort_by_key(|g| (depth.get(g).copied().unwrap_or(1), priority(g), g.clone()));
            of_host.insert(h.name.clone(), mine);
            let beside = files.get(dir, "host_vars", &h.name)?;
            host_vars.insert(h.name.clone(), [beside, Arc::new(h.vars.clone())]);
        }
        let mut group_vars = BTreeMap::new();
        let mut all = inventory.vars.clone();
        all.extend(inventory.groups.get("all").map(|g| g.vars.clone()).unwrap_or_default());
        group_vars.insert("all".to_owned(), [files.get(dir, "group_vars", "all")?, Arc::new(all)]);
        for (g, group) in &inventory.groups {
            group_vars.insert(g.clone(), [files.get(dir, "group_vars", g)?, Arc::new(group.vars.clone())]);
        }
        let mut index = Self { names, groups, of_host, group_vars, host_vars, magic: BTreeMap::new() };
        let magic = index.names.iter().map(|n| (n.clone(), Arc::new(index.own(n)))).collect();
        index.magic = magic;
        Ok(index)
    }

    fn own(&self, host: &str) -> Vars {
        crate::modules::fields([
            ("inventory_hostname", json!(host)),
            ("inventory_hostname_short", json!(host.split('.').next())),
            ("group_names", json!(self.group_names(host))),
        ])
    }

    /// The variables that say who a host is.
    pub(crate) fn magic(&self, host: &str) -> Arc<Vars> {
        self.magic.get(host).cloned().unwrap_or_else(|| {
            let mut own = self.own(host);
            own.insert("group_names".into(), Json::Array(Vec::new()));
            Arc::new(own)
        })
    }

    /// Variables of the inventory, highest precedence first.
    pub(crate) fn layers(&self, host: &str) -> Vec<Arc<Vars>> {
        let mut out: Vec<Arc<Vars>> = self.host_vars.get(host).into_iter().flatten().cloned().collect();
        let groups = self.of_host.get(host).map(Vec::as_slice).unwrap_or_default();
        // What stands beside the playbook is above all that the inventory says about groups.
        for place in [0, 1] {
            let part = |g: &str| self.group_vars.get(g).and_then(|v| v.get(place)).cloned();
            out.extend(groups.iter().rev().filter_map(|g| part(g)));
            out.extend(part("all"));
        }
        out.retain(|layer| !layer.is_empty());
        out
    }

    pub(crate) fn group_names(&self, host: &str) -> Vec<String> {
        let mut names = self.of_host.get(host).cloned().unwrap_or_default();
        names.sort();
        if names.is_empty() { vec!["ungrouped".into()] } else { names }
    }
}
