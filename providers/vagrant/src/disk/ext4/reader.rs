//! Reads a file system that was written here back into an archive of its tree, so that what is in a box is read from the box.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tar::{EntryType, Header};

use super::geometry::{BLOCK, Extent, GROUP_BLOCKS, GROUP_INODES, Geometry, INODE};
use super::superblock::is_ours;
use super::{INLINE, ROOT_INODE};

struct Reader<'a> {
    disk: &'a File,
    offset: u64,
    geometry: Geometry,
    /// The first name of each file that has several.
    names: BTreeMap<u32, Vec<u8>>,
}

/// An inode as it was read.
struct Found {
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    links: u16,
    map: Vec<u8>,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn u16_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, |b| u32::from(u16::from_le_bytes(b)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Writes the tree of the file system at `offset` as a tar archive.
///
/// # Errors
///
/// `InvalidData`: it was not written here, or is damaged.
pub(crate) fn to_tar(disk: &File, offset: u64, out: impl Write) -> io::Result<()> {
    let mut head = vec![0; 1024];
    disk.read_exact_at(&mut head, offset + 1024)?;
    let blocks = u32_at(&head, 4);
    if !is_ours(&head) {
        return Err(invalid("the disk has no file system that this builder made"));
    }
    let geometry = Geometry { blocks, groups: blocks.div_ceil(GROUP_BLOCKS) };
    let mut reader = Reader { disk, offset, geometry, names: BTreeMap::new() };
    let mut tar = tar::Builder::new(out);
    reader.folder(&mut tar, ROOT_INODE, &[])?;
    tar.into_inner()?.flush()
}

impl Reader<'_> {
    fn inode(&self, number: u32) -> io::Result<Found> {
        if number == 0 || number > self.geometry.groups * GROUP_INODES {
            return Err(invalid("a folder names an inode that is none"));
        }
        let mut bytes = vec![0; INODE as usize];
        self.disk.read_exact_at(&mut bytes, self.offset + self.geometry.inode_at(number))?;
        let half = |low, high| u16_at(&bytes, low) | (u16_at(&bytes, high) << 16);
        Ok(Found {
            mode: u16_at(&bytes, 0),
            uid: half(2, 120),
            gid: half(24, 122),
            size: u64::from(u32_at(&bytes, 4)) | (u64::from(u32_at(&bytes, 108)) << 32),
            links: u16_at(&bytes, 26) as u16,
            map: bytes.get(40..100).unwrap_or_default().to_vec(),
        })
    }

    fn block(&self, block: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; BLOCK as usize];
        self.disk.read_exact_at(&mut bytes, self.offset + u64::from(block) * BLOCK)?;
        Ok(bytes)
    }

    fn extents(&self, node: &[u8], levels: u8) -> io::Result<Vec<Extent>> {
        let (magic, count, depth) = (u16_at(node, 0), u16_at(node, 2) as usize, u16_at(node, 6));
        if magic != 0xf30a || 12 + count * 12 > node.len() || depth > 0 && levels == 0 {
            return Err(invalid("a file's list of extents is damaged"));
        }
        let mut extents = Vec::new();
        for at in (0..count).map(|n| 12 + n * 12) {
            if depth == 0 {
                extents.push(Extent { start: u32_at(node, at + 8), len: u16_at(node, at + 4) });
            } else {
                extents.extend(self.extents(&self.block(u32_at(node, at + 4))?, levels - 1)?);
            }
        }
        Ok(extents)
    }

