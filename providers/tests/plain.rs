//! A playbook on a local host that is a folder: what it names outside is refused with the reason, and stays as it is.
#![cfg(all(feature = "cli", feature = "local", feature = "playbook", feature = "ssh"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::process::{Command, Stdio};

use towpath::local::{Local, LocalConfig, LocalMode};
use towpath::{Context, Provisioner as _};

const PIPELINE: &str = "
name: plain
steps:
  fleet: { provision: { local: { hosts: 1, name: web, mode: plain, state_dir: state } } }
  site:
    configure: { playbook: { file: site.yml } }
    inventory: { from: fleet.inventory }
";

#[tokio::test]
async fn a_task_outside_the_folder_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    // Names of their own, since this machine's `/etc` is everybody's.
    let outside = format!("/etc/towpath-plain-{}", std::process::id());
    let playbook = format!(
        "- hosts: all\n  tasks:\n    - copy: {{ content: inside, dest: '{{{{ towpath_root }}}}/etc/motd' }}\n    \
         - name: write outside\n      copy: {{ content: outside, dest: {outside} }}\n"
    );
    std::fs::write(dir.path().join("pipeline.yml"), PIPELINE).unwrap();
    std::fs::write(dir.path().join("site.yml"), playbook).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_towpath"))
        .args(["run", "pipeline.yml"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let state = dir.path().join("state");
    let inside = std::fs::read_to_string(state.join("hosts/web-1/tree/etc/motd"));
    let config = LocalConfig::hosts(1).name("web").mode(LocalMode::Plain).state_dir(&state);
    Local::new(config).unwrap().destroy(&Context::new()).await.unwrap();

    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("plain mode: a host is a folder"), "the mode is said: {said}");
    assert!(said.contains("task=write outside") && said.contains("nothing outside its folder"), "{said}");
    assert!(!Path::new(&outside).exists(), "this machine's file was written");
    assert_eq!(inside.unwrap(), "inside");
}
