//! The programs on this machine that a disk is made with.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
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
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Not in everybody's PATH.
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let runs = |p: &PathBuf| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    names.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(runs))
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

    /// Runs a program to its end. On a cancel it is ended.
    pub(super) async fn run(&self, cx: &Context, program: &Path, args: &[&OsStr]) -> Result<()> {
        let child = Command::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let failed = |message: &str| {
            Error::new(ErrorKind::ToolFailed, VAGRANT_BOX, "build", message).with("program", program.display())
        };
        let child = child.map_err(|e| failed("a program can't be started").caused_by(e))?;
        // It writes files of this build only, so it is killed where the future is dropped.
        let out = cx
            .guard(VAGRANT_BOX, "build", async {
                child.wait_with_output().await.map_err(|e| failed("a program can't be waited for").caused_by(e))
            })
            .await?;
        if out.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(failed("a program failed").with("exit_status", out.status).caused_by(text))
    }
}
