//! The deployer `docker` together with others: over SSH, behind a rollout's balancer, and beside a proxy of the host, under load.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod crash;
mod engines;
mod load;
mod over_ssh;
mod page;
mod rolling;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use towpath::{Artifact, ArtifactKind, Context, Provenance, Release, digest_json};
use towpath_core::testkit::{SSHD_IMAGE, build_image};

/// What the balancer's process runs as: this test binary again, told to run this test only. Run as an ordinary test it does nothing.
#[test]
fn launched() {
    towpath::local::init();
}

/// Answers each request with its version, a slow one after a while; asked to end, it finishes what it has.
const SERVER: &str = r#"
import http.server, os, signal, threading, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(s):
        if s.path == "/slow": time.sleep(1)
        b = os.environ["V"].encode()
        s.send_response(200); s.send_header("content-length", str(len(b))); s.end_headers(); s.wfile.write(b)
    def log_message(s, *a): pass
class S(http.server.ThreadingHTTPServer):
    daemon_threads = False; request_queue_size = 128
server = S(("", 80), H)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
server.serve_forever(); server.server_close()
"#;

fn docker(args: &[&str]) -> String {
    let out = Command::new("docker").args(args).output().unwrap();
    assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Says what is missing, and fails where it could have been installed.
fn not_run(what: &str) {
    let what = format!("NOT RUN: {what}");
    eprintln!("{what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
}

fn engine() -> bool {
    let quiet = |c: &mut Command| c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let there = quiet(Command::new("docker").args(["image", "inspect", SSHD_IMAGE]));
    if !there {
        not_run("Docker: install docker.io and debootstrap, start dockerd, run .ci/sshd-image");
    }
    there
}

/// A release of the server, from an image that is built once.
fn release(version: &str) -> Release {
    let cmd = serde_json::to_string(&["python3", "-u", "-c", SERVER]).unwrap();
    let file = format!("FROM {SSHD_IMAGE}\nENV V={version}\nCMD {cmd}\n");
    let id = build_image(&format!("towpath-test/deploy-joint:{version}"), &file);
    let artifact = Artifact {
        name: "web".into(),
        kind: ArtifactKind::DockerImage,
        id: id.clone(),
        digest: id,
        provenance: Provenance::default(),
    };
    Release { service: "web".into(), version: version.into(), artifact: Some(artifact), env: Default::default() }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An environment of its own, emptied on drop.
struct Environment {
    name: String,
    cx: Context,
}

impl Environment {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("joint-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { cx: Context::builder().environment(&name).build(), name }
    }

    /// Names and states of all its containers, of any of its targets.
    fn containers(&self) -> Vec<String> {
        let filter = format!("label=towpath.deploy.environment={}", self.name);
        docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.State}}"])
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let filter = format!("label=towpath.deploy.environment={}", self.name);
        let out = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        for id in String::from_utf8_lossy(&out.map(|o| o.stdout).unwrap_or_default()).lines() {
            let _ = Command::new("docker").args(["rm", "-fv", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let out = Command::new("docker").args(["volume", "ls", "-q", "--filter", &filter]).output();
        for volume in String::from_utf8_lossy(&out.map(|o| o.stdout).unwrap_or_default()).lines() {
            let _ = Command::new("docker").args(["volume", "rm", volume]).stdout(Stdio::null()).status();
        }
        for target in ["web1", "web2", "web3"] {
            let mark = &digest_json(&json!([self.name, "web", target]))[..8];
            let reference = format!("reference=towpath.invalid/*-{mark}/*");
            let list = ["images", "--filter", &reference, "--format", "{{.Repository}}:{{.Tag}}"];
            let out = Command::new("docker").args(list).output();
            for mark in String::from_utf8_lossy(&out.map(|o| o.stdout).unwrap_or_default()).lines() {
                let _ = Command::new("docker").args(["rmi", mark]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
    }
}
