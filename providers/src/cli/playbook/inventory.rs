//! `ansible-inventory`.

use std::collections::BTreeSet;

use crate::playbook::{ConnectionDefaults, LoadedInventory, select_hosts};
use crate::{Inventory, Json, Vars};

use super::options::InventoryCli;
use super::setup::Base;
use super::stdout::json;
use super::{Outcome, Stop, exit, secrets, yaml};

pub(crate) fn run(name: &str, cli: InventoryCli) -> Outcome {
    let base = Base::new(name, &cli.common)?;
    if cli.common.version {
        super::super::print(&base.version());
        return Ok(exit::DONE);
    }
    let wrong = |message: &str| Err(Stop::new(exit::OPTIONS, message));
    match [cli.list, cli.host.is_some(), cli.graph].iter().filter(|b| **b).count() {
        1 => {}
        0 => return wrong("No action selected, at least one of --host, --graph or --list needs to be specified."),
        _ => {
            return wrong(
                "Conflicting options used, only one of --host, --graph or --list can be used at the same time.",
            );
        }
    }
    if cli.toml {
        return wrong("--toml is not supported: use --yaml, or JSON");
    }
    let printer = base.printer(base.look());
    let vault = secrets::vault(&cli.vaults, &base.settings)?;
    let extra = base.extra_vars(&cli.extra_vars, &vault)?;
    let sources = base.sources(&cli.inventory);
    let (mut loaded, _) = base.inventory(&sources, &vault, ConnectionDefaults::default(), &extra, &printer)?;
    let view = View { loaded: &loaded, extra: &extra };
    let text = if let Some(host) = &cli.host {
        let known = loaded.inventory.host(host).is_some();
        if !known && !["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) {
            printer.warn(&format!("Could not match supplied host pattern, ignoring: {host}"));
            return wrong("You must pass a single valid host to --host parameter");
        }
        shown(&Json::Object(view.vars(host)), cli.yaml)
    } else if cli.graph {
        let top = cli.group.as_deref().unwrap_or("all");
        if !["all", "ungrouped"].contains(&top) && !loaded.inventory.groups.contains_key(top) {
            return wrong("Pattern must be valid group name when using --graph");
        }
        let mut lines = vec![format!("@{top}:")];
        view.graph(top, 1, cli.vars, &mut lines);
        lines.join("\n")
    } else {
        if !cli.limit.is_empty() {
            let kept: BTreeSet<String> = match base.limit(&loaded, &cli.limit, &printer)? {
                Some(limit) => select_hosts(&loaded.inventory, &limit)?.into_iter().collect(),
                None => BTreeSet::new(),
            };
            keep(&mut loaded.inventory, &kept);
        }
        let view = View { loaded: &loaded, extra: &extra };
        let export = cli.export || base.settings.flag("INVENTORY_EXPORT") == Some(true);
        if cli.yaml { view.tree(export) } else { json::pretty(&view.list(export)) }
    };
    match cli.output {
        Some(path) => std::fs::write(&path, text.trim_end_matches('\n')).map_err(|e| {
            Stop::new(exit::ERROR, format!("Unable to write to destination file ({}): {e}", path.display()))
        })?,
        None => printer.say(text.trim_end_matches('\n')),
    }
    Ok(exit::DONE)
}

fn shown(value: &Json, as_yaml: bool) -> String {
    if as_yaml { yaml::text(value) } else { json::pretty(value) }
}

/// Leaves these hosts only.
fn keep(inventory: &mut Inventory, kept: &BTreeSet<String>) {
    inventory.hosts.retain(|h| kept.contains(&h.name));
    for group in inventory.groups.values_mut() {
        group.hosts.retain(|h| kept.contains(h));
    }
}

struct View<'a> {
    loaded: &'a LoadedInventory,
    extra: &'a Vars,
}

