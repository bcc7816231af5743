//! An inventory while it is read.

use std::collections::{BTreeSet, HashMap, HashSet};

use towpath_core::{Host, Inventory, Json, Vars};

/// Hosts and groups so far, from any number of sources.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) inventory: Inventory,
    /// Groups in the order in which they were named first.
    pub(super) order: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// What is odd is an error, not a warning.
    strict: bool,
    declared: BTreeSet<String>,
    /// The hosts of each group, to look them up.
    members: HashMap<String, HashSet<String>>,
    places: HashMap<String, usize>,
}

fn implied(group: &str) -> bool {
    group == "all" || group == "ungrouped"
}

impl Draft {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// The host, made if it is new.
    pub(super) fn host(&mut self, name: &str) -> &mut Host {
        let hosts = &mut self.inventory.hosts;
        let at = *self.places.entry(name.to_owned()).or_insert_with(|| {
            hosts.push(Host { name: name.to_owned(), ..Host::default() });
            hosts.len() - 1
        });
        // `at` is the place of a host that was just found or pushed.
        #[allow(clippy::indexing_slicing)]
        &mut hosts[at]
    }

    pub(super) fn has_host(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn named(&mut self, group: &str) {
        if !implied(group) && !self.inventory.groups.contains_key(group) {
            self.order.push(group.to_owned());
            self.inventory.groups.entry(group.to_owned()).or_default();
        }
    }

    /// Makes the group if it is new.
    pub(super) fn group(&mut self, group: &str) {
        self.declared.insert(group.to_owned());
        self.named(group);
    }

    /// Whether something more than a mention made the group.
    pub(super) fn has_group(&self, group: &str) -> bool {
        implied(group) || self.declared.contains(group)
    }

    /// Puts a host into a group. `all` and `ungrouped` are implied.
    pub(super) fn member(&mut self, group: &str, host: &str) {
        if implied(group) {
            return;
        }
        self.group(group);
        let members = self.members.entry(group.to_owned()).or_default();
        if let Some(group) = self.inventory.groups.get_mut(group)
            && members.insert(host.to_owned())
        {
            group.hosts.push(host.to_owned());
        }
    }

    /// Puts a group into a group. The error: they would be in each other.
    pub(super) fn child(&mut self, group: &str, child: &str) -> Result<(), String> {
        self.named(child);
        if implied(group) {
            return Ok(());
        }
        self.group(group);
        if group == child || self.contains(child, group) {
            return Err(format!("Adding group '{child}' as child to '{group}' creates a recursive dependency loop."));
        }
        if let Some(group) = self.inventory.groups.get_mut(group)
            && !group.children.iter().any(|c| c == child)
        {
            group.children.push(child.to_owned());
        }
        Ok(())
    }

    /// Whether a group is somewhere inside another one. Looks at each group once, however many hold it.
    fn contains(&self, group: &str, wanted: &str) -> bool {
        let mut seen = BTreeSet::from([group]);
        let mut open = vec![group];
        while let Some(group) = open.pop() {
            for child in self.inventory.groups.get(group).map(|g| g.children.as_slice()).unwrap_or_default() {
                if child == wanted {
                    return true;
                }
                if seen.insert(child) {
                    open.push(child);
                }
            }
        }
        false
    }

    /// Sets a variable of a group; `ungrouped` has none.
    pub(super) fn var(&mut self, group: &str, name: &str, value: Json) {
        if let Some(vars) = self.vars(group) {
            vars.insert(name.to_owned(), value);
        }
    }

    pub(super) fn vars(&mut self, group: &str) -> Option<&mut Vars> {
        match group {
            "all" => Some(&mut self.inventory.vars),
            "ungrouped" => None,
            _ => {
                self.named(group);
                self.inventory.groups.get_mut(group).map(|g| &mut g.vars)
            }
        }
    }

    /// Says what is odd: an error if that was asked for.
    pub(super) fn odd(&mut self, message: String) -> Result<(), String> {
        if self.strict {
            return Err(message);
        }
        self.warnings.push(message);
        Ok(())
    }

    /// Groups that are in no other one, as they were named first.
    pub(super) fn top(&self) -> Vec<String> {
        let inner: BTreeSet<&String> = self.inventory.groups.values().flat_map(|g| &g.children).collect();
        self.order.iter().filter(|g| !inner.contains(g)).cloned().collect()
    }

    /// Puts the hosts into Ansible's order: those in no group, then group by group, outer groups first.
    pub(super) fn sort(&mut self) {
        let grouped: BTreeSet<&String> = self.inventory.groups.values().flat_map(|g| &g.hosts).collect();
        let mut names: Vec<String> =
            self.inventory.hosts.iter().map(|h| &h.name).filter(|n| !grouped.contains(n)).cloned().collect();
        let mut seen: BTreeSet<String> = names.iter().cloned().collect();
        let mut walked = BTreeSet::new();
        let mut level = self.top();
        while !level.is_empty() {
            let mut next = Vec::new();
            for name in level {
                let Some(group) = self.inventory.groups.get(&name).filter(|_| walked.insert(name.clone())) else {
                    continue;
                };
                names.extend(group.hosts.iter().filter(|h| seen.insert((*h).clone())).cloned());
                next.extend(group.children.iter().cloned());
            }
            level = next;
        }
        let place: HashMap<&String, usize> = names.iter().enumerate().map(|(i, n)| (n, i)).collect();
        self.inventory.hosts.sort_by_key(|h| place.get(&h.name).copied().unwrap_or(usize::MAX));
        self.places = self.inventory.hosts.iter().enumerate().map(|(i, h)| (h.name.clone(), i)).collect();
    }
}
