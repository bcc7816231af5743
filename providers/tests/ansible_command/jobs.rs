//! The other commands, by their names.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Bin(tempfile::TempDir);

impl Bin {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ansible", "ansible-playbook", "ansible-inventory", "ansible-vault"] {
            symlink(env!("CARGO_BIN_EXE_towpath-playbook"), dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("hosts"), HOSTS).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.path().join(name));
        command.args(args).current_dir(self.path()).env_remove("ANSIBLE_CONFIG").env("HOME", self.path());
        command
    }

    fn ask(&self, name: &str, args: &[&str]) -> Output {
        self.command(name, args).stdin(Stdio::null()).output().unwrap()
    }

    fn fed(&self, name: &str, args: &[&str], input: &str) -> Output {
        let mut command = self.command(name, args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr.clone()).unwrap()
}

const HOSTS: &str = "alone x=1\n[web]\nw1 a='{\"k\": [1, 2]}'\nw2\n[web:vars]\nweight=80\n[back:children]\nweb\n[all:vars]\nt=1\nansible_connection=local\n";

#[test]
fn the_inventory_is_shown_as_ansibles_command_shows_it() {
    let bin = Bin::new();
    let graph = out(&bin.ask("ansible-inventory", &["-i", "hosts", "--graph"]));
    assert_eq!(
        graph,
        "@all:\n  |--@ungrouped:\n  |  |--alone\n  |--@back:\n  |  |--@web:\n  |  |  |--w1\n  |  |  |--w2\n"
    );
    let vars = out(&bin.ask("ansible-inventory", &["-i", "hosts", "--graph", "web", "--vars"]));
    assert_eq!(
        vars,
        "@web:\n  |--w1\n  |  |--{a = {'k': [1, 2]}}\n  |  |--{ansible_connection = local}\n  |  |--{t = 1}\n  |  |--{weight = 80}\n  |--w2\n  |  |--{ansible_connection = local}\n  |  |--{t = 1}\n  |  |--{weight = 80}\n  |--{weight = 80}\n"
    );
    let host = out(&bin.ask("ansible-inventory", &["-i", "hosts", "--host", "w1"]));
    assert_eq!(
        host,
        "{\n    \"a\": {\n        \"k\": [\n            1,\n            2\n        ]\n    },\n    \"ansible_connection\": \"local\",\n    \"t\": 1,\n    \"weight\": 80\n}\n"
    );
    let yaml = out(&bin.ask("ansible-inventory", &["-i", "hosts", "--list", "--export", "--yaml"]));
    assert_eq!(
        yaml,
        "all:\n  children:\n    back:\n      children:\n        web:\n          hosts:\n            w1:\n              a:\n                k:\n                - 1\n                - 2\n            w2: {}\n          vars:\n            weight: 80\n    ungrouped:\n      hosts:\n        alone:\n          x: 1\n  vars:\n    ansible_connection: local\n    t: 1\n"
    );
    let list: serde_json::Value =
        serde_json::from_str(&out(&bin.ask("ansible-inventory", &["-i", "hosts", "--list", "-l", "w1"]))).unwrap();
    assert_eq!(list["web"]["hosts"], serde_json::json!(["w1"]));
    assert_eq!(list["all"]["children"], serde_json::json!(["ungrouped", "back"]));
    assert!(err(&bin.ask("ansible-inventory", &["-i", "hosts"]), 5).contains("No action selected"));
    assert!(err(&bin.ask("ansible-inventory", &["-i", "hosts", "--graph", "nosuch"]), 5).contains("valid group name"));
}

#[test]
fn vaults_are_written_and_read() {
    let bin = Bin::new();
    let put = |name: &str, text: &str| std::fs::write(bin.path().join(name), text).unwrap();
    let get = |name: &str| std::fs::read_to_string(bin.path().join(name)).unwrap();
    put("pw", "hunter22\n");
    put("pw2", "other\n");
    put("f.yml", "a: 1\n");
    out(&bin.ask("ansible-vault", &["encrypt", "f.yml", "--vault-id", "dev@pw"]));
    assert!(get("f.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;dev\n"));
    assert_eq!(out(&bin.ask("ansible-vault", &["view", "f.yml", "--vault-password-file", "pw"])), "a: 1\n");
    let refused = err(&bin.ask("ansible-vault", &["view", "f.yml", "--vault-password-file", "pw2"]), 1);
    assert!(refused.contains("Decryption failed") && !refused.contains("other"), "{refused}");
    assert!(
        err(&bin.ask("ansible-vault", &["encrypt", "f.yml", "--vault-id", "pw"]), 1)
            .contains("input is already encrypted")
    );
    out(&bin.ask("ansible-vault", &["rekey", "f.yml", "--vault-id", "pw", "--new-vault-password-file", "pw2"]));
    assert!(get("f.yml").starts_with("$ANSIBLE_VAULT;1.1;AES256\n"));
    out(&bin.ask("ansible-vault", &["decrypt", "f.yml", "--vault-id", "pw2"]));
    assert_eq!(get("f.yml"), "a: 1\n");
    assert!(
        err(&bin.ask("ansible-vault", &["decrypt", "f.yml", "--vault-id", "pw2"]), 1).contains("not vault encrypted")
    );
    let several = bin.ask("ansible-vault", &["encrypt", "f.yml", "--vault-id", "a@pw", "--vault-id", "b@pw2"]);
    assert!(err(&several, 1).contains("The vault-ids a,b are available to encrypt"));
    let inline =
        out(&bin.fed("ansible-vault", &["encrypt_string", "--vault-id", "pw", "--stdin-name", "secret"], "s3cret"));
    assert!(inline.starts_with("secret: !vault |\n          $ANSIBLE_VAULT;1.1;AES256\n"), "{inline}");
    put("vars.yml", &inline);
    put(
        "site.yml",
        "- hosts: w1\n  gather_facts: false\n  vars_files: vars.yml\n  tasks:\n    - debug:\n        var: secret\n",
    );
    let run = out(&bin.ask("ansible-playbook", &["-i", "hosts", "site.yml", "--vault-password-file", "pw"]));
    assert!(run.contains("\"secret\": \"s3cret\""), "{run}");
    let refused = bin.ask("ansible-playbook", &["-i", "hosts", "site.yml"]);
    assert_ne!(refused.status.code(), Some(0));
    let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert!(said.contains("no vault secrets found"), "{said}");
    let mut edit = bin.command("ansible-vault", &["edit", "f.yml", "--vault-id", "pw"]);
    out(&bin.ask("ansible-vault", &["encrypt", "f.yml", "--vault-id", "pw"]));
    put("editor", "echo 'b: 2' >> \"$1\"\n");
    assert!(edit.env("EDITOR", "sh editor").stdin(Stdio::null()).status().unwrap().success());
    assert_eq!(out(&bin.ask("ansible-vault", &["view", "f.yml", "--vault-id", "pw"])), "a: 1\nb: 2\n");
}

