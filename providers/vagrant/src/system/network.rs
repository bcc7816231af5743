//! Asks for an address by DHCP on the first interface, with what the tree has.

use crate::tree::{Node, Tree};

/// What configures the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Ifupdown,
    Networkd,
}

const INTERFACES: &str = "\
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

allow-hotplug eth0
iface eth0 inet dhcp
";

const NETWORKD: &str = "\
[Match]
Name=eth0

[Network]
DHCP=yes
";

impl Network {
    /// The one that the tree has; ifupdown before networkd, since Vagrant's own plugins for Debian use it.
    pub(super) fn of(tree: &Tree) -> Option<Self> {
        let client = ["sbin/dhclient", "usr/sbin/dhclient", "sbin/dhcpcd", "usr/sbin/dhcpcd", "sbin/udhcpc"];
        if tree.has(&["sbin/ifup", "usr/sbin/ifup"]) && tree.has(&client) {
            return Some(Self::Ifupdown);
        }
        let networkd = ["usr/lib/systemd/systemd-networkd", "lib/systemd/systemd-networkd"];
        tree.has(&networkd).then_some(Self::Networkd)
    }

    pub(super) fn configure(self, tree: &mut Tree, time: u32) {
        match self {
            Self::Ifupdown => tree.put("etc/network/interfaces", Node::file(0o644, time, INTERFACES)),
            Self::Networkd => {
                tree.put("etc/systemd/network/10-towpath.network", Node::file(0o644, time, NETWORKD));
                let unit = "/usr/lib/systemd/system/systemd-networkd.service";
                let wants = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
                tree.put(wants, Node::symlink(unit, time));
                // Names are resolved through it where it is there.
                if tree.has(&["usr/lib/systemd/systemd-resolved", "lib/systemd/systemd-resolved"]) {
                    let unit = "/usr/lib/systemd/system/systemd-resolved.service";
                    let wants = "etc/systemd/system/multi-user.target.wants/systemd-resolved.service";
                    tree.put(wants, Node::symlink(unit, time));
                    tree.put("etc/resolv.conf", Node::symlink("../run/systemd/resolve/stub-resolv.conf", time));
                }
            }
        }
    }
}
