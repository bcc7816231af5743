//! Expressions evaluated by ansible-core and by this engine. Ansible's answers are stored; `TOWPATH_UPDATE=1` asks again
//! (`TOWPATH_TEST_ANSIBLE` names its `ansible-playbook`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, json};
use towpath_core::{Json, Vars};

use super::{Engine, HostVars, Scope, Search};

/// Prints one line of JSON for each task.
const CALLBACK: &str = r#"
import json, os
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'stdout'
    CALLBACK_NAME = 'cases'
    def note(self, result, ok):
        with open(os.environ['TOWPATH_CASES_OUT'], 'a') as f:
            f.write(json.dumps([result._task.name, ok, result._result.get('msg')]) + '\n')
    def v2_runner_on_ok(self, result):
        self.note(result, True)
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.note(result, False)
"#;

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/jinja")
}

fn yaml(path: &Path) -> Json {
    crate::load::yaml::read(path).unwrap().json()
}

struct Case {
    group: String,
    source: String,
}

impl Case {
    fn id(&self) -> String {
        format!("{}: {}", self.group, self.source)
    }
}

fn cases() -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(home().join("cases")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut out = Vec::new();
    for file in files {
        for (kind, names) in yaml(&file).as_object().unwrap() {
            for (name, lines) in names.as_object().unwrap() {
                let lines = lines.as_str().unwrap().lines();
                out.extend(lines.map(|l| Case { group: format!("{kind} {name}"), source: l.to_owned() }));
            }
        }
    }
    out
}

/// The folder in which both work.
fn workplace() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&home().join("files"), dir.path());
    std::os::unix::fs::symlink("a.csv", dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink("gone", dir.path().join("dangling")).unwrap();
    dir
}

fn digest(case: &Case, setting: &str) -> String {
    crate::render_hash(format!("{setting}\n{}", case.source).as_bytes()).chars().take(16).collect()
}

fn setting() -> String {
    std::fs::read_to_string(home().join("vars.yml")).unwrap()
}

fn place(v: &Json, dir: &str) -> Json {
    serde_json::from_str(&v.to_string().replace(dir, "@DIR@")).unwrap()
}

fn ask_ansible(ansible: &str, all: &[Case]) -> Json {
    let work = workplace();
    let dir = work.path().canonicalize().unwrap();
    let text = dir.display().to_string();
    std::fs::create_dir(dir.join("callback_plugins")).unwrap();
    std::fs::write(dir.join("callback_plugins/cases.py"), CALLBACK).unwrap();
    std::fs::write(dir.join("vars.yml"), setting()).unwrap();
    let tasks: Vec<Json> = all
        .iter()
        .enumerate()
        .map(|(i, c)| {
            json!({"name": i.to_string(), "debug": {"msg": c.source.replace("@DIR@", &text)}, "ignore_errors": true})
        })
        .collect();
    let play = json!([{"hosts": "localhost", "gather_facts": false, "vars_files": ["vars.yml"], "tasks": tasks}]);
    std::fs::write(dir.join("site.yml"), play.to_string()).unwrap();
    let out = Command::new(ansible)
        .args(["-i", "localhost,", "-c", "local", "site.yml"])
        .current_dir(&dir)
        .env("ANSIBLE_STDOUT_CALLBACK", "cases")
        .env("ANSIBLE_JINJA2_EXTENSIONS", "jinja2.ext.do,jinja2.ext.loopcontrols")
        .env("TOWPATH_CASES_OUT", dir.join("out"))
        .env("TOWPATH_CASE", "from ü env")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let answers = std::fs::read_to_string(dir.join("out")).unwrap_or_default();
    let lines: HashMap<usize, Json> = answers
        .lines()
        .map(|l| serde_json::from_str::<Json>(l).unwrap())
        .map(|v| (v[0].as_str().unwrap().parse().unwrap(), v))
        .collect();
    assert_eq!(lines.len(), all.len(), "{}", String::from_utf8_lossy(&out.stderr));
    let setting = setting();
    let mut stored = Map::new();
    for (i, case) in all.iter().enumerate() {
        let (ok, msg) = (lines[&i][1] == json!(true), place(&lines[&i][2], &text));
        let msg = if ok {
            msg
        } else {
            // The explanation after the first line is no interface.
            json!(msg.as_str().unwrap_or_default().lines().next().unwrap_or_default())
        };
        stored.insert(case.id(), json!({"hash": digest(case, &setting), if ok { "ok" } else { "error" }: msg}));
    }
    let version = Command::new(ansible).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
    json!({"version": version, "answers": stored})
}

fn undefined_part(theirs: &str) -> Option<&str> {
    let rest = theirs.split("an undefined variable.").nth(1)?;
    Some(rest.trim_start_matches(['.', ' ']))
}

