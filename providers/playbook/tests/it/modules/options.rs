//! Every option of every native module is taken, or is in `options.md` with a reason.
//!
//! `options.json` has the names of Ansible's options with their aliases, from `ansible-doc --json`. What a native module
//! takes, it says itself when it refuses an option.

use std::collections::{BTreeMap, BTreeSet};

use towpath_core::{Configurator as _, EventKind, Json};
use towpath_playbook::Playbook;

use super::folder;
use crate::support::World;

/// Arguments without which a module says something else first.
const NEEDED: &str = "no_such_option_: 1";
/// Checked elsewhere: they take any name, or no arguments.
const FREE: [&str; 3] = ["set_fact", "setup", "ping"];

#[tokio::test(flavor = "multi_thread")]
async fn every_option_is_taken_or_listed() {
    let Some(world) = World::new(1) else { return };
    let text = std::fs::read_to_string(folder().join("options.json")).unwrap();
    let options: BTreeMap<String, BTreeMap<String, Vec<String>>> = serde_json::from_str(&text).unwrap();
    let names: Vec<&String> = options.keys().filter(|m| !FREE.contains(&m.as_str())).collect();
    let mut site = "- hosts: all\n  gather_facts: false\n  ignore_errors: true\n  tasks:\n".to_owned();
    for name in &names {
        site.push_str(&format!("    - name: {name}\n      {name}: {{{NEEDED}}}\n"));
    }
    world.write("site.yml", &site);
    let end = world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets).await;
    let events = world.events.lock().unwrap();
    let said: Vec<(String, String)> = events
        .iter()
        .filter_map(|e| match &e.kind {
            EventKind::TaskResult { task, result, .. } => {
                Some((task.clone(), result.get("msg").and_then(Json::as_str).unwrap_or_default().to_owned()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(said.len(), names.len(), "{end:?}");
    let listed = std::fs::read_to_string(folder().join("options.md")).unwrap();
    let listed: BTreeSet<String> =
        listed.lines().filter_map(|l| Some(l.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
    let mut missing = BTreeSet::new();
    for (module, message) in said {
        let Some((_, taken)) = message.split_once("is not supported; there are: ") else {
            assert!(message.contains("has no native version"), "{module} takes an option that is not there: {message}");
            missing.insert(module);
            continue;
        };
        let taken: BTreeSet<&str> = taken.split(", ").collect();
        for (option, aliases) in &options[&module] {
            for name in std::iter::once(option).chain(aliases).filter(|n| !taken.contains(n.as_str())) {
                missing.insert(format!("{module}.{name}"));
            }
        }
    }
    let new: Vec<_> = missing.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&missing).collect();
    assert!(new.is_empty(), "neither taken nor in options.md: {new:#?}");
    assert!(gone.is_empty(), "there now, take out of options.md: {gone:#?}");
}