impl View<'_> {
    fn inventory(&self) -> &Inventory {
        &self.loaded.inventory
    }

    /// All variables of a host.
    fn vars(&self, host: &str) -> Vars {
        let inventory = self.inventory();
        let mut vars = inventory.host(host).map(|h| inventory.effective(h).vars).unwrap_or_default();
        vars.extend(self.extra.clone());
        vars
    }

    fn ungrouped(&self) -> Vec<String> {
        let grouped: BTreeSet<&String> = self.inventory().groups.values().flat_map(|g| &g.hosts).collect();
        self.inventory().hosts.iter().map(|h| &h.name).filter(|n| !grouped.contains(n)).cloned().collect()
    }

    fn children(&self, group: &str) -> Vec<String> {
        match group {
            "all" => {
                let inner: BTreeSet<&String> = self.inventory().groups.values().flat_map(|g| &g.children).collect();
                let top = self.loaded.group_order.iter().filter(|g| !inner.contains(g)).cloned();
                std::iter::once("ungrouped".to_owned()).chain(top).collect()
            }
            _ => self.inventory().groups.get(group).map(|g| g.children.clone()).unwrap_or_default(),
        }
    }

    fn hosts(&self, group: &str) -> Vec<String> {
        match group {
            "all" => Vec::new(),
            "ungrouped" => self.ungrouped(),
            _ => self.inventory().groups.get(group).map(|g| g.hosts.clone()).unwrap_or_default(),
        }
    }

    fn group_vars(&self, group: &str) -> Vars {
        match group {
            "all" => self.inventory().vars.clone(),
            _ => self.inventory().groups.get(group).map(|g| g.vars.clone()).unwrap_or_default(),
        }
    }

    fn own_vars(&self, host: &str) -> Vars {
        self.inventory().host(host).map(|h| h.vars.clone()).unwrap_or_default()
    }

    fn graph(&self, group: &str, depth: usize, vars: bool, out: &mut Vec<String>) {
        let pad = "  |".repeat(depth);
        let show = |vars: Vars, depth: usize, out: &mut Vec<String>| {
            let mut pairs: Vec<_> = vars.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            out.extend(pairs.iter().map(|(k, v)| format!("{}--{{{k} = {}}}", "  |".repeat(depth), json::python(v))));
        };
        for child in self.children(group) {
            out.push(format!("{pad}--@{child}:"));
            self.graph(&child, depth + 1, vars, out);
        }
        for host in self.hosts(group) {
            out.push(format!("{pad}--{host}"));
            if vars {
                show(self.vars(&host), depth + 1, out);
            }
        }
        if vars {
            show(self.group_vars(group), depth, out);
        }
    }

    /// As an inventory script answers.
    fn list(&self, export: bool) -> Json {
        let mut out = Vars::new();
        let mut hostvars = Vars::new();
        for host in &self.inventory().hosts {
            let vars = if export { self.own_vars(&host.name) } else { self.vars(&host.name) };
            if !vars.is_empty() {
                hostvars.insert(host.name.clone(), Json::Object(vars));
            }
        }
        out.insert("_meta".into(), serde_json::json!({ "hostvars": hostvars }));
        let names =
            ["all".to_owned(), "ungrouped".to_owned()].into_iter().chain(self.loaded.group_order.iter().cloned());
        for name in names {
            let mut group = Vars::new();
            let (hosts, children, vars) = (self.hosts(&name), self.children(&name), self.group_vars(&name));
            if !hosts.is_empty() {
                group.insert("hosts".into(), hosts.into());
            }
            if !children.is_empty() {
                group.insert("children".into(), children.into());
            }
            if export && !vars.is_empty() {
                group.insert("vars".into(), Json::Object(vars));
            }
            if !group.is_empty() {
                out.insert(name, Json::Object(group));
            }
        }
        Json::Object(out)
    }

    /// As an inventory in YAML.
    fn tree(&self, export: bool) -> String {
        let mut seen = BTreeSet::new();
        let all = self.branch("all", export, &mut seen);
        yaml::text(&serde_json::json!({ "all": all }))
    }

    fn branch(&self, group: &str, export: bool, seen: &mut BTreeSet<String>) -> Json {
        let mut out = Vars::new();
        let mut children = Vars::new();
        for child in self.children(group) {
            let inner = self.branch(&child, export, seen);
            if inner.as_object().is_some_and(|o| !o.is_empty()) || child != "ungrouped" {
                children.insert(child, inner);
            }
        }
        let mut hosts = Vars::new();
        for host in self.hosts(group) {
            // Variables stand with the first mention.
            let vars = if !seen.insert(host.clone()) {
                Vars::new()
            } else if export {
                self.own_vars(&host)
            } else {
                self.vars(&host)
            };
            hosts.insert(host, Json::Object(vars));
        }
        let vars = if export { self.group_vars(group) } else { Vars::new() };
        for (key, map) in [("children", children), ("hosts", hosts), ("vars", vars)] {
            if !map.is_empty() {
                out.insert(key.into(), Json::Object(map));
            }
        }
        Json::Object(out)
    }
}
