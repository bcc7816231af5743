//! Ansible inventories, INI and YAML.

use std::path::PathBuf;

use towpath_core::{ErrorKind, Inventory, Secret, SecretRef};
use towpath_playbook::{ConnectionDefaults, InventorySources, Passwords, Vault, load_inventory};

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
    refused("hosts", "web-1 ansible_ssh_executable=/bin/ssh\n", "`ansible_ssh_executable` is not supported");
    refused("hosts", "[a:children]\nb\n[b:children]\na\n", "recursive dependency loop");
    refused("hosts", "[a:vars]\nx=1\n", "`a` is not defined");
    refused("hosts.yml", "plugin: aws_ec2\n", "`aws_ec2` is not supported");
    refused("hosts", "web-1 ansible_become_password=hunter22\n", "password in plain text");
    refused("hosts.yml", "all:\n  host:\n    web-1:\n", "not `host`");
}

#[test]
fn several_sources_add_up_to_one_inventory() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    put("inv/01-hosts", "[web]\nw1\nw2 x=[1,2]\n");
    put("inv/02-more.yml", "db:\n  hosts:\n    d[1:2]:\n  vars: {tier: back}\nweb:\n  hosts: {w3: {x: 3}}\n");
    put("inv/ignored.cfg", "[nothing\n");
    put("inv/group_vars/web/a.yml", "workers: 1\n");
    put("inv/group_vars/web/b.yml", "workers: 2\n");
    put("inv/host_vars/d1.yml", "own: true\n");
    let answer = r#"{"cloud": {"hosts": ["c1"], "vars": {"z": 1}}}"#;
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --list ] || {{ printf '{{\"asked\": \"%s\"}}' \"$2\"; exit; }}\necho '{answer}'\n"
    );
    let script = put("script.sh", &script);
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sources = [dir.path().join("inv").display().to_string(), script, "e1,e2:2222".to_owned()];
    let found = InventorySources::new(sources).load().unwrap();
    assert_eq!((found.parsed, found.warnings.as_slice()), (3, &[][..]));
    let inventory = &found.inventory;
    assert_eq!(names(inventory), ["e1", "e2", "w1", "w2", "w3", "d1", "d2", "c1"]);
    assert_eq!(found.group_order, ["web", "db", "cloud"]);
    let var = |host: &str, name: &str| inventory.effective(inventory.host(host).unwrap()).vars[name].clone();
    assert_eq!(var("w3", "workers"), 2);
    assert_eq!(var("d1", "own"), true);
    assert_eq!(var("c1", "asked"), "c1");
    assert_eq!(var("c1", "z"), 1);
    assert_eq!(inventory.host("e2").unwrap().connection.port, Some(2222));
    // A source that is not there is told, and the others count.
    let found = InventorySources::new(["/nowhere/hosts", "a,"]).load().unwrap();
    assert_eq!((names(&found.inventory), found.parsed), (vec!["a"], 1));
    assert!(found.warnings[0].contains("Unable to parse /nowhere/hosts"), "{:?}", found.warnings);
}

#[test]
fn vaults_passwords_and_defaults_decide_how_hosts_are_reached() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::new().key("default", Secret::new("pw"));
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "a\nb ansible_user=other ansible_ssh_common_args='-o \"ProxyCommand=nc %h %p\" -p 2200'\n")
        .unwrap();
    std::fs::create_dir(dir.path().join("group_vars")).unwrap();
    let all = dir.path().join("group_vars/all.yml");
    std::fs::write(&all, vault.encrypt(b"ansible_become_password: hunter22\nansible_become: true\n", None).unwrap())
        .unwrap();
    let sources = || InventorySources::new([hosts.display().to_string()]);
    assert_eq!(sources().load().unwrap_err().kind(), ErrorKind::Denied);
    assert!(sources().vault(vault.clone()).load().unwrap_err().report().contains("password in plain text"));
    let kept: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
    let seen = kept.clone();
    let keep = move |secret: Secret| {
        seen.lock().unwrap().push(secret.expose().to_owned());
        Ok(SecretRef::Env("KEPT".into()))
    };
    let defaults = ConnectionDefaults {
        user: Some("deploy".into()),
        private_key: Some("key".into()),
        ssh_args: vec!["-o StrictHostKeyChecking=accept-new".into()],
        ..ConnectionDefaults::default()
    };
    let sources = sources().vault(vault).defaults(defaults).passwords(Passwords::Keep(std::sync::Arc::new(keep)));
    let found = sources.load().unwrap();
    let (a, b) = (&found.inventory.host("a").unwrap().connection, &found.inventory.host("b").unwrap().connection);
    assert_eq!((a.user.as_deref(), b.user.as_deref()), (Some("deploy"), Some("other")));
    assert_eq!(b.options["proxy_command"], "nc %h %p");
    assert_eq!((b.port, a.options["host_keys"].as_str()), (Some(2200), Some("accept_new")));
    assert_eq!(a.options["identity_file"], "key");
    assert_eq!(a.r#become.as_ref().unwrap().password, Some(SecretRef::Env("KEPT".into())));
    assert!(kept.lock().unwrap().iter().all(|p| p == "hunter22"));
}
