//! The script.

use std::sync::OnceLock;

use towpath_core::shell_quote;

use super::Subset;

/// Files that are read all at once, by collector.
const FILES: &[(&str, &str)] = &[
    (
        "platform",
        "/proc/sys/kernel/hostname /proc/sys/kernel/osrelease /proc/sys/kernel/version /proc/sys/kernel/ostype /etc/hosts \
         /var/lib/dbus/machine-id /etc/machine-id",
    ),
    ("user", "/proc/self/status"),
    (
        "distribution",
        "/etc/os-release /usr/lib/os-release /etc/debian_version /etc/alpine-release /etc/redhat-release \
         /etc/centos-release /etc/oracle-release /etc/arch-release /etc/SuSE-release",
    ),
    ("lsb", "/etc/lsb-release /etc/os-release /etc/debian_version"),
    ("dns", "/etc/resolv.conf"),
    ("cmdline", "/proc/cmdline"),
    ("fips", "/proc/sys/crypto/fips_enabled"),
    ("selinux", "/sys/fs/selinux/enforce /sys/fs/selinux/policyvers /etc/selinux/config"),
    ("service_mgr", "/proc/1/comm"),
    (
        "ssh_pub_keys",
        "/etc/ssh/ssh_host_dsa_key.pub /etc/ssh/ssh_host_rsa_key.pub /etc/ssh/ssh_host_ecdsa_key.pub \
         /etc/ssh/ssh_host_ed25519_key.pub",
    ),
    ("loadavg", "/proc/loadavg"),
    ("iscsi", "/etc/iscsi/initiatorname.iscsi"),
    ("nvme", "/etc/nvme/hostnqn"),
    ("fibre_channel_wwn", "/sys/class/fc_host/*/port_name"),
    (
        "network",
        "/sys/class/net/*/address /sys/class/net/*/mtu /sys/class/net/*/type /sys/class/net/*/flags \
         /sys/class/net/*/operstate /sys/class/net/*/speed /sys/class/net/*/bridge/bridge_id \
         /sys/class/net/*/bridge/stp_state /sys/class/net/*/brif/*/port_no /sys/class/net/*/bonding/* /etc/os-release",
    ),
    (
        "hardware",
        "/proc/meminfo /proc/cpuinfo /proc/uptime /proc/self/status /proc/mounts /proc/self/mountinfo /etc/mtab \
         /sys/class/dmi/id/bios_* /sys/class/dmi/id/board_* /sys/class/dmi/id/chassis_* /sys/class/dmi/id/product_* \
         /sys/class/dmi/id/sys_vendor /sys/block/*/size /sys/block/*/removable /sys/block/*/queue/rotational \
         /sys/block/*/queue/scheduler /sys/block/*/queue/logical_block_size /sys/block/*/queue/discard_granularity \
         /sys/block/*/device/vendor /sys/block/*/device/model /sys/block/*/device/sas_address \
         /sys/block/*/device/sas_device_handle /sys/block/*/device/serial /sys/block/*/*/start /sys/block/*/*/size \
         /sys/block/*/dm/name",
    ),
    (
        "virtual",
        "/proc/1/cgroup /proc/xen/capabilities /proc/cpuinfo /proc/modules /proc/sysinfo /sys/class/dmi/id/product_name \
         /sys/class/dmi/id/product_family /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/bios_vendor \
         /sys/hypervisor/type /run/systemd/container /proc/self/status",
    ),
];

