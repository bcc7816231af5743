//! Reads the contents of a system from a tar archive of its whole tree: an exported container, the tree of a disk.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Component;

use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::equivalence::facts::Facts;
use crate::equivalence::{Contents, FileEntry, FileKind};

/// What lives in memory only: the folders stay, what is in them does not count.
const IN_MEMORY: [&str; 5] = ["/proc/", "/sys/", "/dev/", "/run/", "/tmp/"];

/// A list of packages or users that is larger is none.
const LIMIT: u64 = 64 << 20;

impl Contents {
    /// Reads them from a tar archive of a whole tree, without running anything of it: what [`Contents::of`] would read from the same tree.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData): it is no archive, or ends in the middle; a link to a file that is not in it; a name with a line break.
    /// [`Unsupported`](io::ErrorKind::Unsupported): its packages are in a database of RPM, which only a running system can read.
    pub fn from_tar(mut archive: impl Read + Seek) -> io::Result<Self> {
        let mut facts = Facts::default();
        // Where each file's content is, in bytes, and how long.
        let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        for entry in tar::Archive::new(&mut archive).entries_with_seek()? {
            let mut entry = entry?;
            let Some(path) = clean(&entry.path_bytes()) else { continue };
            if path.contains('\n') {
                return Err(invalid(format!("a file's name holds a line break: {path:?}")));
            }
            if IN_MEMORY.iter().any(|folder| path.starts_with(folder)) {
                continue;
            }
            let header = entry.header();
            let mut file = FileEntry {
                kind: FileKind::Special,
                mode: format!("{:04o}", header.mode()? & 0o7777),
                owner: header.uid()?.to_string(),
                group: header.gid()?.to_string(),
                target: None,
                sha256: None,
            };
            let target =
                || entry.link_name_bytes().map(|l| String::from_utf8_lossy(&l).into_owned()).unwrap_or_default();
            match header.entry_type() {
                EntryType::Directory => file.kind = FileKind::Folder,
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    file.kind = FileKind::File;
                    places.insert(path.clone(), (entry.raw_file_position(), entry.size()));
                    let mut sha = Sha256::new();
                    let read = io::copy(&mut entry, &mut sha)?;
                    if read != entry.size() {
                        return Err(invalid(format!("the archive ends in the middle of {path}")));
                    }
                    file.sha256 = Some(hex::encode(sha.finalize()));
                }
                EntryType::Symlink => {
                    file.kind = FileKind::Link;
                    file.target = Some(target());
                }
                // Another name of an entry that came earlier.
                EntryType::Link => {
                    links.push((path, clean(target().as_bytes()).unwrap_or_default()));
                    continue;
                }
                EntryType::XGlobalHeader => continue,
                _ => {}
            }
            facts.files.insert(path, file);
        }
        for (path, to) in links {
            let Some(file) = facts.files.get(&to).cloned() else {
                return Err(invalid(format!("{path} is a link to {to}, which is not in the archive")));
            };
            if let Some(place) = places.get(&to).copied() {
                places.insert(path.clone(), place);
            }
            facts.files.insert(path, file);
        }
        let mut text = |path: &str| -> io::Result<Option<String>> {
            let Some((at, len)) = places.get(path).copied().filter(|(_, len)| *len <= LIMIT) else { return Ok(None) };
            archive.seek(SeekFrom::Start(at))?;
            let mut bytes = Vec::new();
            (&mut archive).take(len).read_to_end(&mut bytes)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        };
        facts.os_release = match text("/etc/os-release")? {
            Some(own) => own,
            None => text("/usr/lib/os-release")?.unwrap_or_default(),
        };
        facts.passwd = text("/etc/passwd")?.unwrap_or_default();
        facts.group = text("/etc/group")?.unwrap_or_default();
        facts.passwords = passwords(&text("/etc/shadow")?.unwrap_or_default());
        facts.packages = match (text("/var/lib/dpkg/status")?, text("/lib/apk/db/installed")?) {
            (Some(status), _) => of_dpkg(&status),
            (None, Some(installed)) => of_apk(&installed),
            (None, None) if ["/var/lib/rpm", "/usr/lib/sysimage/rpm"].iter().any(|p| facts.files.contains_key(*p)) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "its packages are in a database of RPM: read them from a running copy",
                ));
            }
            (None, None) => BTreeMap::new(),
        };
        Ok(facts.into_contents())
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// `./etc/motd` and `etc/motd` are `/etc/motd`. `None`: it leads out of the tree.
fn clean(name: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(name);
    let mut path = String::new();
    for part in std::path::Path::new(name.as_ref()).components() {
        match part {
            Component::Normal(part) => {
                path.push('/');
                path.push_str(&part.to_string_lossy());
            }
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

fn passwords(shadow: &str) -> BTreeMap<String, String> {
    let kind = |hash: &str| match hash.bytes().next() {
        None => "none",
        Some(b'!' | b'*') => "locked",
        Some(_) => "set",
    };
    let fields = shadow.lines().filter_map(|l| l.split_once(':'));
    fields.map(|(name, rest)| (name.to_owned(), kind(rest.split(':').next().unwrap_or_default()).to_owned())).collect()
}

/// Source: dpkg(1), "status": paragraphs of `Key: value`.
fn of_dpkg(status: &str) -> BTreeMap<String, String> {
    let mut packages = BTreeMap::new();
    for paragraph in status.split("\n\n") {
        let value = |key: &str| paragraph.lines().find_map(|l| l.strip_prefix(key)).map(str::trim).unwrap_or_default();
        if value("Status: ").ends_with(" installed") {
            let name = format!("{}:{}", value("Package: "), value("Architecture: "));
            packages.insert(name, value("Version: ").to_owned());
        }
    }
    packages
}

/// Source: Alpine Linux wiki, "Apk spec", the installed database: one letter, a colon, the value.
fn of_apk(installed: &str) -> BTreeMap<String, String> {
    let mut packages = BTreeMap::new();
    for paragraph in installed.split("\n\n") {
        let value = |key: &str| paragraph.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
        if !value("P:").is_empty() {
            packages.insert(format!("{}:{}", value("P:"), value("A:")), value("V:").to_owned());
        }
    }
    packages
}
