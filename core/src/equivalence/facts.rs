//! What was read of a system, before numbers have names.

use std::collections::BTreeMap;

use crate::equivalence::{Contents, FileEntry, GroupEntry, UserEntry};

/// Files of a system as they stand in it, and the rest as whoever read it has found it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) os_release: String,
    pub(super) passwd: String,
    pub(super) group: String,
    /// The kind of each user's password: hashes stay where they are.
    pub(super) passwords: BTreeMap<String, String>,
    /// `name:architecture` and version.
    pub(super) packages: BTreeMap<String, String>,
    /// By path, with owners as numbers.
    pub(super) files: BTreeMap<String, FileEntry>,
}

impl Facts {
    pub(super) fn into_contents(self) -> Contents {
        let mut contents = Contents { packages: self.packages, files: self.files, ..Contents::default() };
        for line in self.os_release.lines() {
            let value = |v: &str| v.trim_matches(['"', '\'']).to_owned();
            match line.split_once('=') {
                Some(("ID", v)) => contents.distribution = value(v),
                Some(("VERSION_ID", v)) => contents.version = value(v),
                _ => {}
            }
        }
        for line in self.passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { continue };
            let user = UserEntry {
                uid: (*uid).to_owned(),
                gid: (*gid).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
                password: self.passwords.get(*name).cloned().unwrap_or_default(),
            };
            contents.users.insert((*name).to_owned(), user);
        }
        for line in self.group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields.as_slice() else { continue };
            let mut members: Vec<String> = members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
            members.sort();
            contents.groups.insert((*name).to_owned(), GroupEntry { gid: (*gid).to_owned(), members });
        }
        let owners: BTreeMap<&String, &String> = contents.users.iter().map(|(name, u)| (&u.uid, name)).collect();
        let groups: BTreeMap<&String, &String> = contents.groups.iter().map(|(name, g)| (&g.gid, name)).collect();
        for file in contents.files.values_mut() {
            for (names, id) in [(&owners, &mut file.owner), (&groups, &mut file.group)] {
                if let Some(name) = names.get(id) {
                    (*name).clone_into(id);
                }
            }
        }
        contents.units = units(&contents.files);
        contents
    }
}

/// What systemd would do, as the links say that `systemctl enable` and `mask` make.
fn units(files: &BTreeMap<String, FileEntry>) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    for (path, file) in files {
        let Some(below) = path.strip_prefix("/etc/systemd/system/") else { continue };
        let Some(target) = &file.target else { continue };
        match below.split_once('/') {
            None if target == "/dev/null" => drop(units.insert(below.to_owned(), "masked".to_owned())),
            Some((folder, unit)) if folder.ends_with(".wants") || folder.ends_with(".requires") => {
                units.entry(unit.to_owned()).or_insert_with(|| "enabled".to_owned());
            }
            _ => {}
        }
    }
    units
}