/// What tells which tools and systems are there: tests of the shell itself, which cost no process.
const FLAGS: &[(&str, &str)] = &[
    (
        "platform",
        "for f in /lib64/ld-linux-x86-64.so.2 /lib/ld-musl-x86_64.so.1 /lib64/ld64.so.2 /lib64/ld64.so.1; do [ -e $f ] && echo bits64; done",
    ),
    ("apparmor", "[ -e /sys/kernel/security/apparmor ] && echo apparmor"),
    ("selinux", "[ -e /sys/fs/selinux/enforce ] && echo selinux"),
    (
        "pkg_mgr",
        "for f in /usr/bin/apt-get /usr/bin/dnf /usr/bin/dnf5 /usr/bin/dnf-3 /usr/bin/microdnf /usr/bin/yum /sbin/apk /usr/bin/apk /usr/bin/zypper \
         /usr/bin/pacman /usr/bin/emerge /usr/bin/xbps-install /usr/bin/opkg /bin/opkg /usr/sbin/urpmi /usr/bin/apt-rpm \
         /usr/bin/rpm-ostree /usr/bin/installp /opt/tools/bin/pkgin /usr/bin/swupd /run/current-system/sw/bin/nix /run/ostree-booted; do [ -e $f ] && echo $f; done",
    ),
    (
        "service_mgr",
        "[ -d /run/systemd/system ] && echo systemd; [ -d /dev/.run/systemd ] && echo systemd; [ -d /dev/.systemd ] && echo systemd; \
         [ -e /sbin/openrc ] && echo openrc; [ -e /sbin/initctl ] && [ -d /etc/init ] && echo upstart; \
         [ -d /etc/init.d ] && echo sysvinit; [ -h /sbin/init ] && { [ /sbin/init -ef /lib/systemd/systemd ] || [ /sbin/init -ef /usr/lib/systemd/systemd ]; } && echo offline",
    ),
    ("lsb", "command -v lsb_release >/dev/null 2>&1 && echo lsb_release"),
    (
        "chroot",
        "[ -n \"$debian_chroot\" ] && echo chroot; if [ -e /proc/1/root/. ]; then [ / -ef /proc/1/root/. ] || echo chroot; fi",
    ),
    (
        "virtual",
        "for f in /.dockerenv /.dockerinit /run/.containerenv /proc/vz /proc/lve /proc/bc /proc/xen /dev/kvm /dev/lxd /dev/vboxdrv /dev/vmmon /sys/module/kvm; \
         do [ -e $f ] && echo $f; done",
    ),
    ("caps", "command -v capsh >/dev/null 2>&1 && echo capsh"),
    ("network", "command -v ip >/dev/null 2>&1 && echo ip"),
];

/// Commands, each the body of a section.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("platform", "machine", "uname -m"),
    (
        "platform",
        "python",
        "for p in python3 /usr/libexec/platform-python python; do if command -v $p 2>/dev/null; then $p -V 2>&1; break; fi; done",
    ),
    // Only a name that /etc/hosts does not know has to be asked for.
    (
        "platform",
        "resolved",
        "n=; read -r n </proc/sys/kernel/hostname; if ! grep -qsw -F -- \"$n\" /etc/hosts && command -v getent >/dev/null 2>&1; then \
         set -- $(getent ahosts \"$n\"); [ -n \"$1\" ] && getent hosts \"$1\"; fi",
    ),
    (
        "user",
        "passwd",
        "u=${LOGNAME:-${USER:-${LNAME:-$USERNAME}}}; [ -n \"$u\" ] || u=$(id -un 2>/dev/null) || u=$(id -u); echo \"$u\"; \
         if command -v getent >/dev/null 2>&1; then getent passwd \"$u\" || getent passwd \"$(id -u)\"; \
         else while IFS= read -r l; do case $l in \"$u\":*) printf '%s\\n' \"$l\";; esac; done </etc/passwd; fi",
    ),
    ("env", "env", "cat /proc/self/environ"),
    ("caps", "capsh", "command -v capsh >/dev/null 2>&1 && capsh --print 2>/dev/null"),
    ("date_time", "date", "date '+%Y|%m|%d|%H|%M|%S|%s|%Z|%z|%A|%w|%W|%N'; date -u '+%Y|%m|%d|%H|%M|%S'"),
    ("date_time", "zone", "[ -e /etc/localtime ] && tail -n 1 /etc/localtime"),
    ("systemd", "systemctl", "command -v systemctl >/dev/null 2>&1 && systemctl --version 2>/dev/null"),
    ("selinux", "sestatus", "[ -e /sys/fs/selinux/enforce ] && cat /sys/fs/selinux/enforce"),
    ("network", "addr", "command -v ip >/dev/null 2>&1 && ip addr show 2>/dev/null"),
    ("network", "route4", "command -v ip >/dev/null 2>&1 && ip -4 route get 8.8.8.8 2>/dev/null"),
    (
        "network",
        "route6",
        "command -v ip >/dev/null 2>&1 && [ -s /proc/net/if_inet6 ] && ip -6 route get 2404:6800:400a:800::1012 2>/dev/null",
    ),
    ("network", "local4", "command -v ip >/dev/null 2>&1 && ip -4 route show table local 2>/dev/null"),
    (
        "network",
        "local6",
        "command -v ip >/dev/null 2>&1 && [ -s /proc/net/if_inet6 ] && ip -6 route show table local 2>/dev/null",
    ),
    (
        "network",
        "netdev",
        "for f in /sys/class/net/*/device; do [ -e \"$f\" ] && { ls -ld /sys/class/net/*/device; break; }; done",
    ),
    (
        "network",
        "ethtool",
        "if command -v ethtool >/dev/null 2>&1; then for f in /sys/class/net/*; do [ -d \"$f\" ] || continue; echo \"@ ${f##*/}\"; \
         ethtool -k \"${f##*/}\" 2>/dev/null; echo '@@'; ethtool -T \"${f##*/}\" 2>/dev/null; done; fi",
    ),
    (
        "hardware",
        "statfs",
        "l=$(grep -sE '^(/|[^ ]*:/)|^[^ ]* [^ ]* fuse' /proc/mounts); set --\n\
         while read -r d p r; do case $p in *\\\\*) p=$(printf '%b' \"$(printf '%s' \"$p\" | sed 's/\\\\\\([0-7]\\)/\\\\0\\1/g')\");; esac; \
         [ -n \"$p\" ] && set -- \"$@\" \"$p\"; done <<EOF\n$l\nEOF\n\
         if [ $# -gt 0 ]; then t=; command -v timeout >/dev/null 2>&1 && t='timeout 10'; $t stat -f -c '%S %s %b %a %c %d %n' -- \"$@\" 2>/dev/null; fi",
    ),
    (
        "hardware",
        "links",
        "set --; for f in /dev/disk/by-id /dev/disk/by-uuid /dev/disk/by-label; do [ -d $f ] && set -- \"$@\" $f; done; [ $# -gt 0 ] && ls -l \"$@\"",
    ),
    (
        "hardware",
        "holders",
        "for f in /sys/block/*/holders/* /sys/block/*/*/holders/* /sys/block/*/slaves/*; do [ -e \"$f\" ] && echo \"$f\"; done",
    ),
    ("hardware", "lspci", "command -v lspci >/dev/null 2>&1 && { lspci -D; ls -l /sys/block; }"),
    (
        "hardware",
        "lvm",
        "[ -w /etc/passwd ] && command -v vgs >/dev/null 2>&1 && { echo there; for f in /etc/lvm/backup/* /sys/block/dm-*; do [ -e \"$f\" ] && { \
         vgs --noheadings --nosuffix --units g --separator , -o vg_name,pv_count,lv_count,vg_size,vg_free; echo @; \
         lvs --noheadings --nosuffix --units g --separator , -o lv_name,vg_name,lv_size; echo @; \
         pvs --noheadings --nosuffix --units g --separator , -o pv_name,vg_name,pv_size,pv_free; break; }; done; } 2>/dev/null",
    ),
    ("virtual", "init", "cat /proc/1/environ 2>/dev/null"),
];

