//! Each case, a small playbook in `cases/<module>/*.yml`, gives what Ansible gives: per task the status and the result, then
//! the files below `/srv/case`; twice in a row, or once if its first line is `# once`.
//!
//! Ansible's answers are stored beside the case with Ansible's version and the case's hash. `TOWPATH_UPDATE=1` with
//! `TOWPATH_TEST_ANSIBLE=<ansible-playbook>` asks Ansible for those that are missing or old. `TOWPATH_CASES=<part of a name>`
//! takes only some. Differences that remain are in `differences.txt`, which may only shrink.

pub(crate) mod ask;
pub(crate) mod compare;
mod rpm;
pub(crate) mod systemd;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use towpath_core::testkit::Sshd;
use towpath_core::{Configurator as _, Event, EventKind, Json, TaskStatus};
use towpath_playbook::Playbook;

use crate::support::World;

/// What is compared beside the results.
const STATE: &str = "cd /srv/case && find . -mindepth 1 -printf '%p %y %m %u %g %l\\n' | sort\n\
    find . -type f -size -64k | sort | while read -r f; do echo \"== $f\"; cat \"$f\"; echo; done\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/modules")
}

fn cases() -> Vec<(String, PathBuf)> {
    let wanted = std::env::var("TOWPATH_CASES").unwrap_or_default();
    let mut all = Vec::new();
    for module in std::fs::read_dir(folder().join("cases")).unwrap() {
        for case in std::fs::read_dir(module.unwrap().path()).unwrap() {
            let path = case.unwrap().path();
            let name = path.strip_prefix(folder().join("cases")).unwrap().with_extension("").display().to_string();
            if path.extension().is_some_and(|e| e == "yml") && name.contains(&wanted) {
                all.push((name, path));
            }
        }
    }
    all.sort();
    all
}

/// `# state: command` lines of a case, run beside [`STATE`].
fn state_of(text: &str) -> String {
    let more: String =
        text.lines().filter_map(|l| l.strip_prefix("# state: ")).map(|c| format!("( {c}\n) 2>&1 || :\n")).collect();
    format!("{STATE}echo '== more'\n{more}")
}

/// How often a case runs: twice, or `# once`, if it begins by putting everything back.
fn rounds_of(text: &str) -> usize {
    if text.starts_with("# once\n") { 1 } else { 2 }
}

/// What kind of host a case wants.
fn host_of(text: &str) -> &str {
    text.lines().find_map(|l| l.strip_prefix("# host: ")).unwrap_or("plain")
}

/// Starts a host of a kind.
fn start(kind: &str) -> Option<Sshd> {
    match kind {
        // `fresh`: no other case was there before.
        "plain" | "fresh" => Sshd::start(),
        "rpm" => rpm::start(),
        "systemd" => systemd::start(),
        other => panic!("no hosts of the kind {other}"),
    }
}

/// Makes the machine as the case expects it.
const RESET: &str = "rm -rf /srv/case && mkdir -p /srv/case";

fn status(s: TaskStatus) -> &'static str {
    match s {
        TaskStatus::Ok => "ok",
        TaskStatus::Changed => "changed",
        TaskStatus::Failed => "failed",
        TaskStatus::Ignored => "ignored",
        TaskStatus::Skipped => "skipped",
        _ => "unreachable",
    }
}

/// The results of tasks since the events were cleared, as Ansible's are stored.
pub(crate) fn results(world: &World) -> Vec<Json> {
    let events = world.events.lock().unwrap();
    let result = |e: &Event| match &e.kind {
        EventKind::TaskResult { task, item: None, status: s, result, .. } => {
            Some(serde_json::json!({ "task": task, "status": status(*s), "result": result }))
        }
        _ => None,
    };
    events.iter().filter_map(result).collect()
}

