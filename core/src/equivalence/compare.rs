use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::equivalence::{AllowRule, Contents, FileKind};

/// How two systems differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivalence {
    /// What the first one is called.
    pub left: String,
    /// What the second one is called.
    pub right: String,
    /// How many packages, files, users, groups and units were compared.
    pub compared: usize,
    /// Differences that count, by subject.
    pub differences: Vec<Difference>,
    /// Differences that are allowed, by rule, as far as there are any.
    pub tolerated: Vec<Tolerated>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What differs: `file /etc/motd`, `package nginx:amd64`, `user www-data`, `unit nginx.service`.
    pub subject: String,
    /// Which property of it: `presence`, `content`, `mode`, ...
    pub property: String,
    /// What the first one has; `None`: nothing.
    pub left: Option<String>,
    /// What the second one has; `None`: nothing.
    pub right: Option<String>,
}

/// Differences that a rule allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerated {
    /// The rule.
    pub rule: AllowRule,
    /// How many.
    pub count: usize,
}

/// Several artifacts, each compared with the first one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EquivalenceReport {
    /// The comparisons.
    pub pairs: Vec<Equivalence>,
}

type Properties = BTreeMap<&'static str, String>;

impl Contents {
    /// Everything by its subject, with its properties.
    fn subjects(&self) -> BTreeMap<String, Properties> {
        let mut all = BTreeMap::new();
        all.insert(
            "system".to_owned(),
            Properties::from([("distribution", self.distribution.clone()), ("version", self.version.clone())]),
        );
        for (name, version) in &self.packages {
            all.insert(format!("package {name}"), Properties::from([("version", version.clone())]));
        }
        for (path, file) in &self.files {
            let mut properties = Properties::from([
                ("kind", file.kind.as_str().to_owned()),
                ("owner", file.owner.clone()),
                ("group", file.group.clone()),
            ]);
            // A link's own bits mean nothing, and kernels differ in them.
            if file.kind != FileKind::Link {
                properties.insert("mode", file.mode.clone());
            }
            properties.extend(file.target.clone().map(|t| ("target", t)));
            properties.extend(file.sha256.clone().map(|d| ("content", d)));
            all.insert(format!("file {path}"), properties);
        }
        for (name, user) in &self.users {
            let properties = [
                ("uid", &user.uid),
                ("gid", &user.gid),
                ("home", &user.home),
                ("shell", &user.shell),
                ("password", &user.password),
            ];
            all.insert(format!("user {name}"), properties.map(|(k, v)| (k, v.clone())).into());
        }
        for (name, group) in &self.groups {
            let properties = Properties::from([("gid", group.gid.clone()), ("members", group.members.join(","))]);
            all.insert(format!("group {name}"), properties);
        }
        for (name, state) in &self.units {
            all.insert(format!("unit {name}"), Properties::from([("state", state.clone())]));
        }
        all
    }
}

impl Equivalence {
    /// Compares two systems.
    pub fn of(left: (&str, &Contents), right: (&str, &Contents), allowed: &[AllowRule]) -> Self {
        let (a, b) = (left.1.subjects(), right.1.subjects());
        let subjects: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let mut differences = Vec::new();
        let mut counts = vec![0_usize; allowed.len()];
        let mut add = |subject: &str, property: &str, l: Option<&String>, r: Option<&String>| match allowed
            .iter()
            .position(|rule| rule.covers(subject, property))
        {
            Some(rule) => counts.iter_mut().skip(rule).take(1).for_each(|n| *n += 1),
            None => differences.push(Difference {
                subject: subject.to_owned(),
                property: property.to_owned(),
                left: l.cloned(),
                right: r.cloned(),
            }),
        };
        for subject in &subjects {
            match (a.get(*subject), b.get(*subject)) {
                (Some(l), Some(r)) => {
                    let names: BTreeSet<&&str> = l.keys().chain(r.keys()).collect();
                    for name in names.into_iter().filter(|n| l.get(**n) != r.get(**n)) {
                        add(subject, name, l.get(*name), r.get(*name));
                    }
                }
                (Some(l), None) => add(subject, "presence", Some(&short(l)), None),
                (None, Some(r)) => add(subject, "presence", None, Some(&short(r))),
                (None, None) => {}
            }
        }
        let tolerated = allowed.iter().zip(counts).filter(|(_, n)| *n > 0);
        Self {
            left: left.0.to_owned(),
            right: right.0.to_owned(),
            compared: subjects.len(),
            differences,
            tolerated: tolerated.map(|(rule, count)| Tolerated { rule: rule.clone(), count }).collect(),
        }
    }

