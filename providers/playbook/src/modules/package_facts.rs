//! `package_facts`.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use towpath_core::Json;

use super::spec::Rules;
use super::steps::{PATHS, no_program};
use super::{Call, Decided, Decision, Fields, Module, Place, fields};

/// `package_facts`.
pub(super) const MODULE: Module =
    Module { names: &["package_facts"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// A manager of packages.
struct Manager {
    name: &'static str,
    /// Names that mean the same; nothing is said where one of them can't be used.
    aliases: &'static [&'static str],
    /// Without it, the manager is not there.
    program: &'static str,
    list: &'static str,
    /// One package of each line, or of what the program prints for each. `Err` names what is missing.
    read: fn(&str) -> Result<Vec<Fields>, String>,
}

/// In the order in which they are looked for. Ansible has them in a set, whose order is another one in each run.
static ALL: [Manager; 7] = [
    Manager { name: "apt", aliases: &[], program: "dpkg-query", list: APT, read: apt },
    Manager { name: "rpm", aliases: &["dnf", "dnf5", "yum", "zypper"], program: "rpm", list: RPM, read: rpm },
    Manager { name: "apk", aliases: &[], program: "apk", list: "apk info -v\n", read: apk },
    Manager { name: "pkg", aliases: &["pkg5", "pkgng"], program: "pkg", list: PKG, read: pkg },
    Manager { name: "pkg_info", aliases: &["openbsd_pkg"], program: "pkg_info", list: "pkg_info -a\n", read: pkg_info },
    Manager { name: "portage", aliases: &[], program: "qlist", list: "qatom $(qlist -Iv)\n", read: portage },
    Manager { name: "pacman", aliases: &[], program: "pacman", list: "LC_ALL=C pacman -Qi\n", read: pacman },
];

/// Where a version came from, only `apt-cache` knows: by the first of the indexes that have it.
const APT: &str = "echo \"native=$(dpkg --print-architecture)\"\nif command -v apt-cache >/dev/null 2>&1; then\n\
    LC_ALL=C apt-cache policy 2>/dev/null\nprintf '\\f\\n'\n\
    LC_ALL=C apt-cache policy $(dpkg-query -W -f '${Package}:${Architecture}\\n' | sed 's/:all$//') 2>/dev/null\nelse printf '\\f\\n'; fi\nprintf '\\f\\n'\n\
    dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Architecture}|${Version}|${Section}\\n'\n";
const PKG: &str = "pkg query '%n\t%v\t%R\t%t\t%a\t%q\t%o\t%p\t%V'\n";
const RPM: &str = "rpm -qa --qf '%{NAME}|%{VERSION}|%{RELEASE}|%{EPOCH}|%{ARCH}\\n'\n";

fn prepare(call: &Call) -> Decided {
    let mut wanted: Vec<String> = call.list("manager").unwrap_or_default();
    let known = |n: &String| n == "auto" || find(n).is_some();
    let other: Vec<&str> = wanted.iter().filter(|n| !known(n)).map(String::as_str).collect();
    if !other.is_empty() {
        return Err(format!("Unsupported package managers requested: {}", other.join(", ")));
    }
    let auto = wanted.iter().any(|w| w == "auto");
    if auto {
        wanted = ALL.iter().map(|m| m.name.to_owned()).collect();
    }
    let first = call.text("strategy").as_deref() != Some("all");
    // The mark is random, so that no description of a package can be taken for it.
    let mark = hex::encode(rand::random::<[u8; 16]>());
    let mut script = format!("{PATHS}printf '%s\\n' \"$PATH\"\n");
    for manager in wanted.iter().filter_map(|n| find(n)) {
        let end = if first { "exit 0\n" } else { "" };
        script.push_str(&format!(
            "if command -v {} >/dev/null 2>&1; then echo {mark}{}\n{}{end}fi\n",
            manager.program, manager.name, manager.list
        ));
    }
    script.push_str("exit 0\n");
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let text = out.text();
            let mut parts = text.split(&mark);
            let path = parts.next().unwrap_or_default().trim().to_owned();
            let parts: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('\n')).collect();
            Ok(Decision::Done(result(&wanted, auto, first, &path, &parts)))
        }),
    ))
}

fn find(name: &str) -> Option<&'static Manager> {
    ALL.iter().find(|m| m.name == name || m.aliases.contains(&name))
}

