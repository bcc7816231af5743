//! Ansible inventories, INI and YAML.

use std::path::PathBuf;

use towpath_core::{ErrorKind, Inventory};
use towpath_playbook::load_inventory;

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn names(inventory: &Inventory) -> Vec<&str> {
    inventory.hosts.iter().map(|h| h.name.as_str()).collect()
}

#[test]
fn ini_gives_hosts_ranges_groups_and_variables() {
    let (dir, path) = written(
        "hosts",
        "; a comment\nalone ansible_host=10.0.0.9\n\n[web]\nweb[01:03].example.org http_port=8080 debug=True tag='two words' # why\n\
         [db]\ndb-[a:b]:2222\n[all:vars]\nansible_user=deploy\n[backend:children]\ndb\n[backend:vars]\nansible_ssh_private_key_file = keys/id\n\
         ansible_ssh_common_args='-o UserKnownHostsFile=known -o ProxyJump=bastion'\n",
    );
    std::fs::create_dir(dir.path().join("group_vars")).unwrap();
    std::fs::write(dir.path().join("group_vars/web.yml"), "workers: 4\n").unwrap();
    let found = load_inventory(&path).unwrap();
    let web = ["web01.example.org", "web02.example.org", "web03.example.org"];
    assert_eq!(names(&found), [&["alone"][..], &web, &["db-a", "db-b"]].concat());
    assert_eq!(found.groups["web"].hosts, web);
    assert_eq!(found.groups["backend"].children, ["db"]);
    let first = found.host("web01.example.org").unwrap();
    assert_eq!(first.vars["http_port"], 8080);
    assert_eq!(first.vars["debug"], true);
    assert_eq!(first.vars["tag"], "two words");
    assert_eq!(first.connection.user.as_deref(), Some("deploy"));
    assert_eq!(found.effective(first).vars["workers"], 4);
    let db = found.host("db-a").unwrap();
    assert_eq!(db.connection.port, Some(2222));
    assert_eq!(db.connection.options["identity_file"], dir.path().join("keys/id").display().to_string());
    assert_eq!(db.connection.options["known_hosts"], dir.path().join("known").display().to_string());
    assert_eq!(db.connection.options["proxy_jump"], "bastion");
    assert_eq!(found.host("alone").unwrap().connection.address.as_deref(), Some("10.0.0.9"));
}

#[test]
fn yaml_gives_the_same() {
    let (_dir, path) = written(
        "hosts.yml",
        "all:\n  vars: { ansible_user: deploy }\n  children:\n    web:\n      hosts:\n        web[1:2]: { http_port: 80 }\n      vars: { tier: front }\n    \
         backend:\n      children:\n        db: { hosts: { db-1: null } }\n",
    );
    let found = load_inventory(&path).unwrap();
    assert_eq!(names(&found), ["web1", "web2", "db-1"]);
    assert_eq!(found.groups["backend"].children, ["db"]);
    let web = found.host("web2").unwrap();
    assert_eq!((&web.vars["http_port"], &found.effective(web).vars["tier"]), (&80.into(), &"front".into()));
    assert_eq!(web.connection.user.as_deref(), Some("deploy"));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let refused = |name: &str, text: &str, wanted: &str| {
        let (_dir, path) = written(name, text);
        let error = load_inventory(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let report = error.report();
        assert!(report.contains(wanted), "{report}");
    };
    refused("hosts", "[web\n", ":1");
    refused("hosts", "[web]\nweb[3:1]\n", "is no range");
    refused("hosts", "[web]\nweb-1 speed\n", "`speed` is no `name=value`");
    refused("hosts", "web-1 ansible_port=none\n", "`ansible_port` is no port");
    refused("hosts", "web-1 ansible_ssh_common_args='-o StrictHostKeyChecking=maybe'\n", "is none of yes");
    refused("hosts", "web-1 ansible_ssh_common_args='-o LocalCommand=id'\n", "`LocalCommand`");
    refused("hosts", "web-1 ansible_become_password=hunter22\n", "password in plain text");
    refused("hosts.yml", "all:\n  host:\n    web-1:\n", "not `host`");
}
