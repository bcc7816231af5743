//! The quickstart as a user runs it: the program itself, its hosts and its traffic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod crash;
mod given;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use towpath::Connector as _;
use towpath::ssh::{Ssh, SshConfig};

/// The example, which `cargo test` has built beside this test; a run of this test alone has not.
fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let deps = std::env::current_exe().unwrap();
        let path = deps.ancestors().nth(2).unwrap().join("examples/quickstart");
        if !path.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "-q", "-p", "towpath-examples", "--example", "quickstart"]);
            assert!(build.status().unwrap().success(), "the example builds");
        }
        path
    });
    built.clone()
}

/// A folder of its own for everything; ended and removed when the test is over, whatever became of it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--store").arg(self.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs with `--json`; it must succeed.
    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(text.lines().count(), 1, "--json prints one object: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Runs a command on one of the hosts.
    fn ssh(&self, host: &str, script: &str) {
        let local = self.path().join("local");
        let record: Value = serde_json::from_slice(&std::fs::read(local.join("environment.json")).unwrap()).unwrap();
        let option = |name: &str, file: &str| (name.to_owned(), local.join(file).display().to_string().into());
        let host = towpath::Host {
            name: host.to_owned(),
            connection: towpath::ConnectionSpec {
                address: Some("127.0.0.1".into()),
                port: record["hosts"][host]["ssh_port"].as_u64().map(|p| u16::try_from(p).unwrap()),
                options: [option("identity_file", "id"), option("known_hosts", "known_hosts")].into_iter().collect(),
                ..towpath::ConnectionSpec::default()
            },
            ..towpath::Host::default()
        };
        let work = async {
            let cx = towpath::Context::new();
            let connection = Ssh::new(SshConfig::default()).connect(&cx, &host).await.unwrap();
            let out = connection.exec(&cx, &towpath::Exec::script(script)).await.unwrap();
            assert_eq!(out.status, towpath::ExitStatus::Code(0), "{}", out.stderr_text());
        };
        tokio::runtime::Runtime::new().unwrap().block_on(work);
    }

    /// Processes that work for this home: hosts, services, the balancer.
    fn processes(&self) -> Vec<String> {
        let path = self.0.path().display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let text = [read("cmdline"), read("environ")].concat();
            if entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())
                && String::from_utf8_lossy(&text).contains(&path)
            {
                found.push(format!("{}: {}", entry.file_name().display(), String::from_utf8_lossy(&read("cmdline"))));
            }
        }
        found
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.run(&["--destroy"]);
    }
}

fn state<'a>(summary: &'a Value, step: &str) -> &'a str {
    let steps = summary["steps"].as_array().unwrap();
    let found = steps.iter().find(|s| s["name"] == step).unwrap_or_else(|| panic!("no step {step}: {summary}"));
    found["state"].as_str().unwrap_or("unfinished")
}

fn outcomes(summary: &Value) -> Vec<(&str, &str)> {
    let releases = summary["releases"].as_array().unwrap();
    releases.iter().map(|r| (r["release"].as_str().unwrap(), r["outcome"].as_str().unwrap())).collect()
}

/// What every run must end with, crashed before or not.
fn assert_well(summary: &Value) {
    assert_eq!(summary["serving"], "v2", "{summary}");
    assert_eq!(summary["hosts"], 3, "{summary}");
    assert_eq!(summary["requests"]["failed"], 0, "{summary}");
    assert!(summary["requests"]["sent"].as_u64().unwrap() > 0, "{summary}");
    let page = std::fs::read_to_string(summary["run_page"].as_str().unwrap()).unwrap();
    assert!(page.contains("release v3") && page.contains("web-2"), "the page tells of steps and hosts");
    let journal = std::fs::read_to_string(summary["journal"].as_str().unwrap()).unwrap();
    assert!(journal.lines().count() > 20, "{journal}");
}

#[test]
fn runs_then_finds_everything_as_it_is_and_repairs_what_was_disturbed() {
    let home = Home::new();
    let plan = home.run(&["--plan"]);
    assert!(plan.status.success(), "{plan:?}");
    assert!(String::from_utf8_lossy(&plan.stdout).contains("host web-1"), "{plan:?}");
    assert!(!home.path().exists(), "a plan touches nothing");

    let first = home.json(&[]);
    assert_well(&first);
    assert_eq!(first["resumed"], false);
    assert_eq!(outcomes(&first), [("v1", "deployed"), ("v2", "deployed"), ("v3", "rolled_back")]);
    for step in ["fleet", "site", "release v1", "release v2", "metrics", "logs"] {
        assert_eq!(state(&first, step), "done", "{first}");
    }
    let logs = std::fs::read_to_string(home.path().join("logs.jsonl")).unwrap();
    for line in ["v1 listens", "v2 listens", "v3 listens", "GET /healthz -> 500"] {
        assert!(logs.contains(line), "no {line:?} in the logs that were collected");
    }

    let second = home.json(&[]);
    assert_well(&second);
    assert_eq!(outcomes(&second), [("v1", "superseded"), ("v2", "unchanged"), ("v3", "refused")]);
    for step in ["fleet", "site", "release v1", "release v2"] {
        assert_eq!(state(&second, step), "unchanged", "{second}");
    }

    // Somebody logs in on one host and deletes a file that the playbook made.
    home.ssh("web-2", "rm /etc/web/web.conf");
    let third = home.json(&[]);
    assert_well(&third);
    assert_eq!((state(&third, "fleet"), state(&third, "site")), ("unchanged", "done"), "{third}");

    assert!(!home.processes().is_empty(), "hosts outlive the program");
    assert!(home.run(&["--destroy"]).status.success());
    assert_eq!(home.processes(), Vec::<String>::new());
    assert!(!home.path().exists());
}

#[test]
fn bad_options_are_named_before_anything_is_touched() {
    let home = Home::new();
    let out = home.run(&["--crash-at", "lunch"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("no such step") && text.contains("release v2"), "{text}");
    let out = home.run(&["--inventory", "/nowhere/hosts"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("/nowhere/hosts"), "{out:?}");
    assert!(home.processes().is_empty());
}
