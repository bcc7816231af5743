//! Inodes and what hangs on them: extents, folders' entries, attributes.

use std::io;

use super::bytes::{Bytes, high, low};
use super::geometry::{BLOCK, Extent, INODE};

const EXTENTS_FLAG: u32 = 0x0008_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
/// Extents, or leaves, that an inode itself holds.
const IN_INODE: usize = 4;
/// Extents of a leaf: a block without its head.
const IN_LEAF: usize = (BLOCK as usize - 12) / 12;

/// An inode before it is written.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u16,
    pub(super) time: u32,
    /// Blocks that belong to it, those of attributes and leaves among them.
    pub(super) blocks: u32,
    pub(super) attributes: u32,
    pub(super) map: Map,
}

/// What is in an inode's 60 bytes.
#[derive(Debug, Clone)]
pub(super) enum Map {
    /// Extents; with more than four, the blocks that hold them.
    Extents(Vec<Extent>, Vec<u32>),
    /// A short link's target.
    Inline(Vec<u8>),
    /// A device's number.
    Device(u32, u32),
    /// A fifo has none.
    Empty,
}

fn extent_head(out: &mut Bytes, entries: usize, max: usize, depth: u16) {
    out.u16(0, EXTENT_MAGIC);
    out.u16(2, entries as u16);
    out.u16(4, max as u16);
    out.u16(6, depth);
}

/// Extents one after the other, the first of them at block `logical` of the file. Gives the block after them.
fn put_extents(out: &mut Bytes, extents: &[Extent], mut logical: u32) -> u32 {
    for (n, extent) in extents.iter().enumerate() {
        let at = 12 + n * 12;
        out.u32(at, logical);
        out.u16(at + 4, extent.len as u16);
        out.u32(at + 8, extent.start);
        logical += extent.len;
    }
    logical
}

/// How many leaves this many extents need; more than four levels deep files are not made here.
pub(super) fn leaves(extents: usize) -> io::Result<u32> {
    match extents {
        0..=IN_INODE => Ok(0),
        n if n.div_ceil(IN_LEAF) <= IN_INODE => Ok(n.div_ceil(IN_LEAF) as u32),
        _ => Err(io::Error::other("a file is larger than 160 GiB")),
    }
}

/// The leaves' blocks, and their content.
pub(super) fn leaf_blocks(extents: &[Extent]) -> Vec<Vec<u8>> {
    let mut logical = 0;
    let of = |part: &[Extent]| {
        let mut block = Bytes::zeroes(BLOCK as usize);
        extent_head(&mut block, part.len(), IN_LEAF, 0);
        logical = put_extents(&mut block, part, logical);
        block.0
    };
    extents.chunks(IN_LEAF).map(of).collect()
}

impl Map {
    /// The 60 bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Bytes::zeroes(60);
        match self {
            Self::Extents(extents, leaves) if leaves.is_empty() => {
                extent_head(&mut out, extents.len(), IN_INODE, 0);
                put_extents(&mut out, extents, 0);
            }
            Self::Extents(extents, leaves) => {
                extent_head(&mut out, leaves.len(), IN_INODE, 1);
                let mut logical = 0;
                for (n, (leaf, part)) in leaves.iter().zip(extents.chunks(IN_LEAF)).enumerate() {
                    out.u32(12 + n * 12, logical);
                    out.u32(16 + n * 12, *leaf);
                    logical += part.iter().map(|e| e.len).sum::<u32>();
                }
            }
            Self::Inline(target) => out.put(0, target),
            // The old form where it fits, as the kernel does.
            Self::Device(major, minor) if *major < 256 && *minor < 256 => out.u32(0, (major << 8) | minor),
            Self::Device(major, minor) => out.u32(4, (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)),
            Self::Empty => {}
        }
        out.0
    }
}

