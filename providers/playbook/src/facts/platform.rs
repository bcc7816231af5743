//! System, user, environment, time, and which managers are there.

use serde_json::json;
use towpath_core::Json;

use super::seen::Seen;
use super::{Facts, Subset};

fn set(facts: &mut Facts, name: &str, value: impl Into<Json>) {
    facts.insert(name.to_owned(), value.into());
}

/// All but what needs the distribution.
pub(super) fn add(seen: &Seen, subset: &Subset, facts: &mut Facts) {
    if subset.has("platform") {
        system(seen, facts);
    }
    if subset.has("python") {
        python(seen, facts);
    }
    if subset.has("user") {
        user(seen, facts);
    }
    if subset.has("env") {
        let all = seen.section("env").split('\0').filter_map(|l| l.trim_start_matches('\n').split_once('='));
        let env: Facts = all.map(|(k, v)| (k.to_owned(), v.into())).collect();
        set(facts, "env", env);
    }
    if subset.has("date_time") {
        date(seen, facts);
    }
    if subset.has("cmdline") {
        cmdline(seen, facts);
    }
    if subset.has("dns") {
        dns(seen, facts);
    }
    if subset.has("caps") {
        caps(seen, facts);
    }
    if subset.has("ssh_pub_keys") {
        for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
            let words = seen.line(&format!("/etc/ssh/ssh_host_{kind}_key.pub")).map(|l| l.split_whitespace());
            if let Some((algorithm, key)) = words.and_then(|mut w| Some((w.next()?, w.next()?))) {
                set(facts, &format!("ssh_host_key_{kind}_public"), key);
                set(facts, &format!("ssh_host_key_{kind}_public_keytype"), algorithm);
            }
        }
    }
    security(seen, subset, facts);
    small(seen, subset, facts);
}

fn system(seen: &Seen, facts: &mut Facts) {
    let kernel = |name: &str| seen.line(&format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    let node = kernel("hostname").to_owned();
    let machine = seen.trimmed("machine").unwrap_or_default().to_owned();
    // x86 machines are told by what programs are made for.
    let narrow = machine == "x86_64" && !seen.is("bits64");
    let wide = matches!(machine.as_str(), "x86_64" | "aarch64" | "ppc64" | "ppc64le" | "s390x" | "riscv64" | "mips64");
    let fqdn = fqdn(seen, &node);
    set(facts, "system", kernel("ostype"));
    set(facts, "kernel", kernel("osrelease"));
    set(facts, "kernel_version", kernel("version"));
    set(facts, "hostname", node.split('.').next().unwrap_or_default());
    set(facts, "domain", fqdn.split_once('.').map(|(_, d)| d).unwrap_or_default());
    set(facts, "fqdn", fqdn);
    set(facts, "nodename", node);
    set(facts, "userspace_bits", if wide && !narrow { "64" } else { "32" });
    let space = match machine.as_str() {
        "x86_64" if narrow => "i386",
        "i486" | "i586" | "i686" => "i386",
        other => other,
    };
    set(facts, "userspace_architecture", space);
    let architecture = if matches!(machine.as_str(), "i486" | "i586" | "i686") { "i386" } else { machine.as_str() };
    set(facts, "architecture", architecture);
    set(facts, "machine", machine.clone());
    if let Some(id) = ["/var/lib/dbus/machine-id", "/etc/machine-id"].iter().find_map(|f| seen.line(f)) {
        set(facts, "machine_id", id);
    }
    if let Some(version) = python_version(seen) {
        set(facts, "python_version", version);
    }
}

/// The name that the resolver gives for the host's own name, as by its address and back.
fn fqdn(seen: &Seen, node: &str) -> String {
    let hosts: Vec<Vec<&str>> = seen
        .lines("/etc/hosts")
        .iter()
        .map(|l| l.split('#').next().unwrap_or_default().split_whitespace().collect())
        .collect();
    let rest = |l: &[&str]| l.iter().skip(1).map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let address = hosts.iter().find(|l| l.iter().skip(1).any(|n| n.eq_ignore_ascii_case(node))).and_then(|l| l.first());
    let names = match address {
        Some(address) => hosts.iter().find(|l| l.first() == Some(address)).map(|l| rest(l)).unwrap_or_default(),
        None => {
            rest(&seen.section("resolved").lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>())
        }
    };
    let dotted = names.iter().find(|n| n.contains('.'));
    dotted.or(names.first()).cloned().unwrap_or_else(|| node.to_owned())
}

fn python_version(seen: &Seen) -> Option<String> {
    Some(seen.section("python").lines().nth(1)?.strip_prefix("Python ")?.trim().to_owned())
}

/// Nothing needs Python on the host; what is there is told all the same.
fn python(seen: &Seen, facts: &mut Facts) {
    let (Some(path), Some(version)) = (seen.section("python").lines().next(), python_version(seen)) else { return };
    let digits: Vec<i64> = version
        .split('.')
        .map(|p| p.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0))
        .collect();
    let at = |n: usize| digits.get(n).copied().unwrap_or(0);
    let (major, minor, micro) = (at(0), at(1), at(2));
    let facts_of = json!({
        "executable": path,
        "has_sslcontext": true,
        "type": "cpython",
        "version": { "major": major, "minor": minor, "micro": micro, "releaselevel": "final", "serial": 0 },
        "version_info": [major, minor, micro, "final", 0],
    });
    set(facts, "python", facts_of);
}

