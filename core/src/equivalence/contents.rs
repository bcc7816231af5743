use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a system consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents {
    /// The distribution, as `/etc/os-release` names it: `debian`. Empty if there is no such file.
    pub distribution: String,
    /// Its version: `12`.
    pub version: String,
    /// Installed packages by `name:architecture`, and their versions.
    pub packages: BTreeMap<String, String>,
    /// Everything in the file system by its path, without what lives in memory only (`/proc`, `/sys`, `/dev`, `/run`, `/tmp`).
    pub files: BTreeMap<String, FileEntry>,
    /// Users by name.
    pub users: BTreeMap<String, UserEntry>,
    /// Groups by name: their numbers and members.
    pub groups: BTreeMap<String, GroupEntry>,
    /// Units of systemd that are switched on or masked, by name.
    pub units: BTreeMap<String, String>,
}

/// A file, folder, link or device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits in octal: `0644`.
    pub mode: String,
    /// The owner's name, or number if it has none.
    pub owner: String,
    /// The group's name, or number.
    pub group: String,
    /// Where a link points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// SHA-256 of a file's content, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
}

impl FileKind {
    /// Its name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Special => "special",
        }
    }
}

/// A user. Passwords are told apart by their kind only: two hashes of one password differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// The number.
    pub uid: String,
    /// The number of the first group.
    pub gid: String,
    /// The home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// `set`, `locked` or `none`; empty where there is no `/etc/shadow`.
    pub password: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// The number.
    pub gid: String,
    /// Members, sorted.
    pub members: Vec<String>,
}
