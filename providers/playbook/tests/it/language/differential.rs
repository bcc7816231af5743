//! Cases that ansible-core has run before: same tasks on the same hosts in the same order, same results, same files.
//!
//! A case is a text of files, each after a line `=== path`. The answers of ansible-core are stored beside the cases, with
//! the hash of what it ran; `TOWPATH_UPDATE=1 TOWPATH_TEST_ANSIBLE=ansible-playbook` asks it again where that changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use towpath_core::{Configurator as _, Context, Event, EventKind, Targets, TaskStatus};
use towpath_playbook::{
    DEFAULT_VAULT_ID, InventorySources, LoadedInventory, Playbook, PlaybookConfig, Vault, password_from_file,
};

use super::local::LocalShell;

const INVENTORY: &str = "[web]\nh1\nh2\nh3\n[db]\nh4\nh5\n[site:children]\nweb\ndb\n";

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/language")
}

/// A case unpacked into a folder, and the options that its first lines (`# tags: x`) give.
struct Case {
    dir: tempfile::TempDir,
    options: BTreeMap<String, String>,
    hash: String,
}

impl Case {
    fn open(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = BTreeMap::new();
        let (mut head, mut path) = (true, String::from("site.yml"));
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for line in text.lines() {
            if let Some(p) = line.strip_prefix("=== ") {
                path = p.to_owned();
                head = false;
                continue;
            }
            if head && let Some((k, v)) = line.strip_prefix("# ").and_then(|l| l.split_once(": ")) {
                options.insert(k.to_owned(), v.to_owned());
                continue;
            }
            head = false;
            let file = files.entry(path.clone()).or_default();
            file.push_str(line);
            file.push('\n');
        }
        files.entry("hosts".into()).or_insert_with(|| INVENTORY.into());
        for (path, text) in &files {
            let full = crate::support::write(dir.path(), path, text);
            if text.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(full, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        std::fs::create_dir_all(dir.path().join("out")).unwrap();
        let hash = towpath_core::digest_json(&json!([files, options]));
        Self { dir, options, hash }
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// What the run left in `out`.
    fn left(&self) -> Json {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(self.dir.path().join("out")).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            all.insert(name, std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
        json!(all)
    }

    fn ansible(&self, program: &std::ffi::OsStr) -> Json {
        let dir = self.dir.path();
        std::fs::create_dir_all(dir.join("callback_plugins")).unwrap();
        std::fs::copy(home().join("recorder.py"), dir.join("callback_plugins/recorder.py")).unwrap();
        let mut command = Command::new(program);
        command.current_dir(dir).args(["-i", self.option("inventory").unwrap_or("hosts"), "site.yml", "-e"]);
        command.arg(format!("out={}", dir.join("out").display()));
        for (name, flag) in
            [("tags", "--tags"), ("skip", "--skip-tags"), ("limit", "--limit"), ("vault", "--vault-password-file")]
        {
            if let Some(v) = self.option(name) {
                command.args([flag, v]);
            }
        }
        if let Some(v) = self.option("extra") {
            command.args(["-e", v]);
        }
        if self.option("check").is_some() {
            command.arg("--check");
        }
        if self.option("force").is_some() {
            command.arg("--force-handlers");
        }
        if let Some(v) = self.option("start") {
            command.args(["--start-at-task", v]);
        }
        let out = command
            .env("TOWPATH_RECORD", dir.join("record"))
            .env("ANSIBLE_CALLBACKS_ENABLED", "recorder")
            .env("ANSIBLE_CONFIG", dir.join("ansible.cfg"))
            .env("ANSIBLE_LOCALHOST_WARNING", "False")
            .env("ANSIBLE_CONNECTION_FACTS", "False")
            .env("ANSIBLE_PIPELINING", "1")
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_TRANSPORT", "local")
            .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
            .output()
            .unwrap();
        let text = std::fs::read_to_string(dir.join("record")).unwrap_or_default();
        let events: Vec<Json> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        let version = Command::new(program).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
        if std::env::var_os("TOWPATH_SHOW").is_some() {
            eprintln!("{said}");
        }
        self.clean(json!({
            "hash": self.hash,
            "version": version,
            "ok": out.status.success(),
            "events": self.sorted(events),
            "left": self.left(),
        }))
    }

    fn clean(&self, answer: Json) -> Json {
        let dir = self.dir.path().display().to_string();
        serde_json::from_str(&answer.to_string().replace(&dir, "DIR")).unwrap()
    }

    /// Hosts of one task by name: which answers first is nobody's business. A case with `# order: host` is sorted by host.
    fn sorted(&self, mut events: Vec<Json>) -> Vec<Json> {
        let host = |e: &Json| e["host"].as_str().unwrap_or_default().to_owned();
        if self.option("order") == Some("host") {
            events.sort_by_key(host);
            return events;
        }
        let mut out: Vec<Json> = Vec::new();
        let mut run: Vec<Json> = Vec::new();
        for e in events {
            if run.last().is_some_and(|l| l["task"] != e["task"]) {
                run.sort_by_key(host);
                out.append(&mut run);
            }
            run.push(e);
        }
        run.sort_by_key(host);
        out.append(&mut run);
        out
    }

    async fn ours(&self) -> Json {
        let dir = self.dir.path();
        let mut config = Playbook::file("site.yml").var("out", dir.join("out").display().to_string());
        let words = |s: &str| s.split(',').map(|w| w.trim().to_owned()).collect::<Vec<_>>();
        config.tags = self.option("tags").map(words).unwrap_or_default();
        config.skip_tags = self.option("skip").map(words).unwrap_or_default();
        for pair in self.option("extra").unwrap_or_default().split_whitespace() {
            let (k, v) = pair.split_once('=').unwrap();
            config = config.var(k, v);
        }
        config = settings(config, self);
        let events: Arc<Mutex<Vec<Json>>> = Arc::default();
        let seen = events.clone();
        let listen = move |e: &Event| seen.lock().unwrap().extend(line(e));
        let cx = Context::builder().listener(Arc::new(listen)).build();
        let vault = self.option("vault").map_or_else(Vault::new, |file| {
            let password = password_from_file(&dir.join(file), DEFAULT_VAULT_ID).unwrap();
            Vault::new().key(DEFAULT_VAULT_ID, password)
        });
        let source = dir.join(self.option("inventory").unwrap_or("hosts")).display().to_string();
        let sources = Arc::new(InventorySources::new([source]).vault(vault.clone()));
        let result = match sources.load() {
            Ok(LoadedInventory { inventory, .. }) => {
                let mut targets = Targets::new(inventory, Arc::new(LocalShell));
                targets.limit = self.option("limit").map(str::to_owned);
                match Playbook::new(config, dir) {
                    Ok(playbook) => {
                        playbook.with_vault(vault).with_sources(sources).apply(&cx, &targets).await.map(|_| ())
                    }
                    Err(e) => Err(e),
                }
            }
            Err(e) => Err(e),
        };
        let events = events.lock().unwrap().clone();
        self.clean(json!({
            "ok": result.is_ok(),
            "events": self.sorted(events),
            "left": self.left(),
            "error": result.err().map(|e| e.report()),
        }))
    }
}

fn settings(config: PlaybookConfig, case: &Case) -> PlaybookConfig {
    let mut config = config.forks(5).check(case.option("check").is_some());
    config.inventory_sources = vec![case.dir.path().join(case.option("inventory").unwrap_or("hosts"))];
    config.start_at_task = case.option("start").map(str::to_owned);
    config.force_handlers(case.option("force").is_some())
}

fn line(event: &Event) -> Option<Json> {
    let EventKind::TaskResult { task, item: None, status, result, .. } = &event.kind else { return None };
    let status = match status {
        TaskStatus::Ok => "ok",
        TaskStatus::Changed => "changed",
        TaskStatus::Skipped => "skipped",
        TaskStatus::Failed => "failed",
        TaskStatus::Ignored => "ignored",
        _ => "unreachable",
    };
    Some(json!({ "task": task, "host": event.host, "status": status, "result": result }))
}

/// What ansible-core recorded and we did not do, as text; none if all is equal.
fn difference(theirs: &Json, ours: &Json) -> Option<String> {
    let short = |e: &Json| format!("{} {} {}", e["task"], e["host"], e["status"]);
    let empty = Vec::new();
    let (a, b) = (theirs["events"].as_array().unwrap_or(&empty), ours["events"].as_array().unwrap_or(&empty));
    let list = |l: &[Json]| l.iter().map(short).collect::<Vec<_>>().join("\n  ");
    let (left, right) = (list(a), list(b));
    if left != right {
        return Some(format!("ansible:\n  {left}\nours:\n  {right}\n{}", ours["error"]));
    }
    for (x, y) in a.iter().zip(b) {
        // Ansible's explanation of where an error is is its own text, which is not carried over.
        let msg = x.get("msg").map(|m| match m.as_str().and_then(|m| m.split_once("\n\nThe error appears to be in")) {
            Some((told, _)) => json!(told),
            None => m.clone(),
        });
        if let Some(msg) = msg
            && msg != y["result"]["msg"]
        {
            return Some(format!("{}: msg {msg} is here {}", short(x), y["result"]["msg"]));
        }
        for (i, item) in x["items"].as_array().into_iter().flatten().enumerate() {
            for (k, v) in item.as_object().into_iter().flatten() {
                let mine = &y["result"]["results"][i][k];
                if mine != v && !(mine.is_null() && v == &json!(false)) {
                    return Some(format!("{} item {i}: {k} {v} is here {}", short(x), y["result"]["results"][i]));
                }
            }
        }
    }
    if theirs["left"] != ours["left"] {
        return Some(format!("left {} but here {}", theirs["left"], ours["left"]));
    }
    (theirs["ok"] != ours["ok"]).then(|| format!("ok {} but here {} {}", theirs["ok"], ours["ok"], ours["error"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn does_what_ansible_core_did() {
    let only = std::env::var("TOWPATH_CASE").ok();
    let update = std::env::var_os("TOWPATH_UPDATE").is_some();
    let program = std::env::var_os("TOWPATH_TEST_ANSIBLE");
    let mut names: Vec<PathBuf> = std::fs::read_dir(home().join("cases")).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let known: BTreeSet<String> = std::fs::read_to_string(home().join("differences.txt"))
        .unwrap()
        .lines()
        .filter_map(|l| l.split_once(": ").map(|(name, _)| name.to_owned()))
        .collect();
    let (mut wrong, mut mended) = (Vec::new(), Vec::new());
    for path in names {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|o| !name.contains(o.as_str())) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let case = Case::open(&text);
        let file = home().join("answers").join(format!("{name}.json"));
        let stored: Option<Json> = std::fs::read_to_string(&file).ok().map(|t| serde_json::from_str(&t).unwrap());
        let stored = match stored.filter(|s| s["hash"] == json!(case.hash)) {
            Some(s) => s,
            None => {
                assert!(update, "{name} has changed: run again with TOWPATH_UPDATE=1 and TOWPATH_TEST_ANSIBLE");
                let program = program.as_ref().expect("TOWPATH_TEST_ANSIBLE must name an ansible-playbook");
                let answer = Case::open(&text).ansible(program);
                std::fs::write(&file, serde_json::to_string_pretty(&answer).unwrap() + "\n").unwrap();
                answer
            }
        };
        if std::env::var_os("TOWPATH_ANSWERS_ONLY").is_some() {
            continue;
        }
        let ours = case.ours().await;
        match (difference(&stored, &ours), known.contains(&name)) {
            (Some(d), false) => wrong.push(format!("## {name}\n{d}")),
            (None, true) => mended.push(name),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} differ from ansible-core:\n{}", wrong.len(), wrong.join("\n"));
    assert!(mended.is_empty(), "equal now, so take them out of differences.txt: {mended:?}");
}
