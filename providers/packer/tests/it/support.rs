use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use towpath_core::testkit::SSHD_IMAGE;
use towpath_core::{
    ArtifactKind, Base, Capabilities, Connection, Connector, Context, ContextBuilder, Error, ErrorKind, Event,
    EventKind, Host, ImageDefinition, Preflight, Result,
};

/// Says that a counterpart is missing; fails where it could have been installed.
pub(crate) fn missing(what: &str) {
    eprintln!("NOT RUN: {what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "NOT RUN: {what}");
}

fn runs(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|o| o.status.success())
}

/// Whether the real packer is there.
pub(crate) fn packer() -> bool {
    let there = runs("packer", &["version", "-machine-readable"]);
    if !there {
        missing("packer: apt-get install packer");
    }
    there
}

/// Whether Docker and the image of the tests are there, too.
pub(crate) fn packer_and_docker() -> bool {
    if !runs("docker", &["image", "inspect", SSHD_IMAGE]) {
        missing("containers: install docker.io and debootstrap, start dockerd, run .ci/sshd-image");
        return false;
    }
    packer()
}

/// Standard output of a command that must succeed.
pub(crate) fn output(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

const LABEL: &str = "towpath-packer-test";

/// A container that is told apart by its label.
pub(crate) fn docker(label: &str) -> Value {
    json!({"type": "docker", "commit": true, "pull": false, "volumes": {},
           "run_command": ["-d", "-i", "-t", "--label", format!("{LABEL}={label}"), "--", "{{.Image}}", "/bin/sh"]})
}

pub(crate) fn containers(label: &str) -> String {
    output("docker", &["ps", "-aq", "--filter", &format!("label={LABEL}={label}")])
}

/// Packer has machines of its own; nobody connects.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Connector for Nowhere {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }
    async fn connect(&self, _: &Context, _: &Host) -> Result<Arc<dyn Connection>> {
        Err(Error::new(ErrorKind::Unsupported, "test", "connect", "nowhere"))
    }
}

pub(crate) fn image(name: &str, artifacts: &[ArtifactKind]) -> ImageDefinition {
    ImageDefinition {
        name: name.into(),
        base: Base::Image(SSHD_IMAGE.into()),
        configure: Vec::new(),
        artifacts: artifacts.to_vec(),
        connector: Arc::new(Nowhere),
        labels: BTreeMap::from([("commit".to_owned(), "c0ffee".to_owned())]),
    }
}

/// A listener that keeps everything.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Event>>>);

impl Seen {
    pub(crate) fn listener(&self) -> Arc<dyn towpath_core::Listener> {
        let seen = Arc::clone(&self.0);
        Arc::new(move |event: &Event| seen.lock().unwrap().push(event.clone()))
    }

    pub(crate) fn context(&self) -> ContextBuilder {
        Context::builder().listener(self.listener())
    }

    pub(crate) fn events(&self) -> Vec<EventKind> {
        self.0.lock().unwrap().iter().map(|e| e.kind.clone()).collect()
    }

    /// Everything as one text.
    pub(crate) fn text(&self) -> String {
        self.events().iter().map(|e| format!("{e:?}\n")).collect()
    }

    /// Waits until a line that Packer printed has this in it.
    pub(crate) async fn wait_for(&self, text: &str) {
        for _ in 0..1200 {
            if self.text().contains(text) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("`{text}` was never said:\n{}", self.text());
    }
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

/// A stub that stands for packer: a shell script.
pub(crate) fn stub(dir: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = write(dir, "bin/packer", &format!("#!/bin/sh\n{script}"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The folders of runs that are left in a state folder.
pub(crate) fn runs_left(state: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for image in std::fs::read_dir(state).into_iter().flatten().flatten() {
        for entry in std::fs::read_dir(image.path()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("run-") {
                left.push(name);
            }
        }
    }
    left
}

/// Removes Docker images when the test is over.
pub(crate) struct Images(pub(crate) Vec<String>);

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.0 {
            let _ = Command::new("docker").args(["image", "rm", "-f", image]).output();
        }
    }
}
