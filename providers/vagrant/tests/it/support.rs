//! What the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use towpath_core::testkit::{OpenSsh, Sshd};
use towpath_core::{ArtifactKind, Base, BecomeSpec, Host, ImageDefinition};

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
