//! Machines that are there already, over SSH: the source `null`.

use serde_json::{Value, json};
use towpath_core::testkit::Sshd;
use towpath_core::{Context, ImageBuilder};
use towpath_packer::{Packer, PackerConfig};

use crate::support::{Seen, image, packer, packer_and_docker, write};

/// A server that the SSH library of Packer 1.6 gets along with.
pub(crate) fn sshd() -> Option<Sshd> {
    if !packer_and_docker() {
        return None;
    }
    let sshd = Sshd::start()?;
    sshd.sh("printf 'PubkeyAcceptedAlgorithms +ssh-rsa\\nHostKeyAlgorithms +ssh-rsa\\n' >>/etc/ssh/sshd_config; pkill -HUP -o sshd");
    Some(sshd)
}

fn machine(sshd: &Sshd) -> Value {
    json!({"type": "null", "ssh": {"host": "127.0.0.1", "port": sshd.port, "username": "deploy",
        "private_key_file": sshd.key(), "timeout": "30s"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_provisioned() {
    let Some(sshd) = sshd() else { return };
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "upload.txt", "uploaded\n");
    write(dir.path(), "run.sh", "echo \"$GREETING from $(whoami)\" >/etc/greeting\n");
    let definition = json!({
        "sources": [machine(&sshd)],
        "provisioners": [
            {"type": "file", "source": "upload.txt", "destination": "/tmp/upload.txt"},
            {"type": "shell", "script": "run.sh", "environment_vars": ["GREETING=it's, \"me\""],
             "execute_command": "chmod +x {{.Path}}; sudo {{.Vars}} sh {{.Path}}"},
            {"type": "shell", "inline": ["cat /etc/greeting", "cat /tmp/upload.txt >/tmp/down.txt"]},
            {"type": "file", "source": "/tmp/down.txt", "destination": "down.txt", "direction": "download"},
        ],
    });
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let seen = Seen::default();
    let cx = seen.context().build();
    let built = builder.build(&cx, &image("host", &[])).await.unwrap();
    assert_eq!((built.artifacts.len(), built.changed), (0, 1), "no artifact, but not nothing");
    assert_eq!(sshd.sh("cat /etc/greeting"), "it's, \"me\" from root");
    assert_eq!(std::fs::read_to_string(dir.path().join("down.txt")).unwrap(), "uploaded\n");
    assert!(seen.text().contains("it's, \\\"me\\\" from root"), "{}", seen.text());
    assert!(seen.text().contains("no artifact: null: "), "{}", seen.text());
    // Without an artifact there is nothing to reuse: it runs again.
    assert_eq!(builder.build(&cx, &image("host", &[])).await.unwrap().changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_configures_a_host() {
    let Some(ansible) = std::env::var_os("TOWPATH_TEST_ANSIBLE") else {
        // A variable of its own, since only the full tier installs Ansible.
        eprintln!("NOT RUN: packer's provisioner `ansible`: set TOWPATH_TEST_ANSIBLE to an ansible-playbook");
        return;
    };
    let Some(sshd) = sshd() else { return };
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "site.yml",
        "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n    - copy: {content: \"{{ word }}\\n\", dest: /etc/by-ansible}\n",
    );
    let definition = json!({
        "sources": [machine(&sshd)],
        "provisioners": [{
            "type": "ansible", "playbook_file": "site.yml", "command": ansible.to_str().unwrap(), "user": "deploy",
            "ansible_env_vars": ["ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_NOCOLOR=1"],
            "extra_arguments": ["--extra-vars", "word=hello",
                "--ssh-extra-args", "-o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedKeyTypes=+ssh-rsa"],
        }],
    });
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let cx = Context::new();
    builder.preflight(&cx).await.unwrap();
    builder.build(&cx, &image("host", &[])).await.unwrap();
    assert_eq!(sshd.sh("cat /etc/by-ansible"), "hello");
}

#[tokio::test]
async fn a_missing_playbook_is_said_before_anything_starts() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let definition = json!({
        "sources": [{"type": "null"}],
        "provisioners": [{"type": "shell", "script": "no-such-script.sh"}],
    });
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let error = Packer::new(config).unwrap().plan(&Context::new(), &image("x", &[])).await.unwrap_err();
    assert_eq!(error.kind(), towpath_core::ErrorKind::InvalidInput);
    assert!(error.message().contains("no-such-script.sh"), "{error:?}");
}
