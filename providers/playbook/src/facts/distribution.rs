//! Which distribution, by the rules that Ansible has for each.

use serde_json::json;
use towpath_core::Json;

use super::seen::Seen;
use super::{Facts, Subset};

/// A name of `ID` in os-release, the distribution's name with Ansible, and its family.
const KNOWN: &[(&str, &str, &str)] = &[
    ("debian", "Debian", "Debian"),
    ("ubuntu", "Ubuntu", "Debian"),
    ("raspbian", "Debian", "Debian"),
    ("linuxmint", "Linux Mint", "Debian"),
    ("kali", "Kali", "Debian"),
    ("devuan", "Devuan", "Debian"),
    ("pop", "Pop!_OS", "Debian"),
    ("neon", "KDE neon", "Debian"),
    ("deepin", "Deepin", "Debian"),
    ("uos", "Uos", "Debian"),
    ("parrot", "Parrot", "Debian"),
    ("rhel", "RedHat", "RedHat"),
    ("centos", "CentOS", "RedHat"),
    ("fedora", "Fedora", "RedHat"),
    ("rocky", "Rocky", "RedHat"),
    ("almalinux", "AlmaLinux", "RedHat"),
    ("ol", "OracleLinux", "RedHat"),
    ("amzn", "Amazon", "RedHat"),
    ("scientific", "Scientific", "RedHat"),
    ("cloudlinux", "CloudLinux", "RedHat"),
    ("virtuozzo", "Virtuozzo", "RedHat"),
    ("openeuler", "openEuler", "RedHat"),
    ("anolis", "Anolis", "RedHat"),
    ("kylin", "Kylin Linux Advanced Server", "RedHat"),
    ("alpine", "Alpine", "Alpine"),
    ("opensuse-leap", "openSUSE Leap", "Suse"),
    ("opensuse-tumbleweed", "openSUSE Tumbleweed", "Suse"),
    ("sles", "SLES", "Suse"),
    ("sled", "SLED", "Suse"),
    ("sles_sap", "SLES_SAP", "Suse"),
    ("arch", "Archlinux", "Archlinux"),
    ("manjaro", "Archlinux", "Archlinux"),
    ("antergos", "Antergos", "Archlinux"),
    ("gentoo", "Gentoo", "Gentoo"),
    ("flatcar", "Flatcar", "Flatcar"),
    ("coreos", "CoreOS", "CoreOS"),
    ("clear-linux-os", "Clear Linux OS", "ClearLinux"),
];

/// One distribution, as facts.
struct Found {
    name: String,
    family: String,
    version: String,
    release: String,
    path: Option<&'static str>,
    variety: Option<&'static str>,
    parsed: bool,
    search: Option<&'static str>,
    minor: Option<String>,
    major: Option<String>,
}

pub(super) fn add(seen: &Seen, subset: &Subset, facts: &mut Facts) {
    if !subset.has("distribution") {
        return;
    }
    let found = find(seen);
    let major = found.major.unwrap_or_else(|| found.version.split('.').next().unwrap_or_default().to_owned());
    let mut set = |name: &str, value: Json| {
        facts.insert(name.to_owned(), value);
    };
    set("os_family", json!(found.family));
    set("distribution", json!(found.name));
    set("distribution_version", json!(found.version));
    set("distribution_release", json!(found.release));
    set("distribution_major_version", json!(major));
    if let Some(path) = found.path {
        set("distribution_file_path", json!(path));
    }
    if let Some(variety) = found.variety {
        set("distribution_file_variety", json!(variety));
    }
    if found.parsed {
        set("distribution_file_parsed", json!(true));
    }
    if let Some(search) = found.search {
        set("distribution_file_search_string", json!(search));
    }
    if let Some(minor) = found.minor {
        set("distribution_minor_version", json!(minor));
    }
}

/// `Name release 9.3 (Code)`: the version and the code name.
fn release_line(line: &str) -> (String, String) {
    let version = line.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("NA");
    let version = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let code = line.split_once('(').and_then(|(_, r)| r.split_once(')')).map(|(c, _)| c);
    (version, code.unwrap_or("NA").to_owned())
}

