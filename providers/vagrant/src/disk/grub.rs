//! Puts GRUB for BIOS machines into a disk by hand, as its own `grub-bios-setup` does it.

use std::io;
use std::path::Path;

use towpath_core::{Context, Error, ErrorKind, Result};

use super::{PARTITION, SECTOR, Tools};
use crate::boxes::VAGRANT_BOX;
use crate::files::storage;

/// What the core needs until it has read the menu, and what the menu needs: nothing is read from the box's own folder.
const MODULES: [&str; 14] = [
    "biosdisk",
    "part_msdos",
    "ext2",
    "search",
    "search_fs_uuid",
    "normal",
    "configfile",
    "linux",
    "test",
    "echo",
    "serial",
    "terminal",
    "gzio",
    "minicmd",
];

/// Where a boot sector has the jump over its check for floppies. Source: GRUB, `GRUB_BOOT_MACHINE_DRIVE_CHECK`.
const DRIVE_CHECK: usize = 0x66;
/// Code of a boot sector; the partition table's number follows.
const CODE: usize = 440;

/// The loader's second part, which fits between boot sector and partition.
pub(super) async fn core_image(cx: &Context, tools: &Tools, folder: &Path, uuid: &str) -> Result<Vec<u8>> {
    let (early, out) = (folder.join("early.cfg"), folder.join("core.img"));
    let script = format!("search.fs_uuid {uuid} root\nset prefix=($root)/boot/grub\n");
    std::fs::write(&early, script).map_err(|e| storage("build", folder, e))?;
    let mut args: Vec<&std::ffi::OsStr> = Vec::new();
    args.extend(["-O", "i386-pc", "-p", "/boot/grub", "-d"].map(std::ffi::OsStr::new));
    args.push(tools.grub_modules.as_os_str());
    args.push("-c".as_ref());
    args.push(early.as_os_str());
    args.push("-o".as_ref());
    args.push(out.as_os_str());
    args.extend(MODULES.map(std::ffi::OsStr::new));
    tools.run(cx, &tools.grub_mkimage, &args).await?;
    let image = std::fs::read(&out).map_err(|e| storage("build", folder, e))?;
    for path in [early, out] {
        std::fs::remove_file(path).map_err(|e| storage("build", folder, e))?;
    }
    if image.len() as u64 > PARTITION - SECTOR {
        return Err(Error::new(
            ErrorKind::ToolFailed,
            VAGRANT_BOX,
            "build",
            "the loader that grub-mkimage made does not fit before the first partition",
        )
        .with("bytes", image.len()));
    }
    Ok(image)
}

/// The first sector: GRUB's code, which reads the core from the sector after it, and one partition.
pub(super) fn boot_sector(boot: &[u8], signature: [u8; 4], start: u64, sectors: u64) -> io::Result<Vec<u8>> {
    let mut out = boot.to_vec();
    out.resize(SECTOR as usize, 0);
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(DRIVE_CHECK, &[0x90, 0x90]);
    put(CODE, &[0; 72]);
    put(CODE, &signature);
    let number = |n: u64| u32::try_from(n).map_err(|_| io::Error::other("the disk is larger than 2 TiB"));
    // Active, Linux; cylinders and heads say that they are not used.
    let mut entry = vec![0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff];
    entry.extend(number(start)?.to_le_bytes());
    entry.extend(number(sectors - start)?.to_le_bytes());
    put(446, &entry);
    put(510, &[0x55, 0xaa]);
    Ok(out)
}
