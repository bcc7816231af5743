//! Roles of the size and idiom of public ones, run by Ansible and here on fresh containers with systemd: the results of all
//! tasks, the recap, a second run, and what the machine is afterwards (files with modes, owners and contents, users, packages, units).
//!
//! The playbooks are in `site`; `world` gives a container the packages and the files that they want from a network, `state` says what
//! a machine is. Ansible's answers are stored with its version and a hash of all that was run: `TOWPATH_UPDATE=1` with
//! `TOWPATH_TEST_ANSIBLE=<ansible-playbook>` asks it again for those that are missing or old. `TOWPATH_CASES=<part of a name>` takes
//! only some.

mod cross;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::testkit::Sshd;
use towpath_core::{Configurator as _, Json, Targets};
use towpath_playbook::{DEFAULT_VAULT_ID, InventorySources, Playbook, Vault, password_from_file};

use crate::modules::ask::{self, Ansible};
use crate::modules::{compare, judge, results, systemd};
use crate::support::{DockerExec, World};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/roles")
}

/// The names of the playbooks.
fn cases() -> Vec<String> {
    let wanted = std::env::var("TOWPATH_CASES").unwrap_or_default();
    let files = std::fs::read_dir(folder().join("site")).unwrap().map(|e| e.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|p| p.extension().is_some_and(|e| e == "yml"))
        .map(|p| p.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|n| n.contains(&wanted))
        .collect();
    names.sort();
    names
}