/// What is not equal, if anything.
fn compare(theirs: &Json, ours: &Result<Json, super::RenderError>) -> Option<String> {
    match (theirs.get("ok"), ours) {
        (Some(want), Ok(have)) if want == have => None,
        (Some(want), Ok(have)) => Some(format!("ansible {want}\n    ours    {have}")),
        (Some(want), Err(e)) => Some(format!("ansible {want}\n    error   {e}")),
        (None, Ok(have)) => Some(format!("ansible fails: {}\n    ours    {have}", theirs["error"])),
        (None, Err(e)) => match undefined_part(theirs["error"].as_str().unwrap()) {
            Some(part) if !e.undefined || !part.contains(e.message.split(" (@DIR@").next().unwrap()) => {
                Some(format!("ansible undefined: {part}\n    ours    {e}"))
            }
            _ => None,
        },
    }
}

fn known(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(home().join(file)).unwrap_or_default();
    text.lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
        .filter_map(|l| l.rsplit_once(" # ").or_else(|| l.split_once(": ")))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

#[test]
fn answers_as_ansible() {
    // The lookups of the environment want a variable, which only a process of our own can have.
    if std::env::var_os("TOWPATH_CASE").is_none() {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "render::cases::answers_as_ansible", "--nocapture"])
            .env("TOWPATH_CASE", "from ü env")
            .status()
            .unwrap();
        assert!(done.success());
        return;
    }
    let all = cases();
    let store = home().join("answers.json");
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        let ansible = std::env::var("TOWPATH_TEST_ANSIBLE").unwrap_or_else(|_| "ansible-playbook".into());
        let answers = ask_ansible(&ansible, &all);
        std::fs::write(&store, serde_json::to_string_pretty(&answers).unwrap() + "\n").unwrap();
    }
    let stored: Json = serde_json::from_str(&std::fs::read_to_string(&store).unwrap()).unwrap();
    let work = workplace();
    let dir = work.path().canonicalize().unwrap();
    let text = dir.display().to_string();
    let mut vars: Vars = yaml(&home().join("vars.yml")).as_object().unwrap().clone();
    vars.insert("omit".into(), json!(super::OMIT));
    vars.insert("ansible_version".into(), json!({"major": 2}));
    vars.insert("ansible_managed".into(), json!("Ansible managed"));
    vars.insert("groups".into(), json!({"all": ["localhost"], "ungrouped": ["localhost"]}));
    vars.insert("inventory_hostname".into(), json!("localhost"));
    vars.insert("playbook_dir".into(), json!(text));
    let engine = Arc::new(Engine::new());
    let layer = Arc::new(vars);
    let setting = setting();
    let differs = known("differs.txt");
    let mut wrong = String::new();
    let (mut equal, mut different, mut shown) = (0, BTreeSet::new(), 0);
    for case in &all {
        let answer = stored["answers"].get(case.id()).unwrap_or_else(|| panic!("{}: set TOWPATH_UPDATE=1", case.id()));
        assert_eq!(answer["hash"], json!(digest(case, &setting)), "{}: set TOWPATH_UPDATE=1 to ask again", case.id());
        let search = Search { dirs: vec![dir.clone()] };
        let (of, all_of) = (engine.clone(), layer.clone());
        let hostvars = HostVars::value(
            || vec!["localhost".into()],
            move |name| {
                let of_host =
                    || Scope::new(of.clone(), vec![all_of.clone()], HashMap::new(), Arc::default(), Search::default());
                (name == "localhost").then(of_host)
            },
        );
        let objects = [("hostvars".to_owned(), hostvars)].into();
        let scope = Scope::new(engine.clone(), vec![layer.clone()], objects, Arc::default(), search);
        let source = case.source.replace("@DIR@", &text);
        let ours = scope
            .render(&json!(source))
            .map(|v| place(&v, &text))
            .map_err(|e| super::RenderError { message: e.message.replace(&text, "@DIR@"), ..e });
        match compare(answer, &ours) {
            None => equal += 1,
            Some(why) => {
                different.insert(case.id());
                if !differs.contains_key(&case.id()) {
                    shown += 1;
                    let _ = writeln!(wrong, "{}\n    {why}", case.id());
                }
            }
        }
    }
    eprintln!("{equal} of {} equal to {}", all.len(), stored["version"]);
    if let Some(path) = std::env::var_os("TOWPATH_SHOW") {
        std::fs::write(path, &wrong).unwrap();
    }
    assert_eq!(shown, 0, "\n{wrong}");
    let gone: Vec<_> = differs.keys().filter(|k| !different.contains(*k)).collect();
    assert!(gone.is_empty(), "these are equal now; remove them from differs.txt: {gone:#?}");
}

#[test]
fn every_name_has_cases() {
    let all = cases();
    let names = std::fs::read_to_string(home().join("names.txt")).unwrap();
    let reasons = known("uncovered.yml");
    for name in names.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let count = all.iter().filter(|c| c.group == name).count();
        let least = if name.starts_with("test ") { 3 } else { 5 };
        let known = reasons.contains_key(name);
        let other = name == "filter unique";
        assert!(other || known || count >= least, "{name} has {count} cases, and no reason in uncovered.yml");
    }
}
