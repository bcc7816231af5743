//! Asks Ansible.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest as _;
use towpath_core::Json;
use towpath_core::testkit::Sshd;

use super::compare::{tidy, wants_diff};
use super::{RESET, folder, rounds_of, state_of};

pub(crate) fn hash(text: &str) -> String {
    hex::encode(sha2::Sha256::digest(text))
}

/// Copies `cases/<module>/files`, if there is one, to where the playbook looks.
pub(super) fn companions(case: &Path, to: &Path) {
    let from = case.with_file_name("files");
    if from.is_dir() {
        copy(&from, to);
    }
}

/// Copies a folder into a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// An Ansible that can be asked.
pub(crate) struct Ansible {
    program: PathBuf,
    pub(crate) version: String,
}

/// What it did.
pub(crate) struct Played {
    pub(crate) tasks: Vec<Json>,
    /// The recap's counts of the host.
    pub(crate) recap: Json,
    /// What it printed.
    pub(crate) said: String,
}

impl Ansible {
    /// The `ansible-playbook` that `TOWPATH_TEST_ANSIBLE` names, if it names one.
    pub(crate) fn find() -> Option<Self> {
        let program = PathBuf::from(std::env::var_os("TOWPATH_TEST_ANSIBLE")?);
        let version = Command::new(&program).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.lines().next().unwrap_or_default().trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
        assert!(version.starts_with("2.18."), "ansible-core 2.18 is the contract, this is {version}");
        Some(Self { program, version })
    }

    /// Runs a playbook of this folder on the server, which is the host `web-1`. `args` come before the playbook.
    pub(crate) fn play(&self, dir: &Path, playbook: &str, args: &[&str], server: &Sshd) -> Played {
        let own = tempfile::tempdir().unwrap();
        std::fs::copy(folder().join("answers.py"), own.path().join("answers.py")).unwrap();
        let inventory = own.path().join("hosts");
        let line = format!(
            "web-1 ansible_host=127.0.0.1 ansible_port={} ansible_user=deploy ansible_ssh_private_key_file={} ansible_python_interpreter=/usr/bin/python3 ansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'\n",
            server.port,
            server.key().display(),
            server.known_hosts().display()
        );
        std::fs::write(&inventory, line).unwrap();
        let answers = own.path().join("answers");
        let out = Command::new(&self.program)
            .args(args)
            .arg("-i")
            .arg(&inventory)
            .arg(dir.join(playbook))
            .env("TOWPATH_ANSWERS", &answers)
            .env("ANSIBLE_CALLBACK_PLUGINS", own.path())
            .env("ANSIBLE_CALLBACKS_ENABLED", "answers")
            .env("ANSIBLE_PIPELINING", "1")
            .env("ANSIBLE_NOCOLOR", "1")
            // Its own 10 s for a prompt of sudo are short on a busy machine.
            .env("ANSIBLE_TIMEOUT", "60")
            .env("ANSIBLE_INJECT_FACT_VARS", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let said = format!("{text}{}", String::from_utf8_lossy(&out.stderr));
        let lines = std::fs::read_to_string(&answers).unwrap_or_default();
        let recap = text.lines().rev().find(|l| l.starts_with("web-1 ")).unwrap_or_default();
        let count = |word: &str| {
            word.split_once('=').and_then(|(k, n)| Some((k.to_owned(), Json::from(n.parse::<usize>().ok()?))))
        };
        Played {
            tasks: lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect(),
            recap: Json::Object(recap.split_whitespace().filter_map(count).collect()),
            said,
        }
    }
}

/// Where asked by `TOWPATH_UPDATE`, gets the answers that are missing or old.
pub(super) fn update(cases: &[(String, PathBuf)]) {
    if std::env::var_os("TOWPATH_UPDATE").is_none() {
        return;
    }
    let ansible = Ansible::find().expect("TOWPATH_TEST_ANSIBLE names an ansible-playbook");
    let old: Vec<_> = cases
        .iter()
        .filter(|(_, path)| {
            let text = std::fs::read_to_string(path).unwrap();
            let stored = std::fs::read_to_string(path.with_extension("json")).unwrap_or_default();
            serde_json::from_str::<Json>(&stored).map_or(true, |s| s["hash"] != hash(&text))
        })
        .collect();
    if old.is_empty() {
        return;
    }
    let mut hosts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for case in old {
        let text = std::fs::read_to_string(&case.1).unwrap();
        hosts.entry(super::host_of(&text).to_owned()).or_default().push(case);
    }
    for (kind, some) in hosts {
        ask(&ansible, &super::start(&kind).expect("Docker"), &some);
    }
}

fn ask(ansible: &Ansible, server: &Sshd, old: &[&(String, PathBuf)]) {
    let dir = tempfile::tempdir().unwrap();
    for (name, path) in old {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(dir.path().join("site.yml"), &text).unwrap();
        companions(path, dir.path());
        server.sh(RESET);
        let mut rounds = Vec::new();
        for _ in 0..rounds_of(&text) {
            let played = ansible.play(dir.path(), "site.yml", &[], server);
            assert!(!played.tasks.is_empty(), "{name}: {}", played.said);
            let round = serde_json::json!({ "tasks": played.tasks, "state": server.sh(&state_of(&text)) });
            rounds.push(tidy(round, wants_diff(&text)));
            eprintln!("asked: {name}");
        }
        let stored = serde_json::json!({ "ansible": ansible.version, "hash": hash(&text), "rounds": rounds });
        std::fs::write(path.with_extension("json"), serde_json::to_string_pretty(&stored).unwrap() + "\n").unwrap();
    }
}
