#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]
//! Against a real engine.

mod baked;
mod become_user;
mod commands;
mod compose;
mod connector;
mod crash;
mod deploy_crash;
mod deploy_ledger;
mod deploy_registry;
mod deploy_support;
mod deployer;
mod dockerfile;
mod environment;
mod image;
mod once;
mod owner;
mod register;
mod registry;
mod script;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use towpath_core::testkit::SSHD_IMAGE;
use towpath_core::{ConnectionSpec, Host};

/// What all images of these tests start from.
pub(crate) const BASE: &str = SSHD_IMAGE;

/// A number of its own for each test.
pub(crate) fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A name that no other test, also of another process, has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), number())
}

pub(crate) fn docker(args: &[&str]) -> String {
    let out = Command::new("docker").args(args).output().unwrap();
    assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Whether the engine and the base image are there; says what is missing if not.
pub(crate) fn engine() -> bool {
    image_is_there(BASE, ".ci/sshd-image")
}

/// Whether the engine has an image that this script makes; says what is missing if not.
pub(crate) fn image_is_there(image: &str, script: &str) -> bool {
    let quiet = |c: &mut Command| c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if quiet(Command::new("docker").args(["image", "inspect", image])) {
        return true;
    }
    let what = format!("NOT RUN: Docker: install docker.io and debootstrap, start dockerd, run {script}");
    eprintln!("{what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
    false
}

/// A container that is removed with the value.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
}

impl Container {
    /// Starts one from the base, with an SSH server in it.
    pub(crate) fn start() -> Self {
        Self { id: docker(&["run", "-d", "--init", "--label", "towpath-test", BASE]) }
    }

    /// Runs a script as root inside, not through the connector.
    pub(crate) fn sh(&self, script: &str) -> String {
        docker(&["exec", &self.id, "/bin/sh", "-euc", script])
    }

    pub(crate) fn host(&self, name: &str) -> Host {
        Host {
            name: name.into(),
            connection: ConnectionSpec {
                kind: "docker".into(),
                address: Some(self.id.clone()),
                ..ConnectionSpec::default()
            },
            ..Host::default()
        }
    }

    pub(crate) fn host_as(&self, name: &str, user: &str) -> Host {
        let mut host = self.host(name);
        host.connection.user = Some(user.into());
        host
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ =
            Command::new("docker").args(["rm", "-fv", &self.id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A container that tests which run at the same time share.
pub(crate) async fn shared() -> Option<Arc<Container>> {
    static SHARED: Mutex<Weak<Container>> = Mutex::new(Weak::new());
    tokio::task::spawn_blocking(|| {
        if !engine() {
            return None;
        }
        let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let new = Arc::new(Container::start());
        *shared = Arc::downgrade(&new);
        Some(new)
    })
    .await
    .unwrap()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{what}: not so after a minute");
}
