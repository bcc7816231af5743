//! What each provider can do, as one committed table: what is missing is missing on purpose.
#![cfg(all(
    feature = "aws",
    feature = "docker",
    feature = "haproxy",
    feature = "nginx",
    feature = "chef",
    feature = "script",
    feature = "packer",
    feature = "local",
    feature = "playbook",
    feature = "ssh",
    feature = "strider",
    feature = "terraform",
    feature = "vagrant"
))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use towpath::pipeline::Role;
use towpath::{
    Balancer, Capabilities, Configurator, Connector, Deployer, ImageBuilder, Json, LogSink, Monitor, Provisioner,
    Registry, Setup,
};

const ROLES: [Role; 8] = [
    Role::Provisioner,
    Role::Configurator,
    Role::ImageBuilder,
    Role::Deployer,
    Role::Monitor,
    Role::LogSink,
    Role::Balancer,
    Role::Connector,
];

/// The smallest config of a provider. A new provider needs a line here.
fn config(role: Role, name: &str) -> Json {
    match (role, name) {
        (Role::Provisioner, "local") => json!({"hosts": 1}),
        (Role::Provisioner, "inventory") => json!({"file": "hosts"}),
        (Role::Provisioner, "aws") => json!({"groups": {"web": {"ami": "ami-0abc"}}}),
        (Role::ImageBuilder, "packer") => json!({"template": "web.pkr.hcl"}),
        (Role::Configurator, "script") => json!({"steps": [{"run": {"script": "true"}}]}),
        (Role::Configurator, "chef") => json!({"run_list": ["web"], "cookbook_paths": ["."]}),
        (Role::Provisioner, "docker") => json!({"containers": {"web": {"image": "debian"}}}),
        (Role::Provisioner, "vagrant") => json!({"machines": {"web": {"box": "debian/bookworm64"}}}),
        (Role::Provisioner, "terraform") => json!({"module": "infra"}),
        (Role::Configurator, "playbook") => json!({"file": "site.yml"}),
        (Role::Deployer, "docker") => json!({"service": "web"}),
        (Role::Deployer, "strider") => {
            json!({"url": "https://ci.example.com", "user": "ops@example.com", "password": {"env": "X"}, "project": "acme/web"})
        }
        (Role::Deployer, "release-dirs") => json!({"restart": ["true"]}),
        (Role::LogSink, "jsonl") => json!({"path": "log.jsonl"}),
        (Role::Balancer, "aws") => json!({"target_group": "web"}),
        (Role::Balancer, "haproxy") => json!({"backend": "web"}),
        (Role::Balancer, "nginx") => json!({"file": "/etc/nginx/web.conf"}),
        (Role::Balancer | Role::Monitor | Role::Connector, "local")
        | (Role::Connector | Role::ImageBuilder, "docker")
        | (Role::ImageBuilder | Role::Deployer, "aws")
        | (Role::ImageBuilder, "local-archive")
        | (Role::ImageBuilder, "vagrant-box")
        | (Role::Connector, "ssh") => json!({}),
        _ => panic!("{} `{name}` is new: give its smallest config here", role.as_str()),
    }
}

fn capabilities(registry: &Registry, setup: &Setup, role: Role, name: &str) -> Capabilities {
    macro_rules! of {
        ($kind:ident) => {
            registry.make::<dyn $kind>(name, &config(role, name), setup).unwrap().capabilities()
        };
    }
    match role {
        Role::Provisioner => of!(Provisioner),
        Role::Configurator => of!(Configurator),
        Role::ImageBuilder => of!(ImageBuilder),
        Role::Deployer => of!(Deployer),
        Role::Monitor => of!(Monitor),
        Role::LogSink => of!(LogSink),
        Role::Balancer => of!(Balancer),
        Role::Connector => of!(Connector),
    }
}

/// One table per kind of provider: a row for each provider, a column for each capability that any of them has.
fn page() -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("site.yml"), "- hosts: all\n  tasks: []\n").unwrap();
    let setup = Setup {
        base_dir: dir.path().to_owned(),
        environment: "default".into(),
        connector: Arc::new(towpath::local::LocalConnector),
    };
    let registry = towpath::registry();
    let mut page =
        "# What each provider can do\n\nWhatever a provider lacks it refuses as `Unsupported`, with the name of \
                    what is missing. A test keeps this page true.\n"
            .to_owned();
    for role in ROLES {
        let rows: BTreeMap<&str, Capabilities> =
            registry.names(role).into_iter().map(|name| (name, capabilities(&registry, &setup, role, name))).collect();
        let columns: BTreeSet<&str> = rows.values().flat_map(|c| c.verbs.iter().map(String::as_str)).collect();
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let code: Vec<String> = columns.iter().map(|c| format!("`{c}`")).collect();
        page.push_str(&format!("\n## {}\n\n", role.as_str().replace('_', " ")));
        page.push_str(&line([""].into_iter().chain(code.iter().map(String::as_str)).collect()));
        page.push_str(&format!("|---|{}\n", ":-:|".repeat(columns.len())));
        for (name, can) in &rows {
            let name = format!("`{name}`");
            let marks = columns.iter().map(|c| if can.has(c) { "yes" } else { "–" });
            page.push_str(&line([name.as_str()].into_iter().chain(marks).collect()));
        }
    }
    page
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/capabilities.md")
}

#[test]
fn the_committed_table_is_true() {
    let page = page();
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::write(committed(), &page).unwrap();
    }
    let there = std::fs::read_to_string(committed()).unwrap_or_default();
    assert_eq!(there, page, "run this test with TOWPATH_UPDATE=1 and look at the difference");
}

/// A kind of provider that the table does not know would be missing from it without a word.
#[test]
fn every_provider_is_in_the_table() {
    let page = page();
    let registry = towpath::registry();
    for role in ROLES {
        let names = registry.names(role);
        assert!(!names.is_empty(), "no provider of the kind {}", role.as_str());
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
