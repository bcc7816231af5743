//! Inventories, ranges and patterns made wrong never panic and never hang.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{InventorySources, LoadedInventory, range};
use crate::execute::inventory::{Beside, Index};
use crate::mutate::{changes, mutated, rounds};

const INI: &str = "# hosts\nbare:2222 x=1\nweb[01:03:2].example ansible_host=10.0.0.1 ansible_port=22 s='a b' l=\"[1, {'a': None}]\"\n\n[db]\n\
    db-[a:c]\n\"quoted\" y=0x10\nfe80::1\n[fe80::2]:22\n[db:vars]\nport = 5432\nname=x # y\n[site:children]\ndb\nweb\n[web]\nbare\n[web:vars]\nz={'k': (1,)}\n";

const YAML: &str = "all:\n  hosts:\n    bare: {ansible_port: 2222}\n    web[1:3]:\n  vars: {a: 1, b: [x, {c: ~}]}\n  children:\n    db:\n      hosts:\n        \
    db-[a:c]: {x: &x {y: 1}}\n      vars: *x\n    site:\n      children:\n        db:\n        web: {hosts: bare}\n";

const PIECES: &[&str] = &[
    "[",
    "]",
    ":",
    "=",
    "[a:z]",
    "[1:5]",
    "[01:09:2]",
    "[1:99999999999]",
    "[:3]",
    "[3:1]",
    "[z:A]",
    "[::]",
    ":22",
    ":99999",
    "::1",
    ":children",
    ":vars",
    "[db]",
    "[db:children]",
    "[site:vars]",
    "[all]",
    "[ungrouped]",
    "db",
    "web",
    "site",
    "all",
    "bare",
    "x=1",
    "ansible_host=",
    "ansible_port=x",
    "ansible_connection=local",
    "ansible_ssh_common_args='-o ProxyJump=x'",
    "ansible_user=u",
    "'",
    "\"",
    "\\",
    "#",
    ";",
    "{",
    "}",
    "(",
    ")",
    ",",
    " ",
    "\n",
    "\t",
    "hosts:",
    "children:",
    "vars:",
    "*x",
    "&x ",
    "plugin: constructed",
    "!vault x",
    "ü",
    "\u{0}",
    "-9223372036854775808",
    "0x",
    "1e999",
];

const TERMS: &[&str] = &[
    "all",
    "*",
    "web",
    "db",
    "site",
    "bare",
    "w*",
    "~w.*",
    "~(",
    "!",
    "&",
    ":",
    ",",
    "[",
    "]",
    "[0]",
    "[-1]",
    "[1:]",
    "[:-1]",
    "[0-1]",
    "[9]",
    "[",
    "?",
    "{a,b}",
    "[!a]",
    "[99999999999999999999]",
    "::1",
    "ü",
    " ",
];

fn read(name: &str, text: &str) -> towpath_core::Result<LoadedInventory> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let start = Instant::now();
    let done = InventorySources::new([path.display().to_string()]).strict().load();
    if let Err(e) = &done {
        let report = e.report();
        assert!(report.contains(name), "no file in: {report}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    done
}

fn index(text: &str) -> Index {
    let inventory = read("hosts", text).unwrap().inventory;
    Index::new(&inventory, std::path::Path::new("/nowhere"), &mut Beside::default()).unwrap()
}

proptest! {
    #![proptest_config(rounds(400))]

    #[test]
    fn wrong_ini(changes in changes(PIECES)) {
        let _ = read("hosts", &mutated(INI, &changes));
    }

    #[test]
    fn wrong_yaml(changes in changes(PIECES)) {
        let _ = read("hosts.yml", &mutated(YAML, &changes));
    }

    #[test]
    fn random_lines(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.concat();
        let _ = read("hosts", &text);
        let _ = range::expand(&text);
        let _ = range::port(&text);
    }

    #[test]
    fn random_patterns(terms in prop::collection::vec(prop::sample::select(TERMS), 0..12)) {
        thread_local! { static INDEX: Index = index(INI); }
        INDEX.with(|index| {
            if let Ok(hosts) = index.select(&terms.concat()) {
                assert!(hosts.iter().all(|h| index.names.contains(h)), "{hosts:?}");
            }
        });
    }
}

#[test]
fn what_the_mutations_start_from_is_right() {
    let ini = read("hosts", INI).unwrap();
    assert_eq!(ini.inventory.hosts.len(), 9, "{:?}", ini.inventory.hosts);
    assert_eq!(read("hosts.yml", YAML).unwrap().inventory.hosts.len(), 7);
}

#[test]
fn many_groups_and_hosts_are_read_in_time() {
    // Two groups in each layer, both of them in both of the layer above: a million ways from the first to the last.
    let mut layers = String::new();
    for i in 0..30 {
        layers.push_str(&format!("[a{i}:children]\na{0}\nb{0}\n[b{i}:children]\na{0}\nb{0}\n", i + 1));
    }
    layers.push_str("[a30]\nlow\n[b30]\n");
    let found = index(&layers);
    assert_eq!(found.groups["a0"], ["low"]);
    let inventory = read("hosts", &layers).unwrap().inventory;
    assert_eq!(inventory.effective(&inventory.hosts[0]).name, "low");
    let chain: String = (0..3000).map(|i| format!("[g{i}:children]\ng{}\n", i + 1)).collect();
    assert_eq!(read("hosts", &(chain + "[g3000]\nlow\n")).unwrap().inventory.groups.len(), 3001);
    assert_eq!(
        read("hosts", "[all]\nw[1:50000]\n[g]\nw[1:50000]\n").unwrap().inventory.groups["g"].hosts.len(),
        50_000
    );
    assert!(read("hosts", &"[a:z]".repeat(10)).is_err());
    assert!(read("hosts", &"[1:1]".repeat(100_000)).is_err());
    let circle = "[a:children]\nb\n[b:children]\na\n";
    assert!(read("hosts", circle).unwrap_err().report().contains("recursive"));
}
