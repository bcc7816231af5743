//! `gather_subset`: which collectors work.

use std::collections::BTreeSet;

/// What can be named; each name beside the collector that it stands for.
const NAMES: &[(&str, &str)] = &[
    ("all_ipv4_addresses", "network"),
    ("all_ipv6_addresses", "network"),
    ("apparmor", "apparmor"),
    ("architecture", "platform"),
    ("caps", "caps"),
    ("chroot", "chroot"),
    ("cmdline", "cmdline"),
    ("date_time", "date_time"),
    ("default_ipv4", "network"),
    ("default_ipv6", "network"),
    ("devices", "hardware"),
    ("distribution", "distribution"),
    ("distribution_major_version", "distribution"),
    ("distribution_release", "distribution"),
    ("distribution_version", "distribution"),
    ("dns", "dns"),
    ("effective_group_ids", "user"),
    ("effective_user_id", "user"),
    ("env", "env"),
    ("facter", "facter"),
    ("fibre_channel_wwn", "fibre_channel_wwn"),
    ("fips", "fips"),
    ("hardware", "hardware"),
    ("interfaces", "network"),
    ("is_chroot", "chroot"),
    ("iscsi", "iscsi"),
    ("kernel", "platform"),
    ("kernel_version", "platform"),
    ("loadavg", "loadavg"),
    ("local", "local"),
    ("lsb", "lsb"),
    ("machine", "platform"),
    ("machine_id", "platform"),
    ("mounts", "hardware"),
    ("network", "network"),
    ("nvme", "nvme"),
    ("ohai", "ohai"),
    ("os_family", "distribution"),
    ("pkg_mgr", "pkg_mgr"),
    ("platform", "platform"),
    ("processor", "hardware"),
    ("processor_cores", "hardware"),
    ("processor_count", "hardware"),
    ("python", "python"),
    ("python_version", "platform"),
    ("real_user_id", "user"),
    ("selinux", "selinux"),
    ("service_mgr", "service_mgr"),
    ("ssh_host_key_dsa_public", "ssh_pub_keys"),
    ("ssh_host_key_ecdsa_public", "ssh_pub_keys"),
    ("ssh_host_key_ed25519_public", "ssh_pub_keys"),
    ("ssh_host_key_rsa_public", "ssh_pub_keys"),
    ("ssh_host_pub_keys", "ssh_pub_keys"),
    ("ssh_pub_keys", "ssh_pub_keys"),
    ("system", "platform"),
    ("system_capabilities", "caps"),
    ("system_capabilities_enforced", "caps"),
    ("systemd", "systemd"),
    ("user", "user"),
    ("user_dir", "user"),
    ("user_gecos", "user"),
    ("user_gid", "user"),
    ("user_id", "user"),
    ("user_shell", "user"),
    ("user_uid", "user"),
    ("virtual", "virtual"),
    ("virtualization_role", "virtual"),
    ("virtualization_tech_guest", "virtual"),
    ("virtualization_tech_host", "virtual"),
    ("virtualization_type", "virtual"),
];

/// Collectors that work where nothing is said against them.
const MIN: [&str; 17] = [
    "apparmor",
    "caps",
    "cmdline",
    "date_time",
    "distribution",
    "dns",
    "env",
    "fips",
    "local",
    "lsb",
    "pkg_mgr",
    "platform",
    "python",
    "selinux",
    "service_mgr",
    "ssh_pub_keys",
    "user",
];

/// A chosen set of collectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subset(BTreeSet<&'static str>);

impl Subset {
    /// Of the words that `gather_subset` gives.
    pub(crate) fn of(words: &[String]) -> Result<Self, String> {
        let everything = || NAMES.iter().map(|(_, c)| *c);
        let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
        let (mut all, mut min) = (words.is_empty(), true);
        for word in words {
            let (not, name) = word.strip_prefix('!').map_or((false, word.as_str()), |n| (true, n));
            let collectors: Vec<&str> = NAMES.iter().filter(|(n, _)| *n == name).map(|(_, c)| *c).collect();
            match (name, not) {
                ("all", false) => all = true,
                ("all", true) => without.extend(everything().filter(|c| !MIN.contains(c))),
                ("min", false) => {}
                ("min", true) => min = false,
                _ if collectors.is_empty() => return Err(bad(name)),
                (_, false) => with.extend(collectors),
                (_, true) => without.extend(collectors),
            }
        }
        let mut chosen: BTreeSet<&str> = BTreeSet::new();
        if all {
            chosen.extend(everything());
        }
        if min {
            chosen.extend(MIN);
        } else {
            chosen.retain(|c| !MIN.contains(c));
        }
        chosen.retain(|c| !without.contains(c));
        chosen.extend(with);
        // What one collector needs of another.
        for (one, needs) in [
            ("network", &["platform", "distribution"][..]),
            ("hardware", &["platform"]),
            ("service_mgr", &["platform", "distribution"]),
            ("pkg_mgr", &["distribution"]),
        ] {
            if chosen.contains(one) {
                chosen.extend(needs);
            }
        }
        Ok(Self(chosen))
    }

    /// Whether a collector works.
    pub(super) fn has(&self, collector: &str) -> bool {
        self.0.contains(collector)
    }
}

fn bad(name: &str) -> String {
    let mut all: Vec<&str> = NAMES.iter().map(|(n, _)| *n).chain(["all"]).collect();
    all.sort_unstable();
    format!("Bad subset '{name}' given to Ansible. gather_subset options allowed: {}", all.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_add_and_take_away() {
        let of = |s: &str| Subset::of(&s.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap().0;
        let min: BTreeSet<&str> = MIN.into();
        assert_eq!(of("!all"), min);
        assert_eq!(of("!network"), min);
        assert!(of("!all,!min").is_empty());
        assert!(of("!min").is_empty());
        assert_eq!(of("!all,!min,devices"), ["hardware", "platform"].into());
        assert_eq!(of("!all,!min,service_mgr"), ["distribution", "platform", "service_mgr"].into());
        assert!(
            of("network").contains("env") && of("network").contains("network") && !of("network").contains("virtual")
        );
        assert!(!of("all,!virtual").contains("virtual") && of("all,!virtual").contains("hardware"));
        assert!(
            Subset::of(&["bogus".into()])
                .unwrap_err()
                .starts_with("Bad subset 'bogus' given to Ansible. gather_subset options allowed: all, all_ipv4")
        );
    }
}
