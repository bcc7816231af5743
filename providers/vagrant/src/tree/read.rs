//! Reads what the host's `tar` wrote.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use tar::EntryType;

use super::{Content, Kind, Node, Rules, Tree};

/// How extended attributes are called in archives. Source: GNU tar's manual, "Extended File Attributes".
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// An entry before its links are settled.
enum Found {
    Node(Node),
    Link(Vec<u8>),
}

impl Tree {
    /// Reads the index of archives that stand one after the other in `spool`.
    pub(crate) fn read_from(spool: File, rules: &Rules) -> io::Result<Self> {
        let mut found: BTreeMap<Vec<u8>, Found> = BTreeMap::new();
        let mut archive = tar::Archive::new(&spool);
        archive.set_ignore_zeros(true);
        (&spool).seek(SeekFrom::Start(0))?;
        for entry in archive.entries_with_seek()? {
            let mut entry = entry?;
            let (path, one) = read(&mut entry, rules)?;
            found.insert(path, one);
        }
        let mut nodes: BTreeMap<Vec<u8>, Node> = BTreeMap::new();
        for (path, one) in &found {
            // A name that is left out may hold the content of one that is not, so links are settled first.
            let node = match one {
                Found::Node(node) => node,
                Found::Link(to) => match found.get(to) {
                    Some(Found::Node(node)) => node,
                    _ => {
                        let name = String::from_utf8_lossy(path).into_owned();
                        return Err(io::Error::other(format!(
                            "/{name} is a link to a file that is not in the archive"
                        )));
                    }
                },
            };
            let shown = [b"/", path.as_slice()].concat();
            if path.is_empty() || rules.take(&shown, matches!(node.kind, Kind::Folder)) {
                nodes.insert(path.clone(), node.clone());
            }
        }
        let mut this = Self { spool, nodes };
        this.add_missing_folders(rules.epoch);
        Ok(this)
    }

    /// The root, and folders that a tar did not tell of.
    fn add_missing_folders(&mut self, epoch: u32) {
        let mut missing: Vec<Vec<u8>> = vec![Vec::new()];
        for path in self.nodes.keys() {
            let mut rest = path.as_slice();
            while let Some(at) = rest.iter().rposition(|b| *b == b'/') {
                rest = rest.get(..at).unwrap_or_default();
                missing.push(rest.to_vec());
            }
        }
        for path in missing {
            self.nodes.entry(path).or_insert_with(|| Node::folder(0o755, epoch));
        }
    }
}

fn read<R: Read>(entry: &mut tar::Entry<'_, R>, rules: &Rules) -> io::Result<(Vec<u8>, Found)> {
    let mut attributes = Vec::new();
    let (mut uid, mut gid) = (None, None);
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let number = || extension.value().ok().and_then(|v| v.parse::<u64>().ok());
            match extension.key_bytes() {
                b"uid" => uid = number(),
                b"gid" => gid = number(),
                key => {
                    if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                        attributes.push((name.to_vec(), extension.value_bytes().to_vec()));
                    }
                }
            }
        }
    }
    attributes.sort();
    let path = clean(&entry.path_bytes());
    let target = entry.link_name_bytes().map(|l| l.into_owned()).unwrap_or_default();
    let (at, len) = (entry.raw_file_position(), entry.size());
    let header = entry.header();
    let device = |block| -> io::Result<Kind> {
        let number = |n: io::Result<Option<u32>>| n.map(Option::unwrap_or_default);
        Ok(Kind::Device { block, major: number(header.device_major())?, minor: number(header.device_minor())? })
    };
    let kind = match header.entry_type() {
        EntryType::Directory => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File(Content::Spool { at, len }),
        EntryType::Symlink => Kind::Symlink(target),
        EntryType::Link => return Ok((path, Found::Link(clean(&target)))),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => device(false)?,
        EntryType::Block => device(true)?,
        other => return Err(io::Error::other(format!("an entry of the unknown type {other:?}"))),
    };
    let owner = |pax: Option<u64>, header: io::Result<u64>| -> io::Result<u32> {
        u32::try_from(pax.map_or(header, Ok)?).map_err(io::Error::other)
    };
    let time = header.mtime().ok().and_then(|t| u32::try_from(t).ok()).unwrap_or(rules.epoch).min(rules.epoch);
    let mode = header.mode()? & 0o7777;
    let (uid, gid) = (owner(uid, header.uid())?, owner(gid, header.gid())?);
    Ok((path, Found::Node(Node { mode, uid, gid, time, attributes, kind })))
}

/// The path without `./` in front and `/` behind; empty for the root itself.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    parts.join(&b'/')
}
