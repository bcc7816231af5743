//! Runs of playbooks on this machine (connection local), in a folder of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::normal::normal;

/// A file of a case, its playbook, its arguments and settings.
type Case = (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("basic", "basic.yml", &[], &[]),
    ("basic-v", "basic.yml", &["-v"], &[]),
    ("basic-color", "basic.yml", &[], &[("ANSIBLE_FORCE_COLOR", "1")]),
    ("basic-check-markers", "basic.yml", &["-C"], &[("ANSIBLE_CHECK_MODE_MARKERS", "1")]),
    ("basic-quiet", "basic.yml", &[], &[("ANSIBLE_DISPLAY_SKIPPED_HOSTS", "0"), ("ANSIBLE_DISPLAY_OK_HOSTS", "0")]),
    ("loops", "loops.yml", &[], &[]),
    ("loops-v", "loops.yml", &["-v"], &[]),
    ("loops-color", "loops.yml", &[], &[("ANSIBLE_FORCE_COLOR", "1")]),
    ("structure", "structure.yml", &[], &[]),
    ("structure-v", "structure.yml", &["-v"], &[]),
    ("structure-color", "structure.yml", &[], &[("ANSIBLE_FORCE_COLOR", "1")]),
    ("structure-start", "structure.yml", &["--start-at-task", "Stats"], &[]),
    ("files", "files.yml", &["-D"], &[]),
    ("files-v", "files.yml", &["-D", "-v"], &[]),
    ("files-color", "files.yml", &["-D"], &[("ANSIBLE_FORCE_COLOR", "1")]),
    ("settings", "settings.yml", &[], &[]),
    ("settings-smart", "settings.yml", &[], &[("ANSIBLE_GATHERING", "smart")]),
    ("settings-explicit", "settings.yml", &[], &[("ANSIBLE_GATHERING", "explicit")]),
    ("settings-fatal", "settings.yml", &[], &[("ANSIBLE_ANY_ERRORS_FATAL", "1")]),
    ("settings-hidden", "settings.yml", &["-v"], &[("ANSIBLE_NO_LOG", "1")]),
    ("lists", "structure.yml", &["--list-hosts", "--list-tasks", "--list-tags"], &[]),
    ("syntax", "structure.yml", &["--syntax-check"], &[]),
    ("no-hosts", "basic.yml", &["-l", "nosuch"], &[]),
    ("no-playbook", "nosuch.yml", &[], &[]),
];

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ansible_command/cases")
}

/// Standard output, standard error's warnings, and the exit code.
fn asked(program: &Path, case: &(&str, &str, &[&str], &[(&str, &str)])) -> String {
    let (name, playbook, args, env) = case;
    let dir = tempfile::Builder::new().prefix("run").tempdir().unwrap();
    let place = dir.path().canonicalize().unwrap();
    let mut command = Command::new(program);
    command.current_dir(cases()).env_clear();
    for kept in ["PATH", "HOME", "LANG", "USER"] {
        command.envs(std::env::var_os(kept).map(|v| (kept, v)));
    }
    command.env("LC_ALL", "C.UTF-8").envs(env.iter().copied());
    command
        .args(["-f", "1", "-i", "hosts.ini", "-e"])
        .arg(format!("dir={}", place.display()))
        .args(*args)
        .arg(playbook);
    let out = command.output().unwrap_or_else(|e| panic!("{name}: {} can't be run: {e}", program.display()));
    let text = format!("{}exit code {}\n", String::from_utf8_lossy(&out.stdout), out.status.code().unwrap_or(-1));
    normal(&text, &place.display().to_string(), &cases().display().to_string())
}

#[test]
fn stdout_and_exit_codes_are_ansibles() {
    let known = std::fs::read_to_string(cases().join("../differs.txt")).unwrap_or_default();
    let known: Vec<&str> = known.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).collect();
    let update = std::env::var_os("TOWPATH_UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in CASES {
        let stored = cases().join(format!("answers/{}.txt", case.0));
        if update {
            let ansible = std::env::var("TOWPATH_TEST_ANSIBLE")
                .expect("TOWPATH_TEST_ANSIBLE names ansible-playbook of ansible-core 2.18");
            std::fs::create_dir_all(stored.parent().unwrap()).unwrap();
            std::fs::write(&stored, asked(Path::new(&ansible), case)).unwrap();
        }
        let wanted = std::fs::read_to_string(&stored).unwrap_or_else(|e| panic!("{}: {e}", stored.display()));
        let got = asked(Path::new(env!("CARGO_BIN_EXE_towpath-playbook")), case);
        let equal = got == wanted;
        if !equal && std::env::var_os("TOWPATH_SHOW").is_some() {
            let (a, b) = (stored.with_extension("wanted"), stored.with_extension("got"));
            std::fs::write(std::env::temp_dir().join(a.file_name().unwrap()), &wanted).unwrap();
            std::fs::write(std::env::temp_dir().join(b.file_name().unwrap()), &got).unwrap();
        }
        if equal == known.contains(&case.0) {
            let first = wanted.lines().zip(got.lines()).position(|(w, g)| w != g);
            let line = |t: &str| first.and_then(|n| t.lines().nth(n)).unwrap_or("(the end)").to_owned();
            let what = if equal {
                "is equal now: take it out of differs.txt".into()
            } else {
                format!("differs\n  ansible: {}\n  towpath: {}", line(&wanted), line(&got))
            };
            wrong.push(format!("{} {what}", case.0));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
