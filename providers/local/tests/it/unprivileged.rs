//! The same as a user without any rights: CI runs tests as root, most people don't run pipelines so.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// `nobody` on every Linux.
const NOBODY: u32 = 65_534;

/// Runs this program's tests of hosts again as `nobody`.
#[test]
fn hosts_work_without_root() {
    if !nix::unistd::geteuid().is_root() {
        // Then all of these tests run as an ordinary user anyway.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // The build folder may lie where others can't go.
    let program = dir.path().join("it");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let tests = ["hosts::", "plain::a_host", "plain::what", "plain::behaviour_in_namespaces::a_disturbed"];
    let out = Command::new(&program)
        .args(tests)
        .args(["--test-threads", "2"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .env("TMPDIR", dir.path())
        .env("HOME", dir.path())
        .env_remove("USER")
        .env_remove("LOGNAME")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("test hosts::openssh_runs_commands_in_a_root_of_its_own ... ok"), "{said}");
    assert!(!said.contains("0 passed"), "{said}");
}
