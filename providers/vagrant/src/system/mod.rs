//! Makes a root tree one that boots by itself: what it lacks is said before anything is written.

mod kernel;
mod network;
mod users;

use std::io;

use crate::tree::{Node, Tree};
pub(crate) use kernel::Kernel;

/// How the box is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The image's name: the host name where the tree has none.
    pub(crate) name: String,
    /// The user `vagrant` with the key that everybody knows.
    pub(crate) vagrant_user: bool,
    /// The file system's UUID as text.
    pub(crate) uuid: String,
    /// Time of the files that are made here.
    pub(crate) epoch: u32,
}

/// Something that a bootable tree needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) what: &'static str,
    /// What brings it, on Debian.
    pub(crate) packages: &'static str,
}

/// Says what the tree lacks for booting to a login over SSH.
pub(crate) fn lacks(tree: &Tree, vagrant_user: bool) -> Vec<Lack> {
    let systemd = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];
    let init = tree.find("sbin/init").is_some() && tree.has(&systemd);
    let udev = tree.has(&["usr/lib/systemd/systemd-udevd", "lib/systemd/systemd-udevd"]);
    let kernel = Kernel::newest(tree);
    let needs = [
        (kernel.is_some(), "a kernel in /boot (vmlinuz-*)", "linux-image-amd64"),
        (
            kernel.is_none_or(|k| k.initrd.is_some()),
            "the kernel's initial RAM disk in /boot (initrd.img-*)",
            "initramfs-tools",
        ),
        (init, "systemd as /sbin/init", "systemd-sysv"),
        (udev, "systemd-udevd", "udev"),
        (tree.has(&["usr/sbin/sshd"]), "an SSH server", "openssh-server"),
        (
            network::Network::of(tree).is_some(),
            "something that asks for an address by DHCP",
            "ifupdown isc-dhcp-client",
        ),
        (!vagrant_user || tree.has(&["usr/bin/sudo"]), "sudo, for the user `vagrant`", "sudo"),
    ];
    needs.into_iter().filter(|(there, ..)| !there).map(|(_, what, packages)| Lack { what, packages }).collect()
}

/// Says whether its programs are for x86-64: the only ones that boot with the loader that is put in.
pub(crate) fn is_x86_64(tree: &Tree) -> io::Result<bool> {
    // The machine's number is at 18 in every ELF file.
    let head = tree.head("sbin/init", 20)?.unwrap_or_default();
    Ok(head.starts_with(b"\x7fELF") && head.get(18..20) == Some([0x3e, 0].as_slice()))
}

/// Unit that makes the host keys which the box does not have.
const FIRST_BOOT: &str = "\
[Unit]
Description=Host keys of this machine, made at its first boot
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service sshd.service ssh.socket
DefaultDependencies=no
Requires=local-fs.target
After=local-fs.target systemd-remount-fs.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
RemainAfterExit=yes

[Install]
WantedBy=sysinit.target
";

/// Changes the tree so that it boots to a login over SSH.
pub(crate) fn prepare(tree: &mut Tree, kernel: &Kernel, wanted: &Wanted) -> io::Result<()> {
    let time = wanted.epoch;
    let file = |mode, text: String| Node::file(mode, time, text);
    for (folder, mode) in [("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777)] {
        if tree.find(folder).is_none() {
            tree.put(folder, Node::folder(mode, time));
        }
    }
    tree.put("etc/fstab", file(0o644, format!("UUID={} / ext4 errors=remount-ro 0 1\n", wanted.uuid)));
    // Empty: systemd makes one at boot, without taking it for a first boot that asks questions.
    tree.put("etc/machine-id", file(0o444, String::new()));
    if tree.has(&["var/lib/dbus"]) {
        tree.put("var/lib/dbus/machine-id", Node::symlink("/etc/machine-id", time));
    }
    if tree.find("etc/hostname").is_none() {
        tree.put("etc/hostname", file(0o644, format!("{}\n", wanted.name)));
    }
    if tree.find("etc/hosts").is_none() {
        let text =
            format!("127.0.0.1 localhost\n127.0.1.1 {}\n::1 localhost ip6-localhost ip6-loopback\n", wanted.name);
        tree.put("etc/hosts", file(0o644, text));
    }
    tree.put("etc/systemd/system/towpath-host-keys.service", file(0o644, FIRST_BOOT.to_owned()));
    tree.put(
        "etc/systemd/system/sysinit.target.wants/towpath-host-keys.service",
        Node::symlink("/etc/systemd/system/towpath-host-keys.service", time),
    );
    // Images of containers have files that keep services from starting.
    tree.remove_file("usr/sbin/policy-rc.d");
    if let Some(network) = network::Network::of(tree) {
        network.configure(tree, time);
    }
    if wanted.vagrant_user {
        users::add_vagrant(tree, time)?;
    }
    tree.put("boot/grub/grub.cfg", file(0o644, kernel.menu(tree, &wanted.uuid)));
    tree.finish();
    Ok(())
}