fn user(seen: &Seen, facts: &mut Facts) {
    let mut lines = seen.section("passwd").lines();
    let name = lines.next().unwrap_or_default();
    let entry: Vec<&str> = lines.next().unwrap_or_default().split(':').collect();
    let at = |n: usize| entry.get(n).copied().unwrap_or_default();
    set(facts, "user_id", name);
    for (key, n) in [("user_uid", 2), ("user_gid", 3)] {
        if let Ok(id) = at(n).parse::<u64>() {
            set(facts, key, id);
        }
    }
    for (key, n) in [("user_gecos", 4), ("user_dir", 5), ("user_shell", 6)] {
        set(facts, key, at(n));
    }
    for (prefix, kind) in [("Uid:", "user"), ("Gid:", "group")] {
        let line = seen.lines("/proc/self/status").iter().find_map(|l| l.strip_prefix(prefix)).unwrap_or_default();
        let mut ids = line.split_whitespace().filter_map(|i| i.parse::<u64>().ok());
        for which in ["real", "effective"] {
            if let Some(id) = ids.next() {
                set(facts, &format!("{which}_{kind}_id"), id);
            }
        }
    }
}

fn date(seen: &Seen, facts: &mut Facts) {
    let mut lines = seen.section("date").lines().map(|l| l.split('|').collect::<Vec<_>>());
    let (local, utc) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let l = |n: usize| local.get(n).copied().unwrap_or_default().to_owned();
    let u = |n: usize| utc.get(n).copied().unwrap_or_default();
    let micro: String = l(12).chars().take(6).filter(char::is_ascii_digit).collect();
    let micro = format!("{micro:0<6}");
    let (day, time) = (format!("{}-{}-{}", u(0), u(1), u(2)), format!("{}:{}:{}", u(3), u(4), u(5)));
    let short = format!("{}{}{}T{}{}{}", l(0), l(1), l(2), l(3), l(4), l(5));
    let zone = l(7);
    let value = json!({
        "year": l(0), "month": l(1), "day": l(2), "hour": l(3), "minute": l(4), "second": l(5),
        "date": format!("{}-{}-{}", l(0), l(1), l(2)),
        "time": format!("{}:{}:{}", l(3), l(4), l(5)),
        "epoch": l(6), "epoch_int": l(6), "tz": zone, "tz_dst": summer(seen.section("zone")).unwrap_or(zone.clone()),
        "tz_offset": l(8), "weekday": l(9), "weekday_number": l(10), "weeknumber": l(11),
        "iso8601": format!("{day}T{time}Z"), "iso8601_micro": format!("{day}T{time}.{micro}Z"),
        "iso8601_basic": format!("{short}{micro}"), "iso8601_basic_short": short,
    });
    set(facts, "date_time", value);
}

/// The name of summer time in a zone's rule, as in `CET-1CEST,M3.5.0,M10.5.0/3`; of the zone, if there is none.
fn summer(rule: &str) -> Option<String> {
    fn name(rule: &str) -> Option<(&str, &str)> {
        if let Some(quoted) = rule.strip_prefix('<') {
            return quoted.split_once('>');
        }
        let end = rule.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rule.len());
        (end > 0).then(|| rule.split_at(end))
    }
    let (standard, rest) = name(rule.trim())?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | ':'));
    Some(name(rest).map_or(standard, |(summer, _)| summer).to_owned())
}

fn cmdline(seen: &Seen, facts: &mut Facts) {
    let (mut last, mut all) = (Facts::new(), Facts::new());
    for word in seen.line("/proc/cmdline").unwrap_or_default().split_whitespace() {
        let (key, value) = match word.split_once('=') {
            Some((k, v)) => (k.to_owned(), Json::from(v.trim_matches('"'))),
            None => (word.to_owned(), true.into()),
        };
        last.insert(key.clone(), value.clone());
        match all.get_mut(&key) {
            Some(Json::Array(items)) => items.push(value),
            Some(one) => *one = json!([one.clone(), value]),
            None => {
                all.insert(key, value);
            }
        }
    }
    set(facts, "cmdline", last);
    set(facts, "proc_cmdline", all);
}

