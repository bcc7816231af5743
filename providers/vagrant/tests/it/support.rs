//! What the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use towpath_core::testkit::{OpenSsh, SSHD_IMAGE, Sshd};
use towpath_core::{ArtifactKind, Base, BecomeSpec, Host, ImageDefinition};
use towpath_vagrant::{DockerSpec, MachineSpec, VagrantConfig};

/// Says that a program is not there, unless it is; where it could have been installed, fails.
pub(crate) fn has(program: &str, install: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|dir| dir.join(program).is_file());
    if !found {
        let what = format!("NOT RUN: {program}: apt-get install {install}");
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
    }
    found
}

/// The tools that a libvirt box is made with.
pub(crate) fn has_disk_tools() -> bool {
    has("qemu-img", "qemu-utils") && has("grub-mkimage", "grub-common grub-pc-bin")
}

/// A machine whose tree can boot.
pub(crate) fn bootable() -> Option<Sshd> {
    if !has_disk_tools() {
        return None;
    }
    Sshd::start_from("towpath/debian:box-1", ".ci/box-image")
}

/// Its host, read as root.
pub(crate) fn as_root(sshd: &Sshd) -> Host {
    let mut host = sshd.host("box");
    host.connection.r#become = Some(BecomeSpec::default());
    host
}

pub(crate) fn image(name: &str, base: Base) -> ImageDefinition {
    ImageDefinition {
        name: name.into(),
        base,
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::VagrantBox],
        connector: Arc::new(OpenSsh),
        labels: BTreeMap::from([("commit".to_owned(), "abc".to_owned())]),
    }
}

pub(crate) fn host_image(name: &str, sshd: &Sshd) -> ImageDefinition {
    image(name, Base::Host(Box::new(as_root(sshd))))
}

/// Runs a program, and gives its standard output. Panics if it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = output(program, args);
    assert!(
        out.status.success(),
        "{program} {args:?}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub(crate) fn output(program: &str, args: &[&str]) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(program).args(args).env("PATH", path).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// The disk of a box, as a raw file in `dir`.
pub(crate) fn raw_disk(artifact: &str, dir: &Path) -> String {
    let to = dir.display().to_string();
    run("tar", &["-C", &to, "-xzf", artifact]);
    let (img, raw) = (format!("{to}/box.img"), format!("{to}/disk.raw"));
    run("qemu-img", &["check", "-q", &img]);
    run("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", &img, &raw]);
    raw
}

/// A folder for one test, and Vagrant's own folder for all of them: its lock keeps two from taking the same port.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) home: PathBuf,
}

/// `None`, after it has said so, where vagrant or Docker is not there.
pub(crate) fn place() -> Option<Place> {
    if !has("vagrant", "vagrant") {
        return None;
    }
    if !output("docker", &["image", "inspect", SSHD_IMAGE]).status.success() {
        let what = "NOT RUN: vagrant with Docker: install docker.io and debootstrap, start dockerd, run .ci/sshd-image";
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return None;
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vagrant-home");
    Some(Place { dir: tempfile::tempdir().unwrap(), home })
}

impl Place {
    /// A config that makes containers, and keeps all in this folder.
    pub(crate) fn config(&self, machine: MachineSpec) -> VagrantConfig {
        let mut config = VagrantConfig::machines("web", machine).provider("docker");
        config.state_dir = self.dir.path().join("state");
        config.home = Some(self.home.clone());
        config
    }
}

/// A container without an SSH server, which is up at once.
pub(crate) fn plain() -> MachineSpec {
    let docker = DockerSpec {
        image: Some(SSHD_IMAGE.into()),
        cmd: vec!["sleep".into(), "infinity".into()],
        ..DockerSpec::default()
    };
    MachineSpec { docker: Some(docker), ..MachineSpec::default() }
}

/// One with, for Vagrant's key.
pub(crate) fn with_ssh() -> MachineSpec {
    let gems = Path::new("/usr/share/rubygems-integration/all/gems");
    let mut keys = std::fs::read_dir(gems).unwrap().flatten().map(|e| e.path().join("keys/vagrant.pub"));
    let key = std::fs::read_to_string(keys.find(|p| p.is_file()).expect("vagrant's keys")).unwrap();
    let script = format!(
        "cd /home/deploy/.ssh; [ -s authorized_keys ] || echo '{}' > authorized_keys; chown deploy /home/deploy/.ssh/authorized_keys; exec /usr/sbin/sshd -D -e",
        key.trim()
    );
    let docker = DockerSpec {
        image: Some(SSHD_IMAGE.into()),
        cmd: vec!["/bin/sh".into(), "-c".into(), script],
        has_ssh: true,
        ..DockerSpec::default()
    };
    MachineSpec { docker: Some(docker), ssh_user: Some("deploy".into()), ..MachineSpec::default() }
}
