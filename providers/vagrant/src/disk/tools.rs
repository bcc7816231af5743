//! The programs on this machine that a disk is made with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use towpath_core::local_tool::{ask, find_program};
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::boxes::VAGRANT_BOX;

const INSTALL: &str = "`apt-get install qemu-utils grub-common grub-pc-bin` on Debian";

/// Where GRUB's parts for BIOS machines may be.
const GRUB: [&str; 3] = ["/usr/lib/grub/i386-pc", "/usr/local/lib/grub/i386-pc", "/usr/share/grub/i386-pc"];

/// Programs and parts, found.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) qemu_img: PathBuf,
    pub(crate) grub_mkimage: PathBuf,
    pub(crate) grub_modules: PathBuf,
}

fn find(names: &[&str]) -> Option<PathBuf> {
    // The latter are not in everybody's PATH.
    let folders = [std::env::var_os("PATH").unwrap_or_default(), "/usr/sbin".into(), "/sbin".into()];
    names.iter().find_map(|name| folders.iter().find_map(|path| find_program(Path::new(name), Some(path))))
}

impl Tools {
    /// Finds all of them.
    ///
    /// # Errors
    ///
    /// [`ToolMissing`](ErrorKind::ToolMissing): one is not there; names it, and what to install.
    pub(crate) fn find(operation: &'static str) -> Result<Self> {
        let missing = |what: &str| {
            Error::new(
                ErrorKind::ToolMissing,
                VAGRANT_BOX,
                operation,
                format!("a libvirt box needs {what}, which is not there: {INSTALL}"),
            )
        };
        let has_loader =
            |p: &&&str| Path::new(p).join("boot.img").is_file() && Path::new(p).join("kernel.img").is_file();
        Ok(Self {
            qemu_img: find(&["qemu-img"]).ok_or_else(|| missing("`qemu-img`"))?,
            grub_mkimage: find(&["grub-mkimage", "grub2-mkimage"]).ok_or_else(|| missing("`grub-mkimage`"))?,
            grub_modules: GRUB
                .iter()
                .find(has_loader)
                .map(PathBuf::from)
                .ok_or_else(|| missing("GRUB's parts for BIOS machines (`i386-pc`)"))?,
        })
    }

    pub(super) fn boot_image(&self) -> Result<Vec<u8>> {
        let path = self.grub_modules.join("boot.img");
        std::fs::read(&path).map_err(|e| {
            Error::new(ErrorKind::ToolMissing, VAGRANT_BOX, "build", "GRUB's boot sector can't be read")
                .with("path", path.display())
                .caused_by(e)
        })
    }

    /// Runs a program to its end. It writes files of this build only, so it is killed on a cancel.
    pub(super) async fn run(&self, cx: &Context, program: &Path, args: &[&OsStr]) -> Result<()> {
        let failed = |message: &str| {
            Error::new(ErrorKind::ToolFailed, VAGRANT_BOX, "build", message).with("program", program.display())
        };
        let mut command = Command::new(program);
        command.args(args).env("LC_ALL", "C");
        let out = ask(cx, VAGRANT_BOX, "build", &mut command).await?;
        let out = out.map_err(|e| failed("a program can't be started").caused_by(e))?;
        if out.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(failed("a program failed").with("exit_status", out.status).caused_by(text))
    }
}