impl Inode {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Bytes::zeroes(INODE as usize);
        out.u16(0, self.mode);
        out.u16(2, low(self.uid));
        out.u32(4, (self.size & 0xffff_ffff) as u32);
        for at in [8, 12, 16, 144] {
            out.u32(at, self.time);
        }
        out.u16(24, low(self.gid));
        out.u16(26, self.links);
        out.u32(28, self.blocks * (BLOCK / 512) as u32);
        if matches!(self.map, Map::Extents(..)) {
            out.u32(32, EXTENTS_FLAG);
        }
        out.put(40, &self.map.bytes());
        out.u32(104, self.attributes);
        out.u32(108, (self.size >> 32) as u32);
        out.u16(120, high(self.uid));
        out.u16(122, high(self.gid));
        out.u16(128, 32);
        out.0
    }
}

/// A folder's blocks. Entries: inode, type, name.
pub(super) fn folder_blocks(entries: &[(u32, u8, Vec<u8>)]) -> Vec<u8> {
    let size = |name: &[u8]| 8 + name.len().next_multiple_of(4);
    let block = BLOCK as usize;
    let mut out: Vec<u8> = Vec::new();
    // Where the last entry is and where it ends: the last of a block reaches to the block's end.
    let mut last = 0;
    let stretch = |out: &mut Vec<u8>, last: usize, end: usize| {
        let len = ((end - last) as u16).to_le_bytes();
        if let Some(place) = out.get_mut(last + 4..last + 6) {
            place.copy_from_slice(&len);
        }
    };
    for (inode, kind, name) in entries {
        let mut at = out.len();
        let end = (at.max(1)).next_multiple_of(block);
        if at > 0 && at + size(name) > end {
            stretch(&mut out, last, end);
            out.resize(end, 0);
            at = end;
        }
        out.extend_from_slice(&inode.to_le_bytes());
        out.extend_from_slice(&(size(name) as u16).to_le_bytes());
        out.push(name.len() as u8);
        out.push(*kind);
        out.extend_from_slice(name);
        out.resize(at + size(name), 0);
        last = at;
    }
    let end = out.len().next_multiple_of(block);
    stretch(&mut out, last, end);
    out.resize(end, 0);
    out
}

/// The prefixes that have a number instead of a name.
const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];

/// The block of a file's extended attributes.
pub(super) fn attribute_block(attributes: &[(Vec<u8>, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut sorted = Vec::new();
    for (name, value) in attributes {
        let numbered = PREFIXES.iter().find_map(|(prefix, index)| Some((*index, name.strip_prefix(*prefix)?)));
        let Some((index, short)) = numbered else {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(io::Error::other(format!("an extended attribute of the unknown kind {name:?}")));
        };
        sorted.push((index, short.len(), short, value));
    }
    sorted.sort();
    let mut out = Bytes::zeroes(BLOCK as usize);
    out.u32(0, 0xea02_0000);
    out.u32(4, 1);
    out.u32(8, 1);
    let (mut at, mut end, mut all) = (32, BLOCK as usize, 0_u32);
    for (index, _, name, value) in sorted {
        let space = value.len().next_multiple_of(4);
        if at + 16 + name.len().next_multiple_of(4) + 4 + space > end {
            return Err(io::Error::other("the extended attributes of a file are larger than a block"));
        }
        end -= space;
        out.put(end, value);
        let hash = attribute_hash(name, value);
        all = all.rotate_left(16) ^ hash;
        out.u8(at, name.len() as u8);
        out.u8(at + 1, index);
        out.u16(at + 2, if value.is_empty() { 0 } else { end as u16 });
        out.u32(at + 8, value.len() as u32);
        out.u32(at + 12, hash);
        out.put(at + 16, name);
        at += 16 + name.len().next_multiple_of(4);
    }
    out.u32(12, all);
    Ok(out.0)
}

/// Source: the kernel's `ext4_xattr_hash_entry`.
fn attribute_hash(name: &[u8], value: &[u8]) -> u32 {
    let mut hash = name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    for chunk in value.chunks(4) {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash = hash.rotate_left(16) ^ u32::from_le_bytes(word);
    }
    hash
}