fn result(wanted: &[String], auto: bool, first: bool, path: &str, parts: &[(&str, &str)]) -> Fields {
    let mut warnings = Vec::new();
    let mut packages = Fields::new();
    let mut done = HashSet::new();
    for name in wanted {
        let Some(manager) = find(name) else { continue };
        let Some((_, listed)) = parts.iter().find(|(n, _)| *n == manager.name) else {
            if !auto && manager.name == name {
                let why = no_program(manager.program, path);
                warnings.push(format!("Requested package manager {name} was not usable by this module: {why}"));
            }
            continue;
        };
        if !done.insert(manager.name) {
            continue;
        }
        match (manager.read)(listed) {
            Ok(all) => {
                let mut these = Fields::new();
                for mut one in all {
                    one.insert("source".into(), manager.name.into());
                    let name = one.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
                    if let Json::Array(same) = these.entry(name).or_insert_with(|| json!([])) {
                        same.push(Json::Object(one));
                    }
                }
                // A name that two managers have is the later one's.
                packages.extend(these);
            }
            Err(what) => {
                warnings.push(format!("Failed to retrieve packages with {}: {what}", manager.name));
            }
        }
        if first {
            break;
        }
    }
    let mut result = fields([("changed", json!(false))]);
    if !warnings.is_empty() {
        result.insert("warnings".into(), json!(warnings));
    }
    if done.is_empty() {
        let names: Vec<String> = wanted.iter().map(|w| format!("'{w}'")).collect();
        let msg = format!(
            "Could not detect a supported package manager from the following list: [{}], or the required Python library is not installed. Check warnings for details.",
            names.join(", ")
        );
        return super::steps::failed(result, msg);
    }
    result.insert("ansible_facts".into(), json!({ "packages": packages }));
    result
}

/// `name-version-release`.
fn apk(text: &str) -> Result<Vec<Fields>, String> {
    let one = |line: &str| {
        let (name, version, release) = match line.rsplit_once('-').and_then(|(l, r)| Some((l.rsplit_once('-')?, r))) {
            Some(((name, version), release)) => (name, version, release),
            None => (line, "", ""),
        };
        fields([("name", json!(name)), ("version", json!(version)), ("release", json!(release))])
    };
    Ok(text.lines().filter(|l| !l.is_empty()).map(one).collect())
}

fn apt(text: &str) -> Result<Vec<Fields>, String> {
    let mut parts = text.split("\u{c}\n");
    let mut part = || parts.next().unwrap_or_default();
    let (indexes, versions, packages) = (part(), part(), part());
    // An index stands with its priority, then with what its publisher says of it.
    let mut origins: HashMap<&str, &str> = HashMap::new();
    let mut index = "";
    for line in indexes.lines() {
        let line = line.trim_start();
        if let Some(says) = line.strip_prefix("release ") {
            origins.insert(index, says.split(',').find_map(|w| w.strip_prefix("o=")).unwrap_or_default());
        } else if let Some((_, name)) = line.split_once(' ').filter(|(p, _)| p.parse::<i32>().is_ok()) {
            index = name;
        }
    }
    // Of each package: the index below the version that is marked as installed.
    let mut from: HashMap<&str, &str> = HashMap::new();
    let (mut name, mut marked) = ("", false);
    for line in versions.lines() {
        if let Some(n) = line.strip_suffix(':').filter(|l| !l.starts_with(' ')) {
            (name, marked) = (n, false);
        } else if line.starts_with(" *** ") {
            marked = true;
        } else if marked {
            let index = line.trim_start().split_once(' ').map_or("", |(_, i)| i);
            from.insert(name, origins.get(index).copied().unwrap_or_default());
            marked = false;
        }
    }
    let native = indexes.lines().find_map(|l| l.strip_prefix("native=")).unwrap_or_default();
    let one = |line: &str| {
        let mut words = line.split('|');
        let mut word = || words.next().unwrap_or_default();
        let (state, name, arch, version, section) = (word(), word(), word(), word(), word());
        // Not there at all, or only its settings.
        if matches!(state.get(1..2), None | Some("n" | "c")) {
            return None;
        }
        let full = format!("{name}:{arch}");
        let origin = from.get(name).or_else(|| from.get(full.as_str())).copied().unwrap_or_default();
        let name = if arch == native || arch == "all" { name } else { full.as_str() };
        Some(fields([
            ("name", json!(name)),
            ("version", json!(version)),
            ("arch", json!(arch)),
            ("category", json!(section)),
            ("origin", json!(origin)),
        ]))
    };
    Ok(packages.lines().filter_map(one).collect())
}

