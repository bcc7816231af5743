//! Where things are in an ext4 file system: groups of blocks, each with its bitmaps and table of inodes in front.

use std::io;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
/// Blocks of a group: as many as one block of bits counts.
pub(super) const GROUP_BLOCKS: u32 = 32768;
/// Inodes of a group: one for each 16 KiB, as mke2fs makes them.
pub(super) const GROUP_INODES: u32 = 8192;
/// Bytes of an inode.
pub(super) const INODE: u64 = 256;
/// Blocks of a group's table of inodes.
const TABLE_BLOCKS: u32 = 512;
/// Bytes of a group's descriptor.
pub(super) const DESCRIPTOR: u32 = 32;
/// The first inode that is not reserved: `lost+found`.
pub(super) const FIRST_INODE: u32 = 11;

/// A run of blocks of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// How large everything is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) blocks: u32,
    pub(super) groups: u32,
}

impl Geometry {
    pub(super) fn new(bytes: u64) -> io::Result<Self> {
        let too_many = |_| io::Error::other("the file system is larger than 16 TiB");
        let blocks = u32::try_from(bytes / BLOCK).map_err(too_many)?;
        let this = Self { blocks, groups: blocks.div_ceil(GROUP_BLOCKS) };
        // A last group that could hold little more than its own tables is left out, as mke2fs does.
        let last = blocks - (this.groups - 1).min(blocks) * GROUP_BLOCKS;
        if this.groups > 1 && last < this.overhead(this.groups - 1) + 50 {
            return Ok(Self { blocks: blocks - last, groups: this.groups - 1 });
        }
        Ok(this)
    }

    pub(super) fn inodes(&self) -> u32 {
        self.groups * GROUP_INODES
    }

    /// Says whether a group has a copy of the superblock: 0, 1 and powers of 3, 5 and 7.
    pub(super) fn has_super(group: u32) -> bool {
        let power = |base: u32| {
            let mut n = base;
            while n < group {
                n = n.saturating_mul(base);
            }
            n == group
        };
        group <= 1 || power(3) || power(5) || power(7)
    }

    /// Blocks of the table of all groups' descriptors.
    pub(super) fn descriptor_blocks(&self) -> u32 {
        (self.groups * DESCRIPTOR).div_ceil(4096)
    }

    pub(super) fn first(group: u32) -> u32 {
        group * GROUP_BLOCKS
    }

    /// Blocks of this group: the last one may be shorter.
    pub(super) fn len(&self, group: u32) -> u32 {
        (self.blocks - Self::first(group)).min(GROUP_BLOCKS)
    }

    pub(super) fn block_bitmap(&self, group: u32) -> u32 {
        let copies = if Self::has_super(group) { 1 + self.descriptor_blocks() } else { 0 };
        Self::first(group) + copies
    }

    pub(super) fn inode_bitmap(&self, group: u32) -> u32 {
        self.block_bitmap(group) + 1
    }

    pub(super) fn inode_table(&self, group: u32) -> u32 {
        self.block_bitmap(group) + 2
    }

    /// Blocks in front of a group that are its own tables.
    pub(super) fn overhead(&self, group: u32) -> u32 {
        self.inode_table(group) + TABLE_BLOCKS - Self::first(group)
    }

    /// Where an inode is, in bytes.
    pub(super) fn inode_at(&self, inode: u32) -> u64 {
        let (group, index) = ((inode - 1) / GROUP_INODES, (inode - 1) % GROUP_INODES);
        u64::from(self.inode_table(group)) * BLOCK + u64::from(index) * INODE
    }
}

/// Hands out blocks, one after the other.
#[derive(Debug)]
pub(super) struct Blocks {
    geometry: Geometry,
    group: u32,
    /// Blocks of this group that are in use: its tables, and what was handed out.
    used: u32,
}

impl Blocks {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, group: 0, used: geometry.overhead(0) }
    }

    pub(super) fn take(&mut self, mut count: u32) -> io::Result<Vec<Extent>> {
        let mut extents = Vec::new();
        while count > 0 {
            let free = self.geometry.len(self.group) - self.used;
            if free == 0 {
                if self.group + 1 == self.geometry.groups {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.group += 1;
                self.used = self.geometry.overhead(self.group);
                continue;
            }
            let len = free.min(count);
            extents.push(Extent { start: Geometry::first(self.group) + self.used, len });
            self.used += len;
            count -= len;
        }
        Ok(extents)
    }

    /// Blocks in use of a group, all of them in front.
    pub(super) fn used(&self, group: u32) -> u32 {
        match group.cmp(&self.group) {
            std::cmp::Ordering::Less => self.geometry.len(group),
            std::cmp::Ordering::Equal => self.used,
            std::cmp::Ordering::Greater => self.geometry.overhead(group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_in_the_groups_that_mke2fs_chooses() {
        let with: Vec<u32> = (0..130).filter(|g| Geometry::has_super(*g)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
