//! Writes a tree as an ext4 file system: no mounting, no loop device, no root, and the same bytes for the same tree.
//!
//! mke2fs would take owners, devices and attributes from files that only root can make, and its order of inodes from the
//! folder that it reads; so the file system is written here.

mod bytes;
mod geometry;
mod inode;
mod reader;
mod superblock;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use self::geometry::{BLOCK, Blocks, Extent, FIRST_INODE, GROUP_INODES, Geometry};
use self::inode::{Inode, Map};
pub(crate) use self::reader::to_tar;
use self::superblock::Usage;
use crate::tree::{Kind, Node, Tree};

const ROOT_INODE: u32 = 2;
const JOURNAL_INODE: u32 = 8;
/// Longest link that fits into its inode.
const INLINE: usize = 59;
/// Most of a file that is held in memory.
const PIECE: usize = 1 << 20;

/// What makes a file system this one and no other.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) uuid: [u8; 16],
    pub(crate) hash_seed: [u8; 16],
    /// Its times, in seconds since 1970.
    pub(crate) epoch: u32,
}

struct Writer<'a> {
    out: &'a File,
    offset: u64,
    geometry: Geometry,
    blocks: Blocks,
    folders: BTreeMap<u32, u32>,
}

/// An entry of a folder: inode, type, name.
type Entry = (u32, u8, Vec<u8>);

/// Writes the tree into `out`, `bytes` from `offset` on. `out` must be all zeroes there.
///
/// # Errors
///
/// `StorageFull`: the tree does not fit. Those of reading and writing.
pub(crate) fn write(tree: &Tree, out: &File, offset: u64, bytes: u64, identity: &Identity) -> io::Result<()> {
    let geometry = Geometry::new(bytes)?;
    let blocks = Blocks::new(geometry);
    let mut writer = Writer { out, offset, geometry, blocks, folders: BTreeMap::new() };
    let numbers = number(tree, geometry.inodes())?;
    let journal = writer.journal(identity)?;
    let mut entries = entries(tree, &numbers);
    writer.lost_and_found(identity.epoch, &mut entries)?;
    let links = link_counts(tree);
    for (path, node) in tree.nodes() {
        if matches!(node.kind, Kind::Link(_)) {
            continue;
        }
        let number = *numbers.get(path.as_slice()).ok_or_else(|| io::Error::other("a path without a number"))?;
        let mine = entries.remove(path.as_slice()).unwrap_or_default();
        let more = links.get(path.as_slice()).copied().unwrap_or(0);
        writer.node(tree, node, number, &mine, more)?;
    }
    let last = numbers.values().copied().max().unwrap_or(FIRST_INODE).max(FIRST_INODE);
    writer.finish(last, identity, &journal)
}