fn dns(seen: &Seen, facts: &mut Facts) {
    let mut dns = Facts::new();
    for line in seen.lines("/etc/resolv.conf") {
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        let Some(key) = words.next() else { continue };
        match key {
            "nameserver" => {
                if let Some(Json::Array(all)) = Some(dns.entry("nameservers").or_insert(json!([]))) {
                    all.extend(words.map(Json::from));
                }
            }
            "domain" => {
                dns.extend(words.next().map(|d| ("domain".to_owned(), d.into())));
            }
            "search" | "sortlist" => {
                dns.insert(key.to_owned(), words.collect());
            }
            "options" => {
                let options: Facts = words
                    .map(|o| o.split_once(':').map_or((o.to_owned(), true.into()), |(k, v)| (k.to_owned(), v.into())))
                    .collect();
                dns.insert("options".into(), options.into());
            }
            _ => {}
        }
    }
    set(facts, "dns", dns);
}

fn caps(seen: &Seen, facts: &mut Facts) {
    let current = seen.section("capsh").lines().find_map(|l| l.strip_prefix("Current:"));
    let (enforced, caps) = match current.map(str::trim) {
        None => (json!("N/A"), json!("N/A")),
        Some("=ep") => (json!("False"), json!([])),
        Some(text) => {
            let set = text.split('=').nth(1).unwrap_or_default();
            (json!("True"), set.split(',').map(|c| Json::from(c.trim())).collect())
        }
    };
    set(facts, "system_capabilities", caps);
    set(facts, "system_capabilities_enforced", enforced);
}

fn security(seen: &Seen, subset: &Subset, facts: &mut Facts) {
    if subset.has("apparmor") {
        set(facts, "apparmor", json!({ "status": if seen.is("apparmor") { "enabled" } else { "disabled" } }));
    }
    if subset.has("fips") {
        set(facts, "fips", seen.line("/proc/sys/crypto/fips_enabled") == Some("1"));
    }
    if subset.has("selinux") {
        let configured = |key: &str| {
            let lines = seen.lines("/etc/selinux/config").iter();
            lines
                .filter_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='))
                .next_back()
                .map_or("unknown".into(), str::to_owned)
        };
        let value = if seen.is("selinux") {
            let mode = if seen.line("/sys/fs/selinux/enforce") == Some("1") { "enforcing" } else { "permissive" };
            json!({
                "status": "enabled",
                "mode": mode,
                "config_mode": configured("SELINUX"),
                "type": configured("SELINUXTYPE"),
                "policyvers": seen.number("/sys/fs/selinux/policyvers").map_or(json!("unknown"), Json::from),
            })
        } else {
            json!({ "status": "disabled" })
        };
        set(facts, "selinux", value);
        set(facts, "selinux_python_present", true);
    }
}

fn small(seen: &Seen, subset: &Subset, facts: &mut Facts) {
    if subset.has("loadavg") {
        let line = seen.line("/proc/loadavg").unwrap_or_default();
        let loads: Vec<f64> = line.split_whitespace().take(3).filter_map(|n| n.parse().ok()).collect();
        if let [one, five, fifteen] = *loads.as_slice() {
            set(facts, "loadavg", json!({ "1m": one, "5m": five, "15m": fifteen }));
        }
    }
    if subset.has("chroot") {
        set(facts, "is_chroot", seen.is("chroot"));
    }
    if subset.has("iscsi") {
        let lines = seen.lines("/etc/iscsi/initiatorname.iscsi").iter();
        let name = lines.filter_map(|l| l.strip_prefix("InitiatorName=")).next().unwrap_or_default();
        set(facts, "iscsi_iqn", name.trim());
    }
    if subset.has("nvme") {
        set(facts, "hostnqn", seen.line("/etc/nvme/hostnqn").unwrap_or_default());
    }
    if subset.has("fibre_channel_wwn") {
        let all = seen.below("/sys/class/fc_host/").map(|(_, v)| Json::from(v.trim_start_matches("0x")));
        set(facts, "fibre_channel_wwn", all.collect::<Vec<_>>());
    }
    if subset.has("systemd") {
        let mut lines = seen.section("systemctl").lines();
        let version = lines.next().and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
        if let Some(version) = version {
            set(facts, "systemd", json!({ "version": version, "features": lines.next().unwrap_or_default().trim() }));
        }
    }
    if subset.has("lsb") {
        set(facts, "lsb", lsb(seen));
    }
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

/// What `lsb_release` says, from the files that it reads.
fn lsb(seen: &Seen) -> Json {
    let of = |file: &str, key: &str| {
        let found = seen.lines(file).iter().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        found.map(|v| unquoted(v).to_owned()).filter(|v| !v.is_empty())
    };
    let file = "/etc/lsb-release";
    let os = "/etc/os-release";
    let both = |lsb: &str, release: &str| {
        of(file, lsb).or_else(|| if seen.is("lsb_release") { of(os, release) } else { None })
    };
    let id = both("DISTRIB_ID", "ID").map(|id| {
        let mut letters = id.chars();
        letters.next().map(|c| c.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    });
    let release = both("DISTRIB_RELEASE", "VERSION_ID");
    let all = [
        ("id", id),
        ("release", release.clone()),
        ("description", both("DISTRIB_DESCRIPTION", "PRETTY_NAME")),
        ("codename", both("DISTRIB_CODENAME", "VERSION_CODENAME")),
        ("major_release", release.and_then(|r| r.split('.').next().map(str::to_owned))),
    ];
    Json::Object(all.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?.into()))).collect())
}