fn pacman(text: &str) -> Result<Vec<Fields>, String> {
    let mut all = Vec::new();
    for package in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let mut keys: Vec<(&str, String)> = Vec::new();
        for line in package.lines() {
            match line.split_once(" : ").filter(|_| !line.starts_with(' ')) {
                Some((key, value)) => keys.push((key.trim(), value.trim().to_owned())),
                None => {
                    if let Some((_, value)) = keys.last_mut() {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
            }
        }
        let get =
            |key: &str| keys.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str()).ok_or_else(|| format!("'{key}'"));
        let provides = match get("Provides")? {
            "None" => Json::Null,
            all => all.split_whitespace().filter_map(|p| p.split('=').next()).collect(),
        };
        all.push(fields([
            ("name", json!(get("Name")?)),
            ("version", json!(get("Version")?)),
            ("arch", json!(get("Architecture")?)),
            ("provides", provides),
        ]));
    }
    Ok(all)
}

/// FreeBSD's, in the columns of [`PKG`].
fn pkg(text: &str) -> Result<Vec<Fields>, String> {
    let one = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let [name, version, origin, time, automatic, abi, category, prefix, vital] = *words.as_slice() else {
            return fields([("name", json!(words.first()))]);
        };
        let (version, epoch) = match version.split_once(',') {
            Some((v, e)) => (v, json!(e)),
            None => (version, json!(0)),
        };
        let (version, revision) = version.split_once('_').unwrap_or((version, "0"));
        fields([
            ("name", json!(name)),
            ("version", json!(version)),
            ("revision", json!(revision)),
            ("port_epoch", epoch),
            ("origin", json!(origin)),
            ("installed", json!(time)),
            ("automatic", json!(automatic == "1")),
            ("arch", json!(abi.split(':').nth(2))),
            ("category", json!(category.split('/').next())),
            ("prefix", json!(prefix)),
            ("vital", json!(vital == "1")),
        ])
    };
    Ok(text.lines().filter(|l| !l.is_empty()).map(one).collect())
}

/// OpenBSD's: the version is what follows the last dash.
fn pkg_info(text: &str) -> Result<Vec<Fields>, String> {
    let one = |line: &str| {
        let full = line.split_whitespace().next()?;
        let (name, version) = full.rsplit_once('-').unwrap_or((full, ""));
        Some(fields([("name", json!(name)), ("version", json!(version))]))
    };
    Ok(text.lines().filter_map(one).collect())
}

/// Category, name, version and, if it has one, revision.
fn portage(text: &str) -> Result<Vec<Fields>, String> {
    let mut all = Vec::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let category = words.next();
        let name = words.next().ok_or("'name'")?;
        let mut one = fields([("category", json!(category)), ("name", json!(name)), ("version", json!(words.next()))]);
        one.extend(words.next().map(|r| ("ebuild_revision".to_owned(), json!(r))));
        all.push(one);
    }
    Ok(all)
}

fn rpm(text: &str) -> Result<Vec<Fields>, String> {
    let some = |w: &str| if w == "(none)" { Json::Null } else { json!(w) };
    let one = |line: &str| {
        let words: Vec<&str> = line.split('|').collect();
        let [name, version, release, epoch, arch] = *words.as_slice() else { return None };
        Some(fields([
            ("name", json!(name)),
            ("version", json!(version)),
            ("release", json!(release)),
            ("epoch", epoch.parse::<i64>().map_or(Json::Null, Json::from)),
            ("arch", some(arch)),
        ]))
    };
    Ok(text.lines().filter_map(one).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_that_of_the_first_index_with_the_installed_version() {
        let text = "native=amd64\nPackage files:\n 100 /var/lib/dpkg/status\n     release a=now\n 500 http://m bookworm/main amd64 Packages\n     \
            release v=12,o=Debian,a=stable\n     origin m\nPinned packages:\n\u{c}\na:\n  Installed: 1\n  Version table:\n     2 500\n        500 http://x y\n \
            *** 1 500\n        500 http://m bookworm/main amd64 Packages\n        100 /var/lib/dpkg/status\nb:i386:\n  Installed: 1\n *** 1 100\n        \
            100 /var/lib/dpkg/status\n\u{c}\nii |a|all|1|admin\nii |b|i386|1|libs\nrc |c|amd64|3|libs\n";
        let all = apt(text).unwrap();
        let seen: Vec<_> = all.iter().map(|p| (p["name"].clone(), p["origin"].clone())).collect();
        assert_eq!(seen, [(json!("a"), json!("Debian")), (json!("b:i386"), json!(""))]);
    }
}