    /// Whether no difference counts.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

fn short(properties: &Properties) -> String {
    properties.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
}

impl EquivalenceReport {
    /// Compares each of `systems` with the first one.
    pub fn of(systems: &[(String, Contents)], allowed: &[AllowRule]) -> Self {
        let Some(((name, first), rest)) = systems.split_first() else { return Self::default() };
        let pairs =
            rest.iter().map(|(other, contents)| Equivalence::of((name, first), (other, contents), allowed)).collect();
        Self { pairs }
    }

    /// Whether all are equal.
    pub fn is_equal(&self) -> bool {
        self.pairs.iter().all(Equivalence::is_equal)
    }
}

/// For people: a line for each pair, then its differences.
impl fmt::Display for Equivalence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tolerated: usize = self.tolerated.iter().map(|t| t.count).sum();
        let verdict =
            if self.is_equal() { "equal".to_owned() } else { format!("{} differences", self.differences.len()) };
        writeln!(f, "{} = {}: {verdict} ({} compared, {tolerated} allowed)", self.left, self.right, self.compared)?;
        for d in &self.differences {
            let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            writeln!(f, "  {}: {} {} | {}", d.subject, d.property, side(&d.left), side(&d.right))?;
        }
        for t in &self.tolerated {
            writeln!(f, "  allowed: {} x {} ({})", t.count, t.rule.subject, t.rule.reason)?;
        }
        Ok(())
    }
}

