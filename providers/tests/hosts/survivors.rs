//! What runs on a host when the command is cancelled, or dies.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::{Place, text};

const SLEEP: &str = "- name: Long work\n  hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - name: Sleep\n      command: sleep 1000\n";
const SHORT: &str = "- name: Short work\n  hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - name: Nothing\n      command: \"true\"\n";

/// Starts the pipeline and waits until the task runs on the host, as root.
fn asleep(place: &Place) -> Child {
    place.write("site.yml", SLEEP);
    let mut child = place.towpath(&["run", "pipeline.yml"]).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while place.sleepers().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "{}", text(&child.wait_with_output().unwrap()));
        assert!(Instant::now() < until, "the task does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

fn signal(name: &str, child: &Child) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_cancelled_run_leaves_no_command_on_the_host() {
    let Some(place) = Place::new() else { return };
    let child = asleep(&place);
    signal("-INT", &child);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", text(&out));
    assert_eq!(place.sleepers(), "", "{}", text(&out));
    let leases = place.towpath(&["leases"]).output().unwrap();
    assert!(leases.stdout.is_empty(), "{}", text(&leases));
}

#[test]
fn the_run_after_a_kill_ends_what_survived() {
    let Some(place) = Place::new() else { return };
    let mut child = asleep(&place);
    signal("-KILL", &child);
    child.wait().unwrap();
    let survivor = place.sleepers();
    assert_eq!(survivor.lines().count(), 1, "a killed towpath can't end it: {survivor:?}");

    // The same run goes on, with another playbook, so that what sleeps now can only be the survivor.
    place.write("site.yml", SHORT);
    let out = place.run();
    assert!(out.status.success(), "{}", text(&out));
    assert!(text(&out).contains("goes on with hosts"), "{}", text(&out));
    assert!(text(&out).contains("left running"), "{}", text(&out));
    assert_eq!(place.sleepers(), "");
}