/// Which managers of packages and services.
pub(super) fn services(seen: &Seen, subset: &Subset, facts: &mut Facts) {
    if subset.has("pkg_mgr") {
        let family = facts.get("os_family").and_then(Json::as_str).unwrap_or_default().to_owned();
        set(facts, "pkg_mgr", package_manager(seen, &family));
    }
    if subset.has("service_mgr") {
        set(facts, "service_mgr", service_manager(seen));
    }
}

fn package_manager(seen: &Seen, family: &str) -> &'static str {
    let there = |p: &str| seen.is(p);
    if family == "RedHat" {
        // Where rpm is native, only its own count: an apt beside it manages nothing.
        return if there("/run/ostree-booted") && there("/usr/bin/rpm-ostree") {
            "atomic_container"
        } else if there("/usr/bin/dnf5") && (there("/usr/bin/microdnf") || !there("/usr/bin/dnf-3")) {
            "dnf5"
        } else if ["/usr/bin/dnf", "/usr/bin/dnf-3", "/usr/bin/microdnf"].iter().any(|p| there(p)) {
            "dnf"
        } else if there("/usr/bin/yum") {
            "yum"
        } else {
            "unknown"
        };
    }
    let known = [
        ("/usr/bin/apt-get", "apt"),
        ("/usr/bin/zypper", "zypper"),
        ("/usr/bin/dnf", "dnf"),
        ("/usr/bin/yum", "yum"),
        ("/usr/bin/pacman", "pacman"),
        ("/sbin/apk", "apk"),
        ("/usr/bin/apk", "apk"),
        ("/usr/bin/emerge", "portage"),
        ("/usr/bin/xbps-install", "xbps"),
        ("/usr/sbin/urpmi", "urpmi"),
        ("/usr/bin/opkg", "opkg"),
        ("/bin/opkg", "opkg"),
        ("/usr/bin/swupd", "swupd"),
        ("/run/current-system/sw/bin/nix", "nix"),
        ("/opt/tools/bin/pkgin", "pkgin"),
    ];
    known.iter().find(|(p, _)| there(p)).map_or("unknown", |(_, m)| m)
}

/// By process 1 if it has a name of its own, else by what is there.
fn service_manager(seen: &Seen) -> String {
    let first = seen.line("/proc/1/comm").unwrap_or_default();
    match first {
        "runit-init" => return "runit".into(),
        "svscan" => return "svc".into(),
        "openrc-init" => return "openrc".into(),
        "" | "init" => {}
        shell if shell.ends_with("sh") => {}
        other => return other.to_owned(),
    }
    let order = [
        ("systemd", "systemd"),
        ("upstart", "upstart"),
        ("openrc", "openrc"),
        ("offline", "systemd"),
        ("sysvinit", "sysvinit"),
    ];
    order.iter().find(|(f, _)| seen.is(f)).map_or("service", |(_, m)| m).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zones_rule_names_its_summer_time() {
        assert_eq!(summer("CET-1CEST,M3.5.0,M10.5.0/3\n").as_deref(), Some("CEST"));
        assert_eq!(summer("UTC0").as_deref(), Some("UTC"));
        assert_eq!(summer("<+0545>-5:45").as_deref(), Some("+0545"));
        assert_eq!(summer("<-03>3<-02>,M3.2.0,M11.1.0").as_deref(), Some("-02"));
        assert_eq!(summer(""), None);
    }
}