    fn content(&self, found: &Found) -> io::Result<Content<'_>> {
        let extents = self.extents(&found.map, 1)?;
        let has: u64 = extents.iter().map(|e| u64::from(e.len) * BLOCK).sum();
        if has < found.size {
            return Err(invalid("a file is longer than its blocks"));
        }
        Ok(Content { disk: self.disk, offset: self.offset, extents, at: 0, left: found.size })
    }

    fn folder<W: Write>(&mut self, tar: &mut tar::Builder<W>, number: u32, path: &[u8]) -> io::Result<()> {
        let found = self.inode(number)?;
        if found.mode & 0o170_000 != 0o040_000 {
            return Err(invalid("a folder is none"));
        }
        let name = if path.is_empty() { b"./".to_vec() } else { [path, b"/"].concat() };
        append(tar, header(&found, EntryType::Directory), &name, &mut io::empty())?;
        let mut entries = Vec::new();
        self.content(&found)?.read_to_end(&mut entries)?;
        let mut at = 0;
        while at + 8 <= entries.len() {
            let (inode, len) = (u32_at(&entries, at), u16_at(&entries, at + 4) as usize);
            let name_len = entries.get(at + 6).copied().unwrap_or(0) as usize;
            let name = entries.get(at + 8..at + 8 + name_len).unwrap_or_default().to_vec();
            if len < 8 {
                return Err(invalid("a folder is damaged"));
            }
            at += len;
            // The file system's own, not the tree's.
            let own = path.is_empty() && name == b"lost+found";
            if inode != 0 && name != b"." && name != b".." && !own {
                let path = if path.is_empty() { name } else { [path, b"/", &name].concat() };
                self.entry(tar, inode, &path)?;
            }
        }
        Ok(())
    }

    fn entry<W: Write>(&mut self, tar: &mut tar::Builder<W>, number: u32, path: &[u8]) -> io::Result<()> {
        let found = self.inode(number)?;
        match found.mode & 0o170_000 {
            0o040_000 => self.folder(tar, number, path),
            0o100_000 => {
                if let Some(first) = self.names.get(&number) {
                    let mut header = header(&found, EntryType::Link);
                    return tar.append_link(&mut header, as_path(path), as_path(first));
                }
                if found.links > 1 {
                    self.names.insert(number, path.to_vec());
                }
                let mut header = header(&found, EntryType::Regular);
                header.set_size(found.size);
                append(tar, header, path, &mut self.content(&found)?)
            }
            0o120_000 => {
                let mut to = Vec::new();
                if found.size <= INLINE as u64 {
                    to.extend_from_slice(found.map.get(..found.size as usize).unwrap_or_default());
                } else {
                    self.content(&found)?.read_to_end(&mut to)?;
                }
                let mut header = header(&found, EntryType::Symlink);
                tar.append_link(&mut header, as_path(path), as_path(&to))
            }
            0o010_000 => append(tar, header(&found, EntryType::Fifo), path, &mut io::empty()),
            kind @ (0o020_000 | 0o060_000) => {
                let kind = if kind == 0o020_000 { EntryType::Char } else { EntryType::Block };
                append(tar, header(&found, kind), path, &mut io::empty())
            }
            _ => Err(invalid("an inode of a type that is not written here")),
        }
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn header(found: &Found, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(found.mode & 0o7777);
    header.set_uid(found.uid.into());
    header.set_gid(found.gid.into());
    header.set_size(0);
    header.set_mtime(0);
    header
}

fn append<W: Write>(tar: &mut tar::Builder<W>, mut header: Header, path: &[u8], from: &mut dyn Read) -> io::Result<()> {
    tar.append_data(&mut header, as_path(path), from)
}

/// A file's content.
struct Content<'a> {
    disk: &'a File,
    offset: u64,
    extents: Vec<Extent>,
    at: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut skip = self.at;
        for extent in &self.extents {
            let len = u64::from(extent.len) * BLOCK;
            if skip >= len {
                skip -= len;
                continue;
            }
            let most = (len - skip).min(self.left).min(out.len() as u64) as usize;
            let part = out.get_mut(..most).unwrap_or_default();
            self.disk.read_exact_at(part, self.offset + u64::from(extent.start) * BLOCK + skip)?;
            self.at += most as u64;
            self.left -= most as u64;
            return Ok(most);
        }
        Ok(0)
    }
}
