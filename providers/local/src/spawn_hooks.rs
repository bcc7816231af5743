//! The one place that runs code between `fork` and `exec`.

#![allow(unsafe_code, reason = "a user namespace can be made by a process with one thread only: the child before exec")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, setsid, write};

/// Starts the command in a session of its own, so that a terminal's Ctrl-C or hang-up does not reach it.
pub(crate) fn in_own_session(command: &mut Command) {
    // SAFETY: the closure makes one system call, which is async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(into_io));
    }
}

/// Starts the command in a session, user namespace and mount namespace of its own, as that user namespace's root, which is
/// this user outside. Spawning fails where the kernel does not allow it.
pub(crate) fn in_own_namespace(command: &mut Command) {
    let maps = Maps::of_this_user();
    // SAFETY: after fork the child has one thread. The closure makes system calls only, on memory prepared before the fork,
    // and allocates nothing; `io::Error::from_raw_os_error` does not allocate either.
    unsafe {
        command.pre_exec(move || {
            setsid().map_err(into_io)?;
            maps.enter()
        });
    }
}

/// As [`in_own_namespace`], with an overlay mounted on `on`, to see whether that is possible.
pub(crate) fn in_own_namespace_with_overlay(command: &mut Command, options: &str, on: &Path) {
    let maps = Maps::of_this_user();
    let texts = CString::new(options).and_then(|o| CString::new(on.as_os_str().as_bytes()).map(|p| (o, p)));
    // SAFETY: as above; paths and options are C strings already, which `mount` takes as they are.
    unsafe {
        command.pre_exec(move || {
            let Ok((options, on)) = &texts else { return Err(into_io(Errno::EINVAL)) };
            maps.enter()?;
            let none: Option<&CStr> = None;
            mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(into_io)?;
            mount(Some(c"overlay"), on.as_c_str(), Some(c"overlay"), MsFlags::empty(), Some(options.as_c_str()))
                .map_err(into_io)
        });
    }
}

struct Maps {
    uid: String,
    gid: String,
}

impl Maps {
    fn of_this_user() -> Self {
        Self { uid: format!("0 {} 1", geteuid()), gid: format!("0 {} 1", getegid()) }
    }

    fn enter(&self) -> io::Result<()> {
        unshare(
            CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC,
        )
        .map_err(into_io)?;
        put(c"/proc/self/setgroups", b"deny")?;
        put(c"/proc/self/uid_map", self.uid.as_bytes())?;
        put(c"/proc/self/gid_map", self.gid.as_bytes())
    }
}

fn put(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(into_io)?;
    let written = write(&file, bytes).map_err(into_io)?;
    if written == bytes.len() { Ok(()) } else { Err(into_io(Errno::EIO)) }
}

fn into_io(e: Errno) -> io::Error {
    io::Error::from_raw_os_error(e as i32)
}