/// Gives everything that is no second name an inode.
fn number(tree: &Tree, inodes: u32) -> io::Result<BTreeMap<&[u8], u32>> {
    let mut next = FIRST_INODE;
    let mut numbers = BTreeMap::new();
    for (path, node) in tree.nodes() {
        if path.is_empty() {
            numbers.insert(path.as_slice(), ROOT_INODE);
        } else if !matches!(node.kind, Kind::Link(_)) {
            next += 1;
            numbers.insert(path.as_slice(), next);
        }
    }
    if next > inodes {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(numbers)
}

/// How many more names each file has.
fn link_counts(tree: &Tree) -> BTreeMap<&[u8], u16> {
    let mut counts = BTreeMap::new();
    for node in tree.nodes().values() {
        if let Kind::Link(to) = &node.kind {
            *counts.entry(to.as_slice()).or_insert(0_u16) += 1;
        }
    }
    counts
}

fn parent(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

fn type_of(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) | Kind::Link(_) => 1,
        Kind::Folder => 2,
        Kind::Device { block: false, .. } => 3,
        Kind::Device { block: true, .. } => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}

/// The entries of every folder, `.` and `..` first.
fn entries<'a>(tree: &'a Tree, numbers: &BTreeMap<&'a [u8], u32>) -> BTreeMap<&'a [u8], Vec<Entry>> {
    let mut entries: BTreeMap<&[u8], Vec<Entry>> = BTreeMap::new();
    let of = |path: &[u8]| numbers.get(path).copied().unwrap_or(ROOT_INODE);
    for (path, node) in tree.nodes() {
        let (folder, name) = parent(path);
        if !path.is_empty() {
            let number = match &node.kind {
                Kind::Link(to) => of(to),
                _ => of(path),
            };
            entries.entry(folder).or_default().push((number, type_of(&node.kind), name.to_vec()));
        }
        if matches!(node.kind, Kind::Folder) {
            let own = entries.entry(path.as_slice()).or_default();
            own.insert(0, (of(path), 2, b".".to_vec()));
            own.insert(1, (of(folder), 2, b"..".to_vec()));
        }
    }
    entries
}

impl Writer<'_> {
    fn put(&self, block: u32, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all_at(bytes, self.offset + u64::from(block) * BLOCK)
    }

    fn put_inode(&mut self, number: u32, inode: &Inode) -> io::Result<()> {
        if inode.mode & 0o170_000 == 0o040_000 {
            *self.folders.entry((number - 1) / GROUP_INODES).or_insert(0) += 1;
        }
        self.out.write_all_at(&inode.bytes(), self.offset + self.geometry.inode_at(number))
    }

    /// Blocks for this many bytes, with those that hold the list of extents.
    fn extents(&mut self, bytes: u64) -> io::Result<(Vec<Extent>, Vec<u32>)> {
        let count = u32::try_from(bytes.div_ceil(BLOCK)).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        let extents = self.blocks.take(count)?;
        let mut leaves = Vec::new();
        if inode::leaves(extents.len())? > 0 {
            for content in inode::leaf_blocks(&extents) {
                let block = self.block()?;
                self.put(block, &content)?;
                leaves.push(block);
            }
        }
        Ok((extents, leaves))
    }

    fn block(&mut self) -> io::Result<u32> {
        self.blocks.take(1)?.first().map(|e| e.start).ok_or_else(|| io::ErrorKind::StorageFull.into())
    }

    /// Writes content that is in memory. Gives its map and how many blocks it has.
    fn content(&mut self, bytes: &[u8]) -> io::Result<(Map, u32)> {
        let (extents, leaves) = self.extents(bytes.len() as u64)?;
        let mut rest = bytes;
        for extent in &extents {
            let (now, later) = rest.split_at(rest.len().min(extent.len as usize * BLOCK as usize));
            self.put(extent.start, now)?;
            rest = later;
        }
        let count = extents.iter().map(|e| e.len).sum::<u32>() + leaves.len() as u32;
        Ok((Map::Extents(extents, leaves), count))
    }

    /// Copies a file's content out of the tree.
    fn copy(&mut self, tree: &Tree, node: &Node) -> io::Result<(Map, u32)> {
        let Kind::File(content) = &node.kind else { return Ok((Map::Empty, 0)) };
        let (extents, leaves) = self.extents(content.len())?;
        let mut buffer = vec![0; PIECE];
        let mut done = 0;
        for extent in &extents {
            let mut at = self.offset + u64::from(extent.start) * BLOCK;
            let mut left = (u64::from(extent.len) * BLOCK).min(content.len() - done);
            while left > 0 {
                let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let part = buffer.get_mut(..piece).unwrap_or_default();
                tree.read(content, done, part)?;
                self.out.write_all_at(part, at)?;
                (at, done, left) = (at + piece as u64, done + piece as u64, left - piece as u64);
            }
        }
        let count = extents.iter().map(|e| e.len).sum::<u32>() + leaves.len() as u32;
        Ok((Map::Extents(extents, leaves), count))
    }

    fn node(&mut self, tree: &Tree, node: &Node, number: u32, entries: &[Entry], more: u16) -> io::Result<()> {
        let mut size = 0;
        let mut links = 1 + more;
        let (bits, (map, mut blocks)) = match &node.kind {
            Kind::Folder => {
                let folders =
                    entries.iter().filter(|(_, kind, name)| *kind == 2 && name != b".." && name != b".").count();
                // Too many to be counted: 1 says so (dir_nlink).
                links = if folders + 2 < 65_000 { folders as u16 + 2 } else { 1 };
                let bytes = inode::folder_blocks(entries);
                size = bytes.len() as u64;
                (0o040_000, self.content(&bytes)?)
            }
            Kind::File(content) => {
                size = content.len();
                (0o100_000, self.copy(tree, node)?)
            }
            Kind::Symlink(to) => {
                size = to.len() as u64;
                let map = if to.len() <= INLINE { (Map::Inline(to.clone()), 0) } else { self.content(to)? };
                (0o120_000, map)
            }
            Kind::Fifo => (0o010_000, (Map::Empty, 0)),
            Kind::Device { block, major, minor } => {
                (if *block { 0o060_000 } else { 0o020_000 }, (Map::Device(*major, *minor), 0))
            }
            Kind::Link(_) => return Ok(()),
        };
        let mut attributes = 0;
        if !node.attributes.is_empty() {
            attributes = self.block()?;
            self.put(attributes, &inode::attribute_block(&node.attributes)?)?;
            blocks += 1;
        }
        let mode = bits | (node.mode & 0o7777) as u16;
        let inode = Inode { mode, uid: node.uid, gid: node.gid, size, links, time: node.time, blocks, attributes, map };
        self.put_inode(number, &inode)
    }

    fn lost_and_found(&mut self, time: u32, entries: &mut BTreeMap<&[u8], Vec<Entry>>) -> io::Result<()> {
        entries.entry(b"").or_default().push((FIRST_INODE, 2, b"lost+found".to_vec()));
        let own = [(FIRST_INODE, 2, b".".to_vec()), (ROOT_INODE, 2, b"..".to_vec())];
        let mut bytes = inode::folder_blocks(&own);
        // e2fsck wants room there for what it finds, on a disk that may be full.
        for _ in 1..4 {
            let mut empty = vec![0; BLOCK as usize];
            if let Some(len) = empty.get_mut(4..6) {
                len.copy_from_slice(&(BLOCK as u16).to_le_bytes());
            }
            bytes.extend(empty);
        }
        let (map, blocks) = self.content(&bytes)?;
        let size = bytes.len() as u64;
        let inode = Inode { mode: 0o040_700, uid: 0, gid: 0, size, links: 2, time, blocks, attributes: 0, map };
        self.put_inode(FIRST_INODE, &inode)
    }

    /// An empty journal. Gives its map and size, of which the superblock has a copy.
    fn journal(&mut self, identity: &Identity) -> io::Result<(Vec<u8>, u64)> {
        // As mke2fs: 4 MiB at least, 32 MiB from 2 GiB on, 64 MiB from 8 GiB on.
        let count: u32 = match self.geometry.blocks {
            0..=65_535 => 1024,
            65_536..=524_287 => 4096,
            524_288..=2_097_151 => 8192,
            _ => 16_384,
        };
        let size = u64::from(count) * BLOCK;
        let (extents, leaves) = self.extents(size)?;
        if let Some(first) = extents.first() {
            self.put(first.start, &superblock::journal_head(count, identity))?;
        }
        let blocks = count + leaves.len() as u32;
        let map = Map::Extents(extents, leaves);
        let bytes = map.bytes();
        let time = identity.epoch;
        let inode = Inode { mode: 0o100_600, uid: 0, gid: 0, size, links: 1, time, blocks, attributes: 0, map };
        self.put_inode(JOURNAL_INODE, &inode)?;
        Ok((bytes, size))
    }

    /// Writes what counts all the rest, and its copies.
    fn finish(&mut self, last: u32, identity: &Identity, journal: &(Vec<u8>, u64)) -> io::Result<()> {
        let geometry = self.geometry;
        let usage: Vec<Usage> = (0..geometry.groups)
            .map(|group| Usage {
                blocks: self.blocks.used(group),
                inodes: last.saturating_sub(group * GROUP_INODES).min(GROUP_INODES),
                folders: self.folders.get(&group).copied().unwrap_or(0),
            })
            .collect();
        for (group, used) in (0..geometry.groups).zip(&usage) {
            self.put(geometry.block_bitmap(group), &superblock::bitmap(used.blocks, geometry.len(group)))?;
            self.put(geometry.inode_bitmap(group), &superblock::bitmap(used.inodes, GROUP_INODES))?;
        }
        let descriptors = superblock::descriptors(&geometry, &usage);
        let mut head = superblock::superblock(&geometry, &usage, identity, (&journal.0, journal.1));
        for group in (0..geometry.groups).filter(|g| Geometry::has_super(*g)) {
            if let Some(place) = head.get_mut(90..92) {
                place.copy_from_slice(&(group as u16).to_le_bytes());
            }
            let first = Geometry::first(group);
            // In the first group the first kilobyte is the boot sector's.
            let at = if group == 0 { 1024 } else { u64::from(first) * BLOCK };
            self.out.write_all_at(&head, self.offset + at)?;
            self.put(first + 1, &descriptors)?;
        }
        Ok(())
    }
}
