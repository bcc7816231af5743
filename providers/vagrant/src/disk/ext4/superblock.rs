//! The superblock, the groups' descriptors and the journal's head.
//!
//! Source: the kernel's documentation, "ext4 Data Structures and Algorithms".

use super::bytes::Bytes;
use super::geometry::{BLOCK, DESCRIPTOR, FIRST_INODE, GROUP_BLOCKS, GROUP_INODES, Geometry, INODE};
use super::{Identity, JOURNAL_INODE};

/// has_journal, ext_attr, dir_index.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x20;
/// filetype, extents.
const INCOMPATIBLE: u32 = 0x2 | 0x40;
/// sparse_super, large_file, dir_nlink, extra_isize.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x20 | 0x40;

/// What is in use of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) blocks: u32,
    pub(super) inodes: u32,
    pub(super) folders: u32,
}

pub(super) fn superblock(geometry: &Geometry, usage: &[Usage], identity: &Identity, journal: (&[u8], u64)) -> Vec<u8> {
    let mut out = Bytes::zeroes(1024);
    let used_blocks: u32 = usage.iter().map(|u| u.blocks).sum();
    let used_inodes: u32 = usage.iter().map(|u| u.inodes).sum();
    out.u32(0, geometry.inodes());
    out.u32(4, geometry.blocks);
    out.u32(8, geometry.blocks / 20);
    out.u32(12, geometry.blocks - used_blocks);
    out.u32(16, geometry.inodes() - used_inodes);
    out.u32(24, 2);
    out.u32(28, 2);
    out.u32(32, GROUP_BLOCKS);
    out.u32(36, GROUP_BLOCKS);
    out.u32(40, GROUP_INODES);
    out.u32(48, identity.epoch);
    out.u16(54, 0xffff);
    out.u16(56, 0xef53);
    // Clean; goes on after errors.
    out.u16(58, 1);
    out.u16(60, 1);
    out.u32(64, identity.epoch);
    out.u32(76, 1);
    out.u32(84, FIRST_INODE);
    out.u16(88, INODE as u16);
    out.u32(92, COMPATIBLE);
    out.u32(96, INCOMPATIBLE);
    out.u32(100, READ_ONLY_COMPATIBLE);
    out.put(104, &identity.uuid);
    out.put(120, b"root");
    out.u32(224, JOURNAL_INODE);
    out.put(236, &identity.hash_seed);
    // half_md4; the journal's inode has a copy.
    out.u8(252, 1);
    out.u8(253, 1);
    // Extended attributes and access lists are on, as mke2fs says it.
    out.u32(256, 0xc);
    out.u32(264, identity.epoch);
    let (map, size) = journal;
    out.put(268, map);
    out.u32(268 + 60, (size >> 32) as u32);
    out.u32(268 + 64, (size & 0xffff_ffff) as u32);
    out.u16(348, 32);
    out.u16(350, 32);
    // Names are hashed with signed characters.
    out.u32(352, 1);
    out.0
}

/// Says whether a superblock is one of those that are written here, by its features and sizes.
pub(super) fn is_ours(head: &[u8]) -> bool {
    let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    number(56) & 0xffff == 0xef53
        && [number(92), number(96), number(100)] == [COMPATIBLE, INCOMPATIBLE, READ_ONLY_COMPATIBLE]
        && [number(24), number(32), number(40)] == [2, GROUP_BLOCKS, GROUP_INODES]
}

pub(super) fn descriptors(geometry: &Geometry, usage: &[Usage]) -> Vec<u8> {
    let mut out = Bytes::zeroes(geometry.descriptor_blocks() as usize * BLOCK as usize);
    for (group, used) in (0..geometry.groups).zip(usage) {
        let at = (group * DESCRIPTOR) as usize;
        out.u32(at, geometry.block_bitmap(group));
        out.u32(at + 4, geometry.inode_bitmap(group));
        out.u32(at + 8, geometry.inode_table(group));
        out.u16(at + 12, (geometry.len(group) - used.blocks) as u16);
        out.u16(at + 14, (GROUP_INODES - used.inodes) as u16);
        out.u16(at + 16, used.folders as u16);
    }
    out.0
}

/// A bitmap whose first bits are set, and those after the end.
pub(super) fn bitmap(used: u32, len: u32) -> Vec<u8> {
    let mut out = vec![0_u8; BLOCK as usize];
    for (n, byte) in out.iter_mut().enumerate() {
        for bit in 0..8 {
            let at = n as u32 * 8 + bit;
            if at < used || at >= len {
                *byte |= 1 << bit;
            }
        }
    }
    out
}

/// The head of an empty journal.
pub(super) fn journal_head(blocks: u32, identity: &Identity) -> Vec<u8> {
    let mut out = Bytes::zeroes(BLOCK as usize);
    out.u32_be(0, 0xc03b_3998);
    out.u32_be(4, 4);
    out.u32_be(12, BLOCK as u32);
    out.u32_be(16, blocks);
    out.u32_be(20, 1);
    out.u32_be(24, 1);
    out.put(48, &identity.uuid);
    out.u32_be(64, 1);
    out.0
}