/// The whole script for a subset.
pub(super) fn of(subset: &Subset, fact_path: &str) -> String {
    // One for the whole process: the same script asked twice is the same text, so that one answer does.
    static MARK: OnceLock<String> = OnceLock::new();
    let mark = MARK.get_or_init(|| hex::encode(rand::random::<[u8; 16]>()));
    let mut text = format!(
        "tp_m={mark}\ntp_s() {{ printf '\\n%s %s\\n' $tp_m \"$1\"; }}\nPATH=${{PATH:-/bin:/usr/bin}}\necho $tp_m\ntp_s files\n\
         case $PATH in */sbin*) ;; *) tp_p=$PATH; PATH=$PATH:/usr/sbin:/sbin;; esac\n"
    );
    let wanted: Vec<&str> = FILES.iter().filter(|(c, _)| subset.has(c)).map(|(_, f)| *f).collect();
    if !wanted.is_empty() {
        text.push_str(&format!("LC_ALL=C grep -sH '' {} /dev/null\n", wanted.join(" ")));
    }
    text.push_str("tp_s flags\n");
    for (_, test) in FLAGS.iter().filter(|(c, _)| subset.has(c)) {
        text.push_str(&format!("{test}\n"));
    }
    for (_, name, command) in COMMANDS.iter().filter(|(c, ..)| subset.has(c)) {
        // The host's PATH as it is, for what tells it.
        let command = match *name {
            "env" => format!("(PATH=${{tp_p:-$PATH}}; {command})"),
            _ => (*command).to_owned(),
        };
        text.push_str(&format!("tp_s {name}\n{command}\n"));
    }
    if subset.has("local") {
        text.push_str(&format!(
            "for f in {}/*.fact; do [ -e \"$f\" ] || continue\n\
             if [ -x \"$f\" ]; then tp_s \"run $f\"; {{ tp_e=$(\"$f\" 2>&1 >&3 3>&-); tp_r=$?; }} 3>&1; tp_s \"rc $f\"; echo $tp_r; printf '%s\\n' \"$tp_e\"\n\
             else tp_s \"file $f\"; cat \"$f\" 2>/dev/null || tp_s \"unread $f\"; fi\ndone\n",
            shell_quote(fact_path)
        ));
    }
    text.push_str("tp_s end\nexit 0\n");
    text
}