/// Holds what differs against a committed list, which may only shrink. `whole`: nothing was left out.
pub(crate) fn judge(list: &Path, found: &BTreeSet<String>, whole: bool) -> usize {
    let known = std::fs::read_to_string(list).unwrap();
    let lines = || known.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    // What depends on the order of a folder differs on some file systems only.
    let sometimes: BTreeSet<&str> = lines().filter_map(|l| l.strip_prefix("? ")).collect();
    let known: BTreeSet<&str> = lines().filter(|l| !l.starts_with("? ")).collect();
    let covers = |k: &str, f: &str| f == k || f.starts_with(&format!("{k} "));
    if let Some(path) = std::env::var_os("TOWPATH_SHOW") {
        std::fs::write(path, found.iter().map(|f| format!("{f}\n")).collect::<String>()).unwrap();
    }
    let new: Vec<&String> = found.iter().filter(|f| !known.iter().chain(&sometimes).any(|k| covers(k, f))).collect();
    let gone: Vec<&&str> = known.iter().filter(|k| whole && !found.iter().any(|f| covers(k, f))).collect();
    assert!(
        new.is_empty(),
        "{} new differences:\n{}",
        new.len(),
        new.iter().map(|s| format!("{s}\n")).collect::<String>()
    );
    assert!(gone.is_empty(), "no longer different, take out of {}: {gone:#?}", list.display());
    known.len()
}

async fn ours(world: &World, text: &str) -> Vec<Json> {
    let site = world.playbook(Playbook::file("site.yml"));
    let server = &world.servers[0];
    server.sh(RESET);
    let mut rounds = Vec::new();
    for _ in 0..rounds_of(text) {
        world.events.lock().unwrap().clear();
        let end = site.apply(&world.cx, &world.targets).await;
        let tasks = results(world);
        assert!(!tasks.is_empty(), "{end:?}");
        let round = serde_json::json!({ "tasks": tasks, "state": server.sh(&state_of(text)) });
        rounds.push(compare::tidy(round, compare::wants_diff(text)));
    }
    rounds
}

/// How many hosts work at the same time. Each takes neighbouring cases, which know what the one before them leaves.
const HOSTS: usize = 4;

/// What some cases gave.
#[derive(Default)]
struct Tally {
    found: BTreeSet<String>,
    compared: usize,
    tasks: usize,
}

/// Runs cases one after the other on a host.
async fn part(cases: Vec<(String, PathBuf)>) -> Option<Tally> {
    let mut worlds: HashMap<String, World> = HashMap::new();
    let mut tally = Tally::default();
    for (name, path) in &cases {
        let text = std::fs::read_to_string(path).unwrap();
        let stored = path.with_extension("json");
        let stored = std::fs::read_to_string(&stored)
            .unwrap_or_else(|e| panic!("{}: {e}; TOWPATH_UPDATE=1 asks Ansible", stored.display()));
        let stored: Json = serde_json::from_str(&stored).unwrap();
        assert_eq!(stored["hash"], ask::hash(&text), "{name} has changed since; TOWPATH_UPDATE=1 asks Ansible");
        let kind = host_of(&text);
        if !worlds.contains_key(kind) {
            worlds.insert(kind.to_owned(), World::of(vec![start(kind)?]));
        }
        let world = &worlds[kind];
        world.write("site.yml", &text);
        ask::companions(path, world.dir.path());
        let rounds = ours(world, &text).await;
        for (i, (mine, theirs)) in rounds.iter().zip(stored["rounds"].as_array().unwrap()).enumerate() {
            let theirs = compare::tidy(theirs.clone(), compare::wants_diff(&text));
            tally.tasks += theirs["tasks"].as_array().unwrap().len();
            let differ = compare::differences(mine, &theirs);
            tally.found.extend(differ.into_iter().map(|d| format!("{name} round {}: {d}", i + 1)));
        }
        tally.compared += 1;
    }
    Some(tally)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn modules_give_what_ansible_gives() {
    let cases = cases();
    ask::update(&cases);
    let size = cases.len().div_ceil(HOSTS).max(1);
    let parts: Vec<_> = cases.chunks(size).map(|c| tokio::spawn(part(c.to_vec()))).collect();
    let Tally { mut found, mut compared, mut tasks } = Tally::default();
    for part in parts {
        let Some(part) = part.await.unwrap() else { return };
        found.extend(part.found);
        compared += part.compared;
        tasks += part.tasks;
    }
    let whole = std::env::var_os("TOWPATH_CASES").is_none();
    let known = judge(&folder().join("differences.txt"), &found, whole);
    eprintln!("{compared} cases, {tasks} results compared, {known} known differences");
}
