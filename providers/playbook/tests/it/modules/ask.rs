//! Asks Ansible.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest as _;
use towpath_core::Json;
use towpath_core::testkit::Sshd;

use super::compare::{tidy, wants_diff};
use super::{RESET, folder, rounds_of, state_of};

pub(super) fn hash(text: &str) -> String {
    hex::encode(sha2::Sha256::digest(text))
}

/// Copies `cases/<module>/files`, if there is one, to where the playbook looks.
pub(super) fn companions(case: &Path, to: &Path) {
    let from = case.with_file_name("files");
    if from.is_dir() {
        let done = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    }
}

/// Where asked by `TOWPATH_UPDATE`, gets the answers that are missing or old.
pub(super) fn update(cases: &[(String, PathBuf)]) {
    if std::env::var_os("TOWPATH_UPDATE").is_none() {
        return;
    }
    let ansible = std::env::var_os("TOWPATH_TEST_ANSIBLE").expect("TOWPATH_TEST_ANSIBLE names an ansible-playbook");
    let version = Command::new(&ansible).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.lines().next().unwrap_or_default().trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    assert!(version.starts_with("2.18."), "ansible-core 2.18 is the contract, this is {version}");
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
    let (with_systemd, plain): (Vec<_>, Vec<_>) =
        old.into_iter().partition(|(_, path)| super::wants_systemd(&std::fs::read_to_string(path).unwrap()));
    for (some, systemd) in [(plain, false), (with_systemd, true)] {
        if !some.is_empty() {
            let server = if systemd { super::systemd::start() } else { Sshd::start() };
            ask(Path::new(&ansible), &version, &server.expect("Docker"), &some);
        }
    }
}

fn ask(ansible: &Path, version: &str, server: &Sshd, old: &[&(String, PathBuf)]) {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::copy(folder().join("answers.py"), plugins.join("answers.py")).unwrap();
    let inventory = dir.path().join("hosts");
    let line = format!(
        "web-1 ansible_host=127.0.0.1 ansible_port={} ansible_user=deploy ansible_ssh_private_key_file={} ansible_python_interpreter=/usr/bin/python3 ansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'\n",
        server.port,
        server.key().display(),
        server.known_hosts().display()
    );
    std::fs::write(&inventory, line).unwrap();
    for (name, path) in old {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(dir.path().join("site.yml"), &text).unwrap();
        companions(path, dir.path());
        server.sh(RESET);
        let mut rounds = Vec::new();
        for _ in 0..rounds_of(&text) {
            let answers = dir.path().join("answers");
            std::fs::write(&answers, "").unwrap();
            let out = Command::new(ansible)
                .arg("-i")
                .arg(&inventory)
                .arg(dir.path().join("site.yml"))
                .env("TOWPATH_ANSWERS", &answers)
                .env("ANSIBLE_CALLBACK_PLUGINS", &plugins)
                .env("ANSIBLE_CALLBACKS_ENABLED", "answers")
                .env("ANSIBLE_PIPELINING", "1")
                .env("ANSIBLE_NOCOLOR", "1")
                .env("ANSIBLE_INJECT_FACT_VARS", "1")
                .output()
                .unwrap();
            let lines = std::fs::read_to_string(&answers).unwrap();
            assert!(
                !lines.is_empty(),
                "{name}: {}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
            let tasks: Vec<Json> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            let round = serde_json::json!({ "tasks": tasks, "state": server.sh(&state_of(&text)) });
            rounds.push(tidy(round, wants_diff(&text)));
            eprintln!("asked: {name}");
        }
        let stored = serde_json::json!({ "ansible": version, "hash": hash(&text), "rounds": rounds });
        std::fs::write(path.with_extension("json"), serde_json::to_string_pretty(&stored).unwrap() + "\n").unwrap();
    }
}
