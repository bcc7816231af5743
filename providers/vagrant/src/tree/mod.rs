//! A whole root tree as it came from a host, in its normal form: the same tree gives the same bytes.

mod edit;
mod read;
mod rules;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use sha2::{Digest as _, Sha256};

pub(crate) use self::rules::{LEFT_OUT, Rules};

/// The entries by path, without a slash in front; the root's is empty. Contents are in the spool.
#[derive(Debug)]
pub(crate) struct Tree {
    spool: File,
    nodes: BTreeMap<Vec<u8>, Node>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970, none later than the rules' epoch.
    pub(crate) time: u32,
    /// Extended attributes, by their whole names.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File(Content),
    Symlink(Vec<u8>),
    /// Another name of the file at this path. Only after [`Tree::finish`].
    Link(Vec<u8>),
    Fifo,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

/// Where a file's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// In the spool. The place is the file's identity: two names with the same are one file.
    Spool { at: u64, len: u64 },
    /// Here: it was made by us.
    Bytes(Vec<u8>),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Spool { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

impl Tree {
    pub(crate) fn nodes(&self) -> &BTreeMap<Vec<u8>, Node> {
        &self.nodes
    }

    /// Bytes of all files, for the size of the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.nodes.values().map(|n| if let Kind::File(content) = &n.kind { content.len() } else { 0 }).sum()
    }

    /// Fills `out` with content from `from` on.
    pub(crate) fn read(&self, content: &Content, from: u64, out: &mut [u8]) -> io::Result<()> {
        match content {
            Content::Spool { at, .. } => self.spool.read_exact_at(out, at + from),
            Content::Bytes(bytes) => {
                let from = usize::try_from(from).map_err(io::Error::other)?;
                let part = bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
                out.copy_from_slice(part);
                Ok(())
            }
        }
    }

    /// Names beside the first of each file, with the first.
    fn second_names(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut first: BTreeMap<u64, &Vec<u8>> = BTreeMap::new();
        let mut names = Vec::new();
        for (path, node) in &self.nodes {
            if let Kind::File(Content::Spool { at, .. }) = node.kind {
                match first.get(&at) {
                    Some(name) => names.push((path.clone(), (*name).clone())),
                    None => {
                        first.insert(at, path);
                    }
                }
            }
        }
        names
    }

    /// Makes all names of a file but the first one links to that. The last edit before it is written.
    pub(crate) fn finish(&mut self) {
        for (path, to) in self.second_names() {
            if let Some(node) = self.nodes.get_mut(&path) {
                node.kind = Kind::Link(to);
            }
        }
    }

    /// The digest of all of it.
    pub(crate) fn digest(&self) -> io::Result<[u8; 32]> {
        let links: BTreeMap<_, _> = self.second_names().into_iter().collect();
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let text = |digest: &mut Sha256, bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        for (path, node) in &self.nodes {
            text(&mut digest, path);
            for number in [node.mode, node.uid, node.gid, node.time] {
                digest.update(number.to_le_bytes());
            }
            digest.update((node.attributes.len() as u64).to_le_bytes());
            for (name, value) in &node.attributes {
                text(&mut digest, name);
                text(&mut digest, value);
            }
            if let Some(to) = links.get(path) {
                digest.update(b"l");
                text(&mut digest, to);
                continue;
            }
            match &node.kind {
                Kind::Folder => digest.update(b"d"),
                Kind::Symlink(to) => {
                    digest.update(b"s");
                    text(&mut digest, to);
                }
                Kind::Link(to) => {
                    digest.update(b"l");
                    text(&mut digest, to);
                }
                Kind::Fifo => digest.update(b"p"),
                Kind::Device { block, major, minor } => {
                    digest.update(if *block { b"b" } else { b"c" });
                    digest.update(major.to_le_bytes());
                    digest.update(minor.to_le_bytes());
                }
                Kind::File(content) => {
                    digest.update(b"f");
                    digest.update(content.len().to_le_bytes());
                    let mut done = 0;
                    while done < content.len() {
                        let piece = usize::try_from(content.len() - done).unwrap_or(buffer.len()).min(buffer.len());
                        let part = buffer.get_mut(..piece).unwrap_or_default();
                        self.read(content, done, part)?;
                        digest.update(part);
                        done += piece as u64;
                    }
                }
            }
        }
        Ok(digest.finalize().into())
    }
}
