//! Groups, patterns and variables of an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use globset::Glob;
use towpath_core::{Inventory, Result, Vars};

use crate::load::{yaml, yaml_files};

/// An inventory, looked up.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) names: Vec<String>,
    /// Hosts by group, with those of groups inside.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    /// Group names of a host, outermost first; without `all`.
    of_host: BTreeMap<String, Vec<String>>,
    group_vars: BTreeMap<String, Arc<Vars>>,
    host_vars: BTreeMap<String, Arc<Vars>>,
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
    pub(crate) fn new(inventory: &Inventory, dir: &Path) -> Result<Self> {
        let names: Vec<String> = inventory.hosts.iter().map(|h| h.name.clone()).collect();
        let mut depth: BTreeMap<String, usize> = inventory.groups.keys().map(|g| (g.clone(), 1)).collect();
        // Deeper than its parents; bounded, should groups contain each other.
        for _ in 0..inventory.groups.len() {
            for (g, group) in &inventory.groups {
                let d = depth.get(g).copied().unwrap_or(1);
                for c in &group.children {
                    let have = depth.entry(c.clone()).or_insert(1);
                    *have = (*have).max(d + 1).min(50);
                }
            }
        }
        let mut members: BTreeMap<String, BTreeSet<String>> =
            inventory.groups.iter().map(|(g, group)| (g.clone(), group.hosts.iter().cloned().collect())).collect();
        for _ in 0..inventory.groups.len() {
            for (g, group) in &inventory.groups {
                for c in &group.children {
                    let inner = members.get(c).cloned().unwrap_or_default();
                    members.entry(g.clone()).or_default().extend(inner);
                }
            }
        }
        let mut groups: BTreeMap<String, Vec<String>> = members
            .iter()
            .map(|(g, m)| (g.clone(), names.iter().filter(|n| m.contains(*n)).cloned().collect()))
            .collect();
        let alone = names.iter().filter(|n| !members.values().any(|m| m.contains(*n))).cloned().collect();
        groups.insert("all".into(), names.clone());
        groups.insert("ungrouped".into(), alone);
        let mut of_host = BTreeMap::new();
        let mut host_vars = BTreeMap::new();
        for h in &inventory.hosts {
            let mut mine: Vec<String> =
                members.iter().filter(|(_, m)| m.contains(&h.name)).map(|(g, _)| g.clone()).collect();
            mine.sort_by_key(|g| (depth.get(g).copied().unwrap_or(1), g.clone()));
            of_host.insert(h.name.clone(), mine);
            let mut vars = h.vars.clone();
            vars.extend(beside(dir, "host_vars", &h.name)?);
            host_vars.insert(h.name.clone(), Arc::new(vars));
        }
        let mut group_vars = BTreeMap::new();
        let mut all = inventory.vars.clone();
        all.extend(inventory.groups.get("all").map(|g| g.vars.clone()).unwrap_or_default());
        all.extend(beside(dir, "group_vars", "all")?);
        group_vars.insert("all".to_owned(), Arc::new(all));
        for (g, group) in &inventory.groups {
            let mut vars = group.vars.clone();
            vars.extend(beside(dir, "group_vars", g)?);
            group_vars.insert(g.clone(), Arc::new(vars));
        }
        Ok(Self { names, groups, of_host, group_vars, host_vars })
    }

    /// Variables of the inventory, highest precedence first.
    pub(crate) fn layers(&self, host: &str) -> Vec<Arc<Vars>> {
        let mut out: Vec<Arc<Vars>> = self.host_vars.get(host).cloned().into_iter().collect();
        let groups = self.of_host.get(host).map(Vec::as_slice).unwrap_or_default();
        out.extend(groups.iter().rev().filter_map(|g| self.group_vars.get(g).cloned()));
        out.extend(self.group_vars.get("all").cloned());
        out
    }

    pub(crate) fn group_names(&self, host: &str) -> Vec<String> {
        let mut names = self.of_host.get(host).cloned().unwrap_or_default();
        names.sort();
        if names.is_empty() { vec!["ungrouped".into()] } else { names }
    }

    /// A part of a pattern that is not understood: `web[0]`, `web[1:3]`. It must not be taken for something else.
    fn subscript(pattern: &str) -> Option<&str> {
        let is_subscript = |term: &&str| {
            let inside = term.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(inside, _)| inside);
            let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'-');
            !term.contains('~') && inside.is_some_and(|i| !i.is_empty() && digits(i))
        };
        pattern.split(',').find(is_subscript)
    }

    fn one(&self, term: &str) -> Vec<String> {
        if term == "all" || term == "*" {
            return self.names.clone();
        }
        if let Some(members) = self.groups.get(term) {
            return members.clone();
        }
        // `~` begins a regular expression, which must match from a name's start.
        let regex = term.strip_prefix('~').map(|r| regex::Regex::new(&format!("^(?:{r})")).ok());
        let matcher = Glob::new(term).map(|g| g.compile_matcher()).ok();
        let hit = |n: &str| match &regex {
            Some(regex) => regex.as_ref().is_some_and(|r| r.is_match(n)),
            None => n == term || matcher.as_ref().is_some_and(|m| m.is_match(n)),
        };
        let of_groups: BTreeSet<&String> = self.groups.iter().filter(|(g, _)| hit(g)).flat_map(|(_, m)| m).collect();
        self.names.iter().filter(|n| hit(n) || of_groups.contains(n)).cloned().collect()
    }

    /// Hosts of an Ansible pattern, in the inventory's order. The error says what is not understood.
    pub(crate) fn select(&self, pattern: &str) -> std::result::Result<Vec<String>, String> {
        if let Some(part) = Self::subscript(pattern) {
            return Err(format!("`{part}`: subscripts in patterns of hosts are not supported yet"));
        }
        let terms: Vec<&str> = pattern.split([',', ':']).map(str::trim).filter(|t| !t.is_empty()).collect();
        let mut chosen: BTreeSet<String> = BTreeSet::new();
        if !terms.iter().any(|t| !t.starts_with(['!', '&'])) && !terms.is_empty() {
            chosen.extend(self.names.iter().cloned());
        }
        for t in terms.iter().filter(|t| !t.starts_with(['!', '&'])) {
            chosen.extend(self.one(t));
        }
        for t in terms.iter().filter_map(|t| t.strip_prefix('&')) {
            let keep = self.one(t);
            chosen.retain(|n| keep.contains(n));
        }
        for t in terms.iter().filter_map(|t| t.strip_prefix('!')) {
            let out = self.one(t);
            chosen.retain(|n| !out.contains(n));
        }
        Ok(self.names.iter().filter(|n| chosen.contains(*n)).cloned().collect())
    }
}