impl fmt::Display for EquivalenceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pairs.iter().try_for_each(|pair| pair.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::equivalence::{FileEntry, GroupEntry, UserEntry, usual_differences};

    fn system() -> Contents {
        let file = |kind, content: &str| FileEntry {
            kind,
            mode: "0644".into(),
            owner: "root".into(),
            group: "root".into(),
            target: None,
            sha256: (kind == FileKind::File).then(|| content.to_owned()),
        };
        let mut system = Contents { distribution: "debian".into(), version: "12".into(), ..Contents::default() };
        for i in 0..20 {
            system.packages.insert(format!("package{i}:amd64"), format!("{i}.0"));
            system.files.insert(format!("/etc/file{i}"), file(FileKind::File, &format!("digest {i}")));
            system.files.insert(format!("/srv/folder{i}"), file(FileKind::Folder, ""));
            let link = FileEntry { target: Some(format!("/etc/file{i}")), ..file(FileKind::Link, "") };
            system.files.insert(format!("/opt/link{i}"), link);
            let user = UserEntry {
                uid: format!("{}", 1000 + i),
                gid: format!("{}", 1000 + i),
                home: format!("/home/user{i}"),
                shell: "/bin/sh".into(),
                password: "locked".into(),
            };
            system.users.insert(format!("user{i}"), user);
            system.groups.insert(format!("group{i}"), GroupEntry { gid: format!("{}", 1000 + i), members: vec![] });
            system.units.insert(format!("unit{i}.service"), "enabled".into());
        }
        system
    }

    /// One difference of every kind, for every `i`: what is planted must be found, and nothing else.
    fn plant(system: &mut Contents, i: usize) -> (String, &'static str) {
        let file = |system: &mut Contents, change: fn(&mut FileEntry)| {
            change(system.files.get_mut(&format!("/etc/file{i}")).unwrap())
        };
        let user = |system: &mut Contents, change: fn(&mut UserEntry)| {
            change(system.users.get_mut(&format!("user{i}")).unwrap())
        };
        let (of_file, of_user) = (format!("file /etc/file{i}"), format!("user user{i}"));
        match i % 17 {
            0 => (file(system, |f| f.sha256 = Some("other".into())), (of_file, "content")).1,
            1 => (file(system, |f| f.mode = "0600".into()), (of_file, "mode")).1,
            2 => (file(system, |f| f.owner = "anna".into()), (of_file, "owner")).1,
            3 => (file(system, |f| f.group = "adm".into()), (of_file, "group")).1,
            4 => (system.files.remove(&format!("/etc/file{i}")), (of_file, "presence")).1,
            5 => {
                let new = system.files["/etc/file0"].clone();
                (system.files.insert(format!("/etc/new{i}"), new), (format!("file /etc/new{i}"), "presence")).1
            }
            6 => {
                system.files.get_mut(&format!("/opt/link{i}")).unwrap().target = Some("/elsewhere".into());
                (format!("file /opt/link{i}"), "target")
            }
            7 => {
                system.files.get_mut(&format!("/srv/folder{i}")).unwrap().kind = FileKind::Special;
                (format!("file /srv/folder{i}"), "kind")
            }
            8 => {
                (
                    system.packages.insert(format!("package{i}:amd64"), "9".into()),
                    (format!("package package{i}:amd64"), "version"),
                )
                    .1
            }
            9 => {
                (
                    system.packages.remove(&format!("package{i}:amd64")),
                    (format!("package package{i}:amd64"), "presence"),
                )
                    .1
            }
            10 => (user(system, |u| u.uid = "7".into()), (of_user, "uid")).1,
            11 => (user(system, |u| u.shell = "/bin/bash".into()), (of_user, "shell")).1,
            12 => (user(system, |u| u.password = "set".into()), (of_user, "password")).1,
            13 => {
                system.groups.get_mut(&format!("group{i}")).unwrap().members.push("anna".into());
                (format!("group group{i}"), "members")
            }
            14 => {
                (
                    system.units.insert(format!("unit{i}.service"), "masked".into()),
                    (format!("unit unit{i}.service"), "state"),
                )
                    .1
            }
            15 => (system.units.remove(&format!("unit{i}.service")), (format!("unit unit{i}.service"), "presence")).1,
            _ => (user(system, |u| u.home = "/".into()), (of_user, "home")).1,
        }
    }

    #[test]
    fn what_is_planted_is_found_and_nothing_else() {
        let base = system();
        for i in 0..20 {
            let mut other = base.clone();
            let (subject, property) = plant(&mut other, i);
            for (left, right) in [(&base, &other), (&other, &base)] {
                let found = Equivalence::of(("a", left), ("b", right), &usual_differences());
                let found: Vec<_> =
                    found.differences.iter().map(|d| (d.subject.as_str(), d.property.as_str())).collect();
                assert_eq!(found, [(subject.as_str(), property)], "planted {i}");
            }
        }
        let mut all = base.clone();
        let mut planted: Vec<_> = (0..20).map(|i| plant(&mut all, i)).collect();
        planted.sort();
        let found = Equivalence::of(("a", &base), ("b", &all), &[]);
        let found: Vec<_> = found.differences.iter().map(|d| (d.subject.clone(), d.property.clone())).collect();
        let planted: Vec<_> = planted.into_iter().map(|(s, p)| (s, p.to_owned())).collect();
        assert_eq!(found.iter().collect::<BTreeSet<_>>(), planted.iter().collect::<BTreeSet<_>>());
        assert!(Equivalence::of(("a", &base), ("b", &base), &[]).is_equal());
    }

    #[test]
    fn an_allowed_difference_is_counted_with_its_reason() {
        let (a, mut b) = (system(), system());
        let rule = AllowRule::new("file /etc/file3", "made anew each time").only("content");
        b.files.get_mut("/etc/file3").unwrap().sha256 = Some("other".into());
        let found = Equivalence::of(("box", &a), ("image", &b), std::slice::from_ref(&rule));
        assert_eq!((found.is_equal(), &found.tolerated), (true, &vec![Tolerated { rule: rule.clone(), count: 1 }]));
        assert!(
            found.to_string().contains("box = image: equal") && found.to_string().contains("made anew each time"),
            "{found}"
        );
        b.files.get_mut("/etc/file3").unwrap().mode = "0600".into();
        assert!(!Equivalence::of(("a", &a), ("b", &b), &[rule]).is_equal(), "its mode is another matter");
    }

    #[test]
    fn the_report_is_the_same_every_time() {
        let (a, mut b) = (system(), system());
        plant(&mut b, 4);
        let systems = [("ami".to_owned(), a.clone()), ("box".to_owned(), b), ("image".to_owned(), a)];
        let first = EquivalenceReport::of(&systems, &usual_differences());
        assert!(!first.is_equal() && first.pairs[1].is_equal());
        for _ in 0..20 {
            let again = EquivalenceReport::of(&systems, &usual_differences());
            assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&first).unwrap());
            assert_eq!(again.to_string(), first.to_string());
        }
    }
}