/// A hash of all files that a case runs: its first line names the roles.
fn hash(case: &str) -> String {
    let site = folder().join("site");
    let playbook = site.join(format!("{case}.yml"));
    let text = std::fs::read_to_string(&playbook).unwrap();
    let roles = text.lines().next().and_then(|l| l.strip_prefix("# roles: ")).expect("the first line names the roles");
    let mut files = vec![playbook, site.join("hosts"), folder().join("world"), folder().join("state")];
    walk(&site.join("group_vars"), &mut files);
    walk(&site.join("host_vars"), &mut files);
    for role in roles.split(' ') {
        walk(&site.join("roles").join(role), &mut files);
    }
    files.sort();
    let all: String = files
        .iter()
        .map(|f| format!("{}\n{}\n", f.strip_prefix(folder()).unwrap().display(), std::fs::read_to_string(f).unwrap()))
        .collect();
    ask::hash(&all)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// A fresh machine with all that the roles want, and the playbooks.
fn start() -> Option<World> {
    let server = systemd::start()?;
    server.sh(&std::fs::read_to_string(folder().join("world")).unwrap());
    // Where the image was made within the last hour, apt's empty lists would count as up to date.
    server.sh("touch -d '2020-01-01 00:00:00 UTC' /var/lib/apt/lists");
    let state = std::fs::read_to_string(folder().join("state")).unwrap();
    server.sh(&format!("cat >/run/state <<'TOWPATH'\n{state}TOWPATH\nsh /run/state before\n"));
    let world = World::of(vec![server]);
    ask::copy(&folder().join("site/."), world.dir.path());
    Some(world)
}

/// What the machine is now, by section.
fn state(server: &Sshd) -> Json {
    let mut sections = serde_json::Map::new();
    let text = server.sh("sh /run/state after");
    for section in text.split("## ").skip(1) {
        let (name, body) = section.split_once('\n').unwrap_or((section, ""));
        let value: Json = if name == "contents" {
            let files = body.split("== ").skip(1).filter_map(|f| f.split_once('\n'));
            Json::Object(files.map(|(file, text)| (file.to_owned(), text.into())).collect())
        } else {
            Json::Object(body.lines().map(|l| (l.to_owned(), true.into())).collect())
        };
        sections.insert(name.to_owned(), value);
    }
    Json::Object(sections)
}

/// Options of `ansible-playbook` for the playbooks of this folder.
fn options(dir: &Path) -> Vec<String> {
    let at = |name: &str| dir.join(name).display().to_string();
    vec!["-i".into(), at("hosts"), "--vault-password-file".into(), at("vault-password")]
}

fn theirs(ansible: &Ansible, world: &World, case: &str) -> ask::Played {
    let options = options(world.dir.path());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    ansible.play(world.dir.path(), &format!("{case}.yml"), &options, &world.servers[0])
}

/// Results and recap of one run.
async fn ours(world: &World, case: &str) -> (Vec<Json>, Json, String) {
    let dir = world.dir.path();
    let vault =
        Vault::new().key(DEFAULT_VAULT_ID, password_from_file(&dir.join("vault-password"), DEFAULT_VAULT_ID).unwrap());
    let hosts = dir.join("hosts");
    let mut inventory =
        InventorySources::new([hosts.display().to_string()]).vault(vault.clone()).load().unwrap().inventory;
    for host in &mut inventory.hosts {
        host.connection.address = Some(world.servers[0].id.clone());
    }
    let targets = Targets::new(inventory, std::sync::Arc::new(DockerExec));
    let mut config = Playbook::file(format!("{case}.yml"));
    config.inventory_sources = vec![hosts];
    world.events.lock().unwrap().clear();
    let end = world.playbook(config).with_vault(vault).apply(&world.cx, &targets).await;
    let recap = end.as_ref().map_or(Json::Null, |done| json!(done.hosts["web-1"]));
    (results(world), recap, end.err().map(|e| e.report()).unwrap_or_default())
}

/// Asks Ansible if that is wanted, and gives its answer.
fn stored(case: &str) -> Option<Json> {
    let file = folder().join(format!("answers/{case}.json"));
    let answer: Json = std::fs::read_to_string(&file).map_or(Json::Null, |t| serde_json::from_str(&t).unwrap());
    let hash = hash(case);
    if answer["hash"] == hash {
        return Some(answer);
    }
    assert!(std::env::var_os("TOWPATH_UPDATE").is_some(), "{case} has changed since; TOWPATH_UPDATE=1 asks Ansible");
    let ansible = Ansible::find().expect("TOWPATH_TEST_ANSIBLE names an ansible-playbook");
    let world = start()?;
    let mut rounds = Vec::new();
    for round in 1..=2 {
        let played = theirs(&ansible, &world, case);
        assert_eq!(played.recap["failed"], 0, "{case}: {}", played.said);
        assert!(round == 1 || played.recap["changed"] == 0, "{case} again: {}", played.said);
        let round = json!({ "tasks": played.tasks, "recap": played.recap, "state": state(&world.servers[0]) });
        rounds.push(tidy(round, &world));
    }
    eprintln!("asked: {case}");
    let answer = json!({ "ansible": ansible.version, "hash": hash, "rounds": rounds });
    std::fs::create_dir_all(folder().join("answers")).unwrap();
    std::fs::write(file, serde_json::to_string_pretty(&answer).unwrap() + "\n").unwrap();
    Some(answer)
}

/// The comparable form. Facts of the machine are compared elsewhere.
fn tidy(mut round: Json, world: &World) -> Json {
    for task in round["tasks"].as_array_mut().into_iter().flatten() {
        if let Some(facts) = task["result"].get_mut("ansible_facts").and_then(Json::as_object_mut) {
            facts.retain(|name, _| !name.starts_with("ansible_") || name == "ansible_local");
        }
    }
    let place = world.dir.path().display().to_string();
    compare::tidy(serde_json::from_str(&round.to_string().replace(&place, "DIR")).unwrap(), false)
}

/// Runs a case; gives what differs, and how many results were compared.
async fn check(case: String) -> Option<(BTreeSet<String>, usize)> {
    let answer = {
        let case = case.clone();
        tokio::task::spawn_blocking(move || stored(&case)).await.unwrap()?
    };
    let world = start()?;
    let (mut found, mut count) = (BTreeSet::new(), 0);
    for (i, theirs) in answer["rounds"].as_array().unwrap().iter().enumerate() {
        let (tasks, recap, error) = ours(&world, &case).await;
        assert!(!tasks.is_empty(), "{case}: {error}");
        let mine = json!({ "tasks": tasks, "recap": recap, "state": state(&world.servers[0]) });
        let (mine, theirs) = (tidy(mine, &world), &tidy(theirs.clone(), &world));
        count += theirs["tasks"].as_array().unwrap().len();
        let differ = compare::differences(&mine, theirs);
        found.extend(differ.into_iter().map(|d| format!("{case} round {}: {d}", i + 1)));
        if !error.is_empty() {
            found.insert(format!("{case} round {}: {error}", i + 1));
        }
    }
    Some((found, count))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn roles_do_what_they_do_with_ansible() {
    let cases = cases();
    let (mut found, mut count) = (BTreeSet::new(), 0);
    // Two machines at a time: each has an init system of its own.
    for pair in cases.chunks(2) {
        let running: Vec<_> = pair.iter().map(|c| tokio::spawn(check(c.clone()))).collect();
        for case in running {
            let Some((differ, results)) = case.await.unwrap() else { return };
            found.extend(differ);
            count += results;
        }
    }
    let whole = std::env::var_os("TOWPATH_CASES").is_none();
    let known = judge(&folder().join("differences.txt"), &found, whole);
    eprintln!("{} roles, {count} results compared, {known} known differences", cases.len());
}