fn find(seen: &Seen) -> Found {
    let file = if seen.lines("/etc/os-release").is_empty() { "/usr/lib/os-release" } else { "/etc/os-release" };
    let of = |key: &str| {
        let found = seen.lines(file).iter().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='));
        found.map(|v| v.trim().trim_matches(['"', '\'']).to_owned())
    };
    let id = of("ID").unwrap_or_default();
    let given = of("NAME").unwrap_or_else(|| "NA".into());
    let (name, family) = KNOWN
        .iter()
        .find(|(i, ..)| *i == id)
        .map_or_else(|| (given.clone(), given.clone()), |(_, n, f)| ((*n).to_owned(), (*f).to_owned()));
    let version = of("VERSION_ID").unwrap_or_else(|| "NA".into());
    let mut found = Found {
        name,
        version,
        release: "NA".into(),
        path: Some("/etc/os-release"),
        variety: Some("NA"),
        parsed: true,
        search: None,
        minor: None,
        major: None,
        family,
    };
    match found.family.as_str() {
        "Debian" => debian(seen, &id, of("VERSION_CODENAME"), &mut found),
        "RedHat" if id == "amzn" => {
            found.variety = Some("Amazon");
            let minor = found.version.split('.').nth(1).unwrap_or("NA").to_owned();
            found.minor = Some(minor);
        }
        "RedHat" => redhat(seen, &id, of("VERSION_CODENAME"), &mut found),
        "Alpine" => {
            found.variety = Some("Alpine");
            if let Some(version) = seen.line("/etc/alpine-release") {
                found.path = Some("/etc/alpine-release");
                found.version = version.to_owned();
            }
        }
        "Suse" => {
            found.variety = Some("SUSE");
            let service_pack = found.version.split('.').nth(1).unwrap_or(if id.starts_with("sle") { "0" } else { "" });
            found.release = service_pack.to_owned();
        }
        "Archlinux" => {
            found.path = Some("/etc/arch-release");
            found.variety = Some("Archlinux");
            found.parsed = false;
        }
        "Flatcar" => found.variety = Some("Flatcar"),
        "ClearLinux" => found.variety = Some("ClearLinux"),
        _ => {}
    }
    found
}

fn debian(seen: &Seen, id: &str, code: Option<String>, found: &mut Found) {
    found.variety = Some("Debian");
    found.release = code.filter(|c| !c.is_empty()).unwrap_or_else(|| "NA".into());
    let own = seen.line("/etc/debian_version").unwrap_or_default().to_owned();
    if matches!(id, "debian" | "raspbian") && !own.is_empty() {
        if id == "debian" {
            found.version.clone_from(&own);
        }
        if own.contains('/') {
            found.major = Some(own);
        } else if let Some((_, minor)) = own.split_once('.') {
            found.minor = Some(minor.to_owned());
        }
    }
}

fn redhat(seen: &Seen, id: &str, code: Option<String>, found: &mut Found) {
    let line = |file: &str| seen.line(file).map(str::to_owned);
    if let Some(l) = line("/etc/oracle-release") {
        found.path = Some("/etc/oracle-release");
        found.variety = Some("OracleLinux");
        found.search = Some("Oracle Linux");
        found.version = release_line(&l).0;
    } else if let Some(l) = line("/etc/centos-release").filter(|l| l.contains("CentOS Stream")) {
        found.path = Some("/etc/centos-release");
        found.variety = Some("CentOS");
        found.version = release_line(&l).0;
        found.release = "Stream".into();
    } else if let Some(l) = line("/etc/redhat-release") {
        found.path = Some("/etc/redhat-release");
        found.variety = Some("RedHat");
        let (version, named) = release_line(&l);
        found.version = version;
        found.release = code.unwrap_or(named);
        if l.contains("Red Hat") {
            found.search = Some("Red Hat");
        }
    }
    if id == "rhel" && found.search.is_none() {
        found.variety = Some("RedHat");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    /// Each case: the files, and what ansible-core 2.18 gave for them.
    #[test]
    fn distributions_are_named_as_ansible_names_them() {
        let cases: Json = serde_json::from_str(include_str!("distributions.json")).unwrap();
        for (name, case) in cases.as_object().unwrap() {
            let mark = "0123456789abcdef0123456789abcdef";
            let mut out = format!("{mark}\n\n{mark} files\n");
            for (path, text) in case["files"].as_object().unwrap() {
                for line in text.as_str().unwrap().lines() {
                    out.push_str(&format!("{path}:{line}\n"));
                }
            }
            out.push_str(&format!("\n{mark} flags\n\n{mark} end\n"));
            let subset = Subset::of(&["!all", "!min", "distribution"].map(str::to_owned)).unwrap();
            let mut facts = Facts::new();
            add(&Seen::of(out.as_bytes()).unwrap(), &subset, &mut facts);
            assert_eq!(Json::Object(facts), case["facts"], "{name}");
        }
    }
}
