//! A bootable disk from a tree: partition table, loader and file system in a raw file, then qcow2. Needs no root.

pub(crate) mod ext4;
mod grub;
mod tools;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use towpath_core::{Context, Error, ErrorKind, Result};

use self::ext4::Identity;
pub(crate) use self::tools::Tools;
use crate::boxes::VAGRANT_BOX;
use crate::files::{blocking, storage};
use crate::tree::Tree;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Where the partition starts: 1 MiB, and the loader fits before it.
const PARTITION: u64 = 1 << 20;

/// What makes a disk this one and no other: the same seed gives the same.
#[derive(Debug, Clone)]
pub(crate) struct DiskIdentity {
    identity: Identity,
    /// The partition table's number.
    signature: [u8; 4],
}

impl DiskIdentity {
    pub(crate) fn of(seed: &[u8], epoch: u32) -> Self {
        let part = |name: &str| -> [u8; 32] { Sha256::new().chain_update(name).chain_update(seed).finalize().into() };
        let id = |name: &str| -> [u8; 16] {
            let mut id = [0; 16];
            id.copy_from_slice(part(name).split_at(16).0);
            // A random UUID by its form.
            id[6] = id[6] & 0x0f | 0x40;
            id[8] = id[8] & 0x3f | 0x80;
            id
        };
        let mut signature = [0; 4];
        signature.copy_from_slice(part("towpath disk").split_at(4).0);
        let identity = Identity { uuid: id("towpath file system"), hash_seed: id("towpath hash seed"), epoch };
        Self { identity, signature }
    }

    /// The file system's UUID as text.
    pub(crate) fn uuid(&self) -> String {
        let hex = hex::encode(self.identity.uuid);
        let mut out = String::new();
        for (n, c) in hex.chars().enumerate() {
            if matches!(n, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            out.push(c);
        }
        out
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Reads the tree of a disk that was made here, as an archive in a file without a name. Writes into `folder`.
pub(crate) async fn tree(cx: &Context, tools: &Tools, qcow2: &Path, folder: &Path) -> Result<File> {
    let own = |e| storage("contents", folder, e);
    let raw = folder.join("disk.raw");
    let args = ["convert", "-q", "-f", "qcow2", "-O", "raw"];
    let mut args: Vec<&std::ffi::OsStr> = args.iter().map(std::ffi::OsStr::new).collect();
    args.extend([qcow2.as_os_str(), raw.as_os_str()]);
    tools.run(cx, &tools.qemu_img, &args).await?;
    let path = folder.join("tree.tar");
    blocking(move || -> io::Result<File> {
        let tar = create(&path)?;
        std::fs::remove_file(&path)?;
        ext4::to_tar(&File::open(&raw)?, PARTITION, io::BufWriter::with_capacity(1 << 20, &tar))?;
        (&tar).rewind()?;
        Ok(tar)
    })
    .await
    .and_then(|r| r)
    .map_err(own)
}

/// Makes the disk `qcow2`, with files of its own in the same folder. All of them are the caller's to remove.
pub(crate) async fn make(
    cx: &Context,
    tools: &Tools,
    tree: Tree,
    identity: &DiskIdentity,
    bytes: u64,
    folder: &Path,
) -> Result<PathBuf> {
    let own = |e| storage("build", folder, e);
    let core = grub::core_image(cx, tools, folder, &identity.uuid()).await?;
    let boot = tools.boot_image()?;
    let (raw, qcow2) = (folder.join("disk.raw"), folder.join("box.img"));
    let (path, of) = (raw.clone(), identity.clone());
    let written = blocking(move || -> io::Result<()> {
        let file = create(&path)?;
        file.set_len(bytes)?;
        let head = grub::boot_sector(&boot, of.signature, PARTITION / SECTOR, bytes / SECTOR)?;
        file.write_all_at(&head, 0)?;
        file.write_all_at(&core, SECTOR)?;
        ext4::write(&tree, &file, PARTITION, bytes - PARTITION, &of.identity)
    })
    .await
    .map_err(own)?;
    written.map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull => Error::new(
            ErrorKind::InvalidInput,
            VAGRANT_BOX,
            "build",
            "the tree does not fit on the box's disk, or this machine's own disk is full: raise `disk_gib`, or make room",
        )
        .with("disk_gib", bytes >> 30)
        .with("folder", folder.display()),
        _ => own(e),
    })?;
    cx.check(VAGRANT_BOX, "build")?;
    let args = ["convert", "-q", "-f", "raw", "-O", "qcow2", "-c", "-o", "compat=1.1"];
    let mut args: Vec<&std::ffi::OsStr> = args.iter().map(std::ffi::OsStr::new).collect();
    args.extend([raw.as_os_str(), qcow2.as_os_str()]);
    tools.run(cx, &tools.qemu_img, &args).await?;
    std::fs::remove_file(&raw).map_err(own)?;
    Ok(qcow2)
}
