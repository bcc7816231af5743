//! The engine's own client, for what tests want of it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// How often [`build_image`] builds, at most.
const BUILDS: usize = 5;

/// Builds an image from the text of a Dockerfile, and gives its id. One at a time in a process.
pub fn build_image(tag: &str, dockerfile: &str) -> String {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    // The classic builder fails if any image of the same base is removed while it looks for its steps among them. Tests beside this one
    // do that.
    for left in (0..BUILDS).rev() {
        let out = docker_reads(&["build", "-q", "-t", tag, "-"], dockerfile);
        if out.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(left > 0 && said.contains("unable to find image \"sha256:"), "{said}");
    }
    docker(&["image", "inspect", "-f", "{{.Id}}", tag])
}

/// Runs it with this as its standard input.
pub(super) fn docker_reads(args: &[&str], input: &str) -> Output {
    let mut child = Command::new("docker")
        .args(args)
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(super) fn docker(args: &[&str]) -> String {
    let out = Command::new("docker").args(args).output().unwrap();
    assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub(super) fn image_is_there(image: &str) -> bool {
    static THERE: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let quiet = |c: &mut Command| c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let look = || quiet(Command::new("docker").args(["image", "inspect", image]));
    *THERE.lock().unwrap().entry(image.to_owned()).or_insert_with(look)
}
