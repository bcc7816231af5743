//! A tree as it came from a host, and its normal form: the same tree gives the same bytes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::exclude::Selection;

/// Names with which an image layer says that something below it is gone. Source: OCI image specification, "Whiteouts".
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The entries of a tree by path; their content is in the spool.
#[derive(Debug)]
pub(super) struct Tree {
    spool: File,
    nodes: BTreeMap<Vec<u8>, Node>,
    keep_owners: bool,
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    owner: (u64, u64),
}

#[derive(Debug, Clone)]
enum Kind {
    Folder,
    File {
        at: u64,
        len: u64,
    },
    Symlink(Vec<u8>),
    /// Another name of an entry that came earlier.
    Link(Vec<u8>),
    Fifo,
    Device(EntryType, u32, u32),
}

impl Tree {
    /// Reads the index of archives that stand one after the other in `spool`.
    pub(super) fn read(spool: File, selection: &Selection, keep_owners: bool) -> io::Result<Self> {
        let mut nodes = BTreeMap::new();
        let mut archive = tar::Archive::new(&spool);
        archive.set_ignore_zeros(true);
        (&spool).seek(SeekFrom::Start(0))?;
        for entry in archive.entries_with_seek()? {
            let mut entry = entry?;
            let opaque = is_opaque(&mut entry)?;
            let Some(path) = clean(&entry.path_bytes()) else { continue };
            let header = entry.header();
            let owner = (header.uid().unwrap_or_default(), header.gid().unwrap_or_default());
            let mode = header.mode()? & 0o7777;
            let target = || entry.link_name_bytes().map(|l| l.into_owned()).unwrap_or_default();
            let device = || {
                (header.device_major().ok().flatten().unwrap_or(0), header.device_minor().ok().flatten().unwrap_or(0))
            };
            let kind = match header.entry_type() {
                EntryType::Directory => Kind::Folder,
                EntryType::Regular | EntryType::Continuous => {
                    Kind::File { at: entry.raw_file_position(), len: entry.size() }
                }
                EntryType::Symlink => Kind::Symlink(target()),
                EntryType::Link => Kind::Link(clean(&target()).unwrap_or_default()),
                EntryType::Fifo => Kind::Fifo,
                EntryType::Char if device() == (0, 0) => {
                    nodes.insert(beside(&path, |name| [WHITEOUT, name].concat()), Node::marker());
                    continue;
                }
                kind @ (EntryType::Char | EntryType::Block) => Kind::Device(kind, device().0, device().1),
                other => return Err(io::Error::other(format!("an entry of the unknown type {other:?}"))),
            };
            if opaque {
                nodes.insert([path.as_slice(), b"/", OPAQUE].concat(), Node::marker());
            }
            nodes.insert(path, Node { kind, mode, owner });
        }
        let mut this = Self { spool, nodes, keep_owners };
        this.settle_links()?;
        // Only now, since a name that is left out may hold the content of one that is not.
        this.nodes.retain(|path, node| {
            let shown = String::from_utf8_lossy(path);
            selection.takes(&format!("/{shown}"), matches!(node.kind, Kind::Folder))
        });
        this.lead_links_to_first();
        Ok(this)
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Gives every name of a file its content: which of them comes first depends on the order of folders on the disk.
    fn settle_links(&mut self) -> io::Result<()> {
        let links: Vec<(Vec<u8>, Vec<u8>)> = self
            .nodes
            .iter()
            .filter_map(|(path, node)| match &node.kind {
                Kind::Link(to) => Some((path.clone(), to.clone())),
                _ => None,
            })
            .collect();
        for (path, to) in links {
            let Some(real) = self.nodes.get(&to).filter(|n| !matches!(n.kind, Kind::Link(_))).cloned() else {
                let name = String::from_utf8_lossy(&path).into_owned();
                return Err(io::Error::other(format!("/{name} is a link to a file that is not in the archive")));
            };
            self.nodes.insert(path, real);
        }
        Ok(())
    }

    /// Makes all names of a file but the first one links to that.
    fn lead_links_to_first(&mut self) {
        let mut first: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (path, node) in &mut self.nodes {
            // Where the content is in the spool tells files apart: empty ones have their places too, markers have none.
            if let Kind::File { at: at @ 1.., .. } = node.kind {
                match first.get(&at) {
                    Some(name) => node.kind = Kind::Link(name.clone()),
                    None => {
                        first.insert(at, path.clone());
                    }
                }
            }
        }
    }

    /// Writes it in its normal form: sorted by path, times 1970-01-01, owners 0 unless they are kept.
    pub(super) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut builder = tar::Builder::new(out);
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            header.set_mode(node.mode);
            let (uid, gid) = if self.keep_owners { node.owner } else { (0, 0) };
            header.set_uid(uid);
            header.set_gid(gid);
            header.set_size(0);
            let path = Path::new(OsStr::from_bytes(path));
            match &node.kind {
                Kind::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    builder.append_data(&mut header, path.join(""), io::empty())?;
                }
                Kind::File { at, len } => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(*len);
                    let mut spool = &self.spool;
                    spool.seek(SeekFrom::Start(*at))?;
                    builder.append_data(&mut header, path, spool.take(*len))?;
                }
                Kind::Symlink(to) | Kind::Link(to) => {
                    let link = matches!(node.kind, Kind::Link(_));
                    header.set_entry_type(if link { EntryType::Link } else { EntryType::Symlink });
                    builder.append_link(&mut header, path, Path::new(OsStr::from_bytes(to)))?;
                }
                Kind::Fifo => {
                    header.set_entry_type(EntryType::Fifo);
                    builder.append_data(&mut header, path, io::empty())?;
                }
                Kind::Device(kind, major, minor) => {
                    header.set_entry_type(*kind);
                    header.set_device_major(*major)?;
                    header.set_device_minor(*minor)?;
                    builder.append_data(&mut header, path, io::empty())?;
                }
            }
        }
        builder.into_inner()?.flush()
    }
}

impl Node {
    fn marker() -> Self {
        Self { kind: Kind::File { at: 0, len: 0 }, mode: 0o600, owner: (0, 0) }
    }
}

/// The path without `./` in front and `/` behind; `None` for the root itself.
fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

fn beside(path: &[u8], name: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let at = path.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
    let (folder, last) = path.split_at(at);
    [folder, &name(last)].concat()
}

fn is_opaque<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == b"SCHILY.xattr.user.overlay.opaque" {
            return Ok(extension.value_bytes() == b"y");
        }
    }
    Ok(false)
}

/// Passes bytes on and computes their digest.
#[derive(Debug)]
pub(super) struct Digesting<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Digesting<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, digest: Sha256::new() }
    }

    /// What it passed on to, and the digest as hex.
    pub(super) fn finish(self) -> (W, String) {
        (self.to, hex::encode(self.digest.finalize()))
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
