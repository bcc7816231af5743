//! A host: a detached process that serves SSH on a loopback port and runs what it is told in its own root.

mod exec;
mod forward;
mod guard;
mod reaper;
mod root;
mod sftp;
mod ssh;
mod view;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use crate::LocalMode;
use crate::files::{read_json, write_json};
use crate::launch::{self, Launcher, Report, report};
use crate::process::{ProcessId, start_time};
use crate::state::{HostDir, HostSettings, key_pair};

pub(crate) use guard::guard_works;
pub(crate) use root::{layered, make_base, namespaces_work};
pub(crate) use view::View;

/// A host's first process. In a namespace it starts the second one, as process 1 of a process namespace, and ends.
pub(crate) fn main(dir: &Path, token: &str) -> io::Result<()> {
    let dir = HostDir(dir.to_owned());
    let settings = settings(&dir)?;
    if settings.mode != LocalMode::Namespace {
        return serve(&dir, token, &settings);
    }
    // Only children enter the new process namespace, and this process can't start a thread any more.
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut argv = std::env::args_os();
    let program = argv.next().ok_or_else(|| io::Error::other("a process without a name"))?;
    let again = Launcher { program: program.into(), args: argv.collect() };
    launch::command(&again, "host-in-namespace", &dir.0, token).current_dir("/").spawn()?;
    Ok(())
}

/// A host's second process: process 1 of its process namespace.
pub(crate) fn main_in_namespace(dir: &Path, token: &str) -> io::Result<()> {
    let dir = HostDir(dir.to_owned());
    let settings = settings(&dir)?;
    serve(&dir, token, &settings)
}

fn settings(dir: &HostDir) -> io::Result<HostSettings> {
    read_json(&dir.settings())?.ok_or_else(|| io::Error::other("the host's settings are gone"))
}

/// Serves until SIGTERM.
fn serve(dir: &HostDir, token: &str, settings: &HostSettings) -> io::Result<()> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.lock())?;
    // Held until this process ends: two of them in one tree would tear it apart.
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|_| io::Error::other("another process of this host runs already"))?;
    // As seen by whoever started it: `/proc` is still the outer one.
    let pid = std::fs::read_link("/proc/self")?.to_string_lossy().parse::<i32>().map_err(io::Error::other)?;
    let started = start_time(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    let id = ProcessId { pid, started, token: token.to_owned() };
    // Recorded before it does anything, so that a crashed run finds it.
    write_json(&dir.process(), &id)?;
    umask(Mode::from_bits_truncate(0o022));
    let _ = prctl::set_name(&name_for_ps(&settings.name));

    let key = key_pair(&dir.host_key(), &settings.name)?;
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, settings.ssh_port))
        .map_err(|e| io::Error::new(e.kind(), format!("port {} for SSH: {e}", settings.ssh_port)))?;
    listener.set_nonblocking(true)?;
    let view = match settings.mode {
        LocalMode::Namespace => {
            root::enter(dir, settings)?;
            View::namespace()
        }
        _ => {
            // Orphans come back to this process, so that the end of the host is the end of everything in it.
            prctl::set_child_subreaper(true)?;
            let view = View::plain(dir)?;
            // Last, since from now on nothing outside the folder can be written, by this process either.
            if settings.guarded {
                guard::restrict_writes_to(&dir.tree()).map_err(io::Error::other)?;
            }
            view
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        reaper::start()?;
        let server = ssh::Server::new(key, settings, view, token)?;
        tokio::spawn(server.run(listener));
        report(&Report::Ready(id));
        let log = io::stderr();
        nix::unistd::dup2_stdout(&log)?;
        term.recv().await;
        end_everything().await;
        Ok(())
    })
}

fn name_for_ps(host: &str) -> std::ffi::CString {
    // 15 bytes is all that the kernel keeps.
    std::ffi::CString::new(format!("host {host}")).unwrap_or_default()
}

/// Ends all children of this host, politely first.
async fn end_everything() {
    for (signal, wait) in [(Signal::SIGTERM, 500), (Signal::SIGKILL, 2_000)] {
        let until = tokio::time::Instant::now() + Duration::from_millis(wait);
        loop {
            let children = reaper::descendants();
            if children.is_empty() {
                return;
            }
            for pid in children {
                let _ = kill(Pid::from_raw(pid), signal);
            }
            if tokio::time::Instant::now() >= until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Writes one line into the host's log.
fn log(message: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{message}");
}
