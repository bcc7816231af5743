//! A box's disk, booted in QEMU to a login over SSH. Belongs to `./test full`: without hardware help it takes minutes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use towpath_core::{Context, ImageBuilder as _};
use towpath_vagrant::{VagrantBox, VagrantBoxConfig};

use crate::support::{bootable, has, host_image, output, run};

/// A running machine, ended on drop.
struct Qemu {
    child: Child,
    port: u16,
    console: PathBuf,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a machine with hardware help where that works, else without.
fn boot(disk: &Path, dir: &Path) -> Qemu {
    if std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok() {
        let machine = start(disk, dir, &["-accel", "kvm", "-cpu", "host"]);
        // Some nested machines offer help that does not work: then not even the kernel says anything.
        let until = Instant::now() + Duration::from_secs(40);
        while Instant::now() < until {
            if std::fs::read_to_string(&machine.console).unwrap_or_default().contains("Linux version") {
                return machine;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    start(disk, dir, &["-accel", "tcg", "-cpu", "max"])
}

fn start(disk: &Path, dir: &Path, accelerator: &[&str]) -> Qemu {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let console = dir.join("console.log");
    let child = Command::new("qemu-system-x86_64")
        .args(accelerator)
        .args(["-m", "768", "-display", "none", "-no-reboot"])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-drive", &format!("file={},if=virtio,format=qcow2,snapshot=on", disk.display())])
        .args(["-device", "virtio-rng-pci"])
        .args(["-nic", &format!("user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Qemu { child, port, console }
}

/// The private half of the key that everybody knows, as vagrant brings it.
fn insecure_key(dir: &Path) -> PathBuf {
    let gems = Path::new("/usr/share/rubygems-integration/all/gems");
    let mut found = std::fs::read_dir(gems).unwrap().flatten().map(|e| e.path().join("keys/vagrant"));
    let key = dir.join("insecure_key");
    std::fs::copy(found.find(|p| p.is_file()).expect("vagrant's keys"), &key).unwrap();
    run("chmod", &["600", &key.display().to_string()]);
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_boots_to_a_login_over_ssh() {
    if std::env::var_os("TOWPATH_TEST_FULL").is_none() {
        eprintln!("NOT RUN: booting a box in QEMU belongs to `./test full` (TOWPATH_TEST_FULL=1)");
        return;
    }
    if !has("qemu-system-x86_64", "qemu-system-x86") || !has("vagrant", "vagrant") {
        return;
    }
    let Some(sshd) = bootable() else { return };
    sshd.sh("printf '#!/bin/sh\nid -u\n' > /usr/local/bin/whose && chmod 755 /usr/local/bin/whose
         cp /usr/bin/id /srv/suid && chown deploy:deploy /srv/suid && chmod 4755 /srv/suid");
    let dir = tempfile::tempdir().unwrap();
    let builder = VagrantBox::new(VagrantBoxConfig::new(dir.path().join("boxes"))).unwrap();
    let built = builder.build(&Context::new(), &host_image("web", &sshd)).await.unwrap();
    // The same tree gives the same box, wherever it is made.
    let other = VagrantBox::new(VagrantBoxConfig::new(dir.path().join("others"))).unwrap();
    let again = other.build(&Context::new(), &host_image("web", &sshd)).await.unwrap();
    assert_eq!((again.changed, &again.artifacts[0].digest), (1, &built.artifacts[0].digest));
    let to = dir.path().display().to_string();
    run("tar", &["-C", &to, "-xzf", &built.artifacts[0].id]);
    let key = insecure_key(dir.path()).display().to_string();
    let machine = boot(&dir.path().join("box.img"), dir.path());
    let port = machine.port.to_string();
    let login = |command: &str| {
        let options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=5",
        ];
        let mut args: Vec<&str> = vec!["-F", "none", "-i", &key, "-p", &port];
        options.iter().for_each(|o| args.extend(["-o", o]));
        args.extend(["vagrant@127.0.0.1", command]);
        output("ssh", &args)
    };
    let until = Instant::now() + Duration::from_secs(900);
    while !login("true").status.success() {
        let console = std::fs::read_to_string(&machine.console).unwrap_or_default();
        assert!(Instant::now() < until, "nobody answers; the console says:\n{console}");
        std::thread::sleep(Duration::from_secs(1));
    }
    let says = |command: &str| {
        let out = login(command);
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    assert_eq!(says("whoami"), "vagrant");
    assert_eq!(says("sudo -n id -u"), "0");
    assert_eq!(says("/usr/local/bin/whose"), "1002");
    assert_eq!(says("/srv/suid -un"), "deploy", "set-user-id and owner are the tree's");
    assert_eq!(says("findmnt -no FSTYPE /"), "ext4");
    assert!(says("findmnt -no OPTIONS /").starts_with("rw"));
    assert_eq!(
        says("sudo -n systemctl is-system-running --wait"),
        "running",
        "{}",
        says("systemctl --failed --no-legend")
    );
    assert_eq!(says("wc -c </etc/machine-id"), "33");
    assert_ne!(says("cat /etc/ssh/ssh_host_ed25519_key.pub"), sshd.sh("cat /etc/ssh/ssh_host_ed25519_key.pub"));
    assert_eq!(says("sudo -n touch /srv/new && sudo -n rm /srv/new && echo written"), "written");
}