#[test]
fn one_module_is_run_on_hosts() {
    let bin = Bin::new();
    let ask = |args: &[&str]| bin.ask("ansible", &[&["-f", "1", "-i", "hosts"], args].concat());
    assert_eq!(out(&ask(&["w1", "-a", "echo hi"])), "w1 | CHANGED | rc=0 >>\nhi\n");
    assert_eq!(out(&ask(&["w1", "-a", "echo hi", "-o"])), "w1 | CHANGED | rc=0 | (stdout) hi\n");
    let ping = out(&ask(&["web", "-m", "ping"]));
    assert_eq!(
        ping,
        "w1 | SUCCESS => {\n    \"changed\": false,\n    \"ping\": \"pong\"\n}\nw2 | SUCCESS => {\n    \"changed\": false,\n    \"ping\": \"pong\"\n}\n"
    );
    assert_eq!(out(&ask(&["w1", "-m", "ping", "-o"])), "w1 | SUCCESS => {\"changed\": false,\"ping\": \"pong\"}\n");
    assert_eq!(out(&ask(&["web", "--list-hosts"])), "  hosts (2):\n    w1\n    w2\n");
    let failed = ask(&["w1", "-a", "false"]);
    assert_eq!(
        (failed.status.code(), String::from_utf8_lossy(&failed.stdout).as_ref()),
        (Some(2), "w1 | FAILED | rc=1 >>\nnon-zero return code\n")
    );
    assert!(err(&ask(&["w1"]), 5).contains("No argument passed to command module"));
    assert!(err(&ask(&["nobody", "-m", "ping"]), 0).contains("No hosts matched, nothing to do"));
}

#[test]
fn options_are_answered_with_ansibles_exit_codes() {
    let bin = Bin::new();
    std::fs::write(bin.path().join("ok.yml"), "- hosts: w1\n  gather_facts: false\n  tasks: [{ping: }]\n").unwrap();
    std::fs::write(bin.path().join("broken.yml"), "- hosts: [\n").unwrap();
    let ask = |args: &[&str]| bin.ask("ansible-playbook", &[&["-i", "hosts"], args].concat());
    assert_eq!(ask(&["ok.yml"]).status.code(), Some(0));
    err(&ask(&["ok.yml", "--nosuch"]), 2);
    err(&ask(&[]), 2);
    assert!(err(&ask(&["broken.yml"]), 4).contains("broken.yml"));
    assert!(err(&ask(&["nosuch.yml"]), 1).contains("could not be found"));
    assert!(err(&ask(&["ok.yml", "-l", "nosuch"]), 1).contains("leaves us with no hosts"));
    assert!(err(&ask(&["ok.yml", "-e", "@nosuch"]), 1).contains("nosuch"));
    let version = out(&bin.ask("ansible-playbook", &["--version"]));
    assert!(version.starts_with("ansible-playbook [core 2.18."), "{version}");
    std::fs::write(bin.path().join("limit"), "w2\n").unwrap();
    let limited = out(&ask(&["ok.yml", "-l", "@limit"]));
    assert!(limited.contains("skipping: no hosts matched"), "{limited}");
    let refused = bin
        .command("ansible-playbook", &["-i", "hosts", "ok.yml"])
        .env("ANSIBLE_HASH_BEHAVIOUR", "merge")
        .output()
        .unwrap();
    assert!(err(&refused, 5).contains("ANSIBLE_HASH_BEHAVIOUR"));
}

#[test]
fn passwords_come_from_files_and_are_shown_nowhere() {
    let bin = Bin::new();
    std::fs::write(
        bin.path().join("ok.yml"),
        "- hosts: w1\n  gather_facts: false\n  tasks: [{command: env}, {debug: {var: ansible_become_password}}]\n",
    )
    .unwrap();
    std::fs::write(bin.path().join("pw"), "correct horse battery\n").unwrap();
    let run = bin.ask("ansible-playbook", &["-i", "hosts", "ok.yml", "-vvv", "--become-password-file", "pw"]);
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(!said.contains("correct horse"), "{said}");
}
