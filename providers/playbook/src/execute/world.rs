//! What is known in a run: hosts and groups, facts, and the variables of any host as others see them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::json;
use towpath_core::{Host, Inventory, Json, Result, Vars};

use super::inventory::{Beside, Index};
use crate::render::{Engine, HostVars, Scope, Search, Value};

/// What was learned about a host while the playbook runs. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Facts, as they came and under `ansible_facts`.
    pub(crate) facts: Arc<Vars>,
    /// From `include_vars`.
    pub(crate) included: Arc<Vars>,
    /// From `set_fact` and `register`.
    pub(crate) set: Arc<Vars>,
    /// In a plan: variables that only a run can tell, with the reason.
    pub(crate) unknown: Arc<BTreeMap<String, String>>,
}

impl Known {
    /// Sets a variable as `set_fact` and `register` do.
    pub(crate) fn set(&mut self, name: &str, value: Json) {
        if self.unknown.contains_key(name) {
            Arc::make_mut(&mut self.unknown).remove(name);
        }
        Arc::make_mut(&mut self.set).insert(name.to_owned(), value);
    }

    /// Says that only a run can tell a variable.
    pub(crate) fn doubt(&mut self, name: &str, why: String) {
        Arc::make_mut(&mut self.set).remove(name);
        Arc::make_mut(&mut self.unknown).insert(name.to_owned(), why);
    }

    /// Whether facts were gathered.
    pub(crate) fn gathered(&self) -> bool {
        self.facts.get("ansible_facts").is_some_and(|all| all.get("gather_subset").is_some())
    }

    /// Adds facts that a module found.
    pub(crate) fn add_facts(&mut self, new: &Vars) {
        let facts = Arc::make_mut(&mut self.facts);
        let mut named = facts.get("ansible_facts").and_then(Json::as_object).cloned().unwrap_or_default();
        for (key, value) in new {
            if key == "ansible_facts" {
                if let Json::Object(inner) = value {
                    named.extend(inner.clone());
                }
                continue;
            }
            let short = key.strip_prefix("ansible_").unwrap_or(key);
            named.insert(short.to_owned(), value.clone());
            facts.insert(key.clone(), value.clone());
        }
        facts.insert("ansible_facts".into(), Json::Object(named));
    }
}

/// Shared by everything in a run, and by the scopes of its templates.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) extra: Arc<Vars>,
    dir: PathBuf,
    index: RwLock<Arc<Index>>,
    inventory: Mutex<(Inventory, Beside)>,
    /// What the run added to the inventory, in its order.
    added: Mutex<Vec<Added>>,
    known: RwLock<HashMap<String, Known>>,
    /// Magic variables that are the same for all hosts.
    magic: RwLock<Arc<Vars>>,
}

fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl World {
    pub(crate) fn new(engine: Arc<Engine>, inventory: Inventory, dir: PathBuf, extra: Arc<Vars>) -> Result<Self> {
        let mut files = Beside::default();
        let index = RwLock::new(Arc::new(Index::new(&inventory, &dir, &mut files)?));
        Ok(Self {
            engine,
            extra,
            dir,
            index,
            inventory: Mutex::new((inventory, files)),
            added: Mutex::default(),
            known: RwLock::default(),
            magic: RwLock::default(),
        })
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        read(&self.index)
    }

    pub(crate) fn magic(&self) -> Arc<Vars> {
        read(&self.magic)
    }

    pub(crate) fn set_magic(&self, vars: Vars) {
        *self.magic.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(vars);
    }

    pub(crate) fn known(&self, host: &str) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned().unwrap_or_default()
    }

    /// Changes what is known about a host.
    pub(crate) fn learn(&self, host: &str, change: impl FnOnce(&mut Known)) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(host.to_owned()).or_default());
    }

    /// The host as the inventory has it; one that it does not know is made from its name.
    pub(crate) fn host(&self, name: &str) -> Host {
        let inventory = super::lock(&self.inventory);
        inventory.0.host(name).cloned().unwrap_or_else(|| {
            let mut host = Host { name: name.to_owned(), ..Host::default() };
            if is_localhost(name) {
                host.connection.kind = "local".into();
                host.vars.insert("ansible_connection".into(), "local".into());
            }
            host
        })
    }

    /// Whether the inventory names the host.
    pub(crate) fn has(&self, name: &str) -> bool {
        super::lock(&self.inventory).0.host(name).is_some()
    }

    /// Hosts of a pattern. `localhost` is always there.
    pub(crate) fn select(&self, pattern: &str) -> std::result::Result<Vec<String>, String> {
        let index = self.index();
        let mut found = index.select(pattern)?;
        if found.is_empty() {
            let terms: Vec<&str> = pattern.split([',', ':']).map(str::trim).collect();
            found.extend(terms.into_iter().find(|t| is_localhost(t)).map(str::to_owned));
        }
        Ok(found)
    }

    /// Adds a host with groups and variables. Says whether that was new.
    pub(crate) fn add_host(&self, name: &str, groups: &[String], vars: &Vars) -> Result<bool> {
        let added = Added::Host { name: name.into(), groups: groups.into(), vars: vars.clone() };
        let mut all = super::lock(&self.added);
        let changed = self.change(|inventory| added.to(inventory, &all))?;
        all.push(added);
        Ok(changed)
    }

    /// Puts hosts into a group that is in other groups. Says whether that was new.
    pub(crate) fn group_by(&self, group: &str, parents: &[String], host: &str) -> Result<bool> {
        let added = Added::Group { name: group.into(), parents: parents.into(), host: host.into() };
        let mut all = super::lock(&self.added);
        let changed = self.change(|inventory| added.to(inventory, &all))?;
        all.push(added);
        Ok(changed)
    }

    /// Takes an inventory that was read anew. What the run added stays.
    pub(crate) fn refresh(&self, new: Inventory) -> Result<()> {
        let added = super::lock(&self.added);
        self.change(|inventory| {
            *inventory = new;
            for (n, one) in added.iter().enumerate() {
                one.to(inventory, added.get(..n).unwrap_or_default());
            }
            true
        })?;
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Inventory) -> bool) -> Result<bool> {
        let mut held = super::lock(&self.inventory);
        let (inventory, files) = &mut *held;
        if !change(inventory) {
            return Ok(false);
        }
        let index = Index::new(inventory, &self.dir, files)?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
        Ok(true)
    }

    /// Variables of a host below those of plays: what the inventory says, and how it is reached.
    pub(crate) fn base(&self, name: &str) -> Vec<Arc<Vars>> {
        let index = self.index();
        let mut layers = index.layers(name);
        if !self.has(name) {
            layers.insert(0, Arc::new(self.host(name).vars));
        }
        let spec = self.host(name).connection;
        let mut connection = Vars::new();
        connection.insert("ansible_host".into(), json!(spec.address.as_deref().unwrap_or(name)));
        connection.extend(spec.user.as_ref().map(|u| ("ansible_user".to_owned(), json!(u))));
        connection.extend(spec.port.as_ref().map(|p| ("ansible_port".to_owned(), json!(p))));
        layers.push(Arc::new(connection));
        layers
    }

    /// A host's variables as other hosts see them: nothing of plays and tasks.
    pub(crate) fn others_see(self: &Arc<Self>, name: &str) -> Arc<Scope> {
        let known = self.known(name);
        let mut layers = vec![self.index().magic(name), self.magic(), self.extra.clone()];
        layers.extend([known.set.clone(), known.included.clone(), known.facts.clone()]);
        layers.extend(self.base(name));
        let objects = HashMap::from([("hostvars".to_owned(), self.hostvars())]);
        let data = vec![known.set.clone(), known.facts.clone()];
        Scope::with_data(self.engine.clone(), layers, objects, known.unknown, Search::default(), data)
    }

    /// `hostvars`: the variables of a host are put together when they are asked for.
    pub(crate) fn hostvars(self: &Arc<Self>) -> Value {
        let (names, hosts) = (self.clone(), self.clone());
        HostVars::value(
            move || {
                let mut all = names.index().names.clone();
                if !all.iter().any(|n| n == "localhost") {
                    all.push("localhost".into());
                }
                all
            },
            move |name| (hosts.has(name) || is_localhost(name)).then(|| hosts.others_see(name)),
        )
    }
}

/// What a run adds to its inventory.
#[derive(Debug)]
enum Added {
    /// By `add_host`.
    Host { name: String, groups: Vec<String>, vars: Vars },
    /// By `group_by`.
    Group { name: String, parents: Vec<String>, host: String },
}

impl Added {
    /// Adds it, after those that were added before. Says whether that was new.
    fn to(&self, inventory: &mut Inventory, before: &[Self]) -> bool {
        match self {
            Self::Host { name, groups, vars } => {
                let mut changed = false;
                if inventory.host(name).is_none() {
                    // As with Ansible, hosts of the run come first, in the order in which they came.
                    let of_run =
                        |h: &Host| before.iter().any(|b| matches!(b, Self::Host { name, .. } if *name == h.name));
                    let at = inventory.hosts.iter().take_while(|h| of_run(h)).count();
                    inventory.hosts.insert(at, Host { name: name.clone(), ..Host::default() });
                    changed = true;
                }
                if let Some(host) = inventory.hosts.iter_mut().find(|h| h.name == *name) {
                    for (k, v) in vars {
                        changed |= host.vars.insert(k.clone(), v.clone()).as_ref() != Some(v);
                    }
                }
                for group in groups {
                    changed |= join(inventory, group, name);
                }
                changed
            }
            Self::Group { name, parents, host } => {
                let mut changed = !inventory.groups.contains_key(name);
                inventory.groups.entry(name.clone()).or_default();
                for parent in parents.iter().filter(|p| *p != "all") {
                    let children = &mut inventory.groups.entry(parent.clone()).or_default().children;
                    if !children.contains(name) {
                        children.push(name.clone());
                        changed = true;
                    }
                }
                changed | join(inventory, name, host)
            }
        }
    }
}

fn join(inventory: &mut Inventory, group: &str, host: &str) -> bool {
    if group == "all" || group == "ungrouped" {
        return false;
    }
    let members = &mut inventory.groups.entry(group.to_owned()).or_default().hosts;
    if members.iter().any(|h| h == host) {
        return false;
    }
    members.push(host.to_owned());
    true
}

/// Whether a name is this machine's even where no inventory knows it.
pub(crate) fn is_localhost(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}
