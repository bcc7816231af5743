//! Tools of this machine that do what must not be torn off in the middle: `terraform apply`, `packer build`, `vagrant up`.
//!
//! What every provider that drives one needs is here; its command line, and what its output means, is the provider's own business.
//!
//! * **It outlives this process.** Its output goes into private files, not through pipes: a pipe to a process that was killed would end the tool
//!   too. The files are [followed](Growing) as they grow.
//! * **It hears of a stop once.** It leads a process group of its own, so that a Ctrl-C at the terminal reaches it only through here. A
//!   cancel or the deadline [interrupts](Interrupt) it, and it is awaited. A second interrupt makes most tools drop everything, so a
//!   file says that the first one was sent, even to the next process.
//! * **It is never killed from here.** One that does not end in its time is named; whoever can lose nothing by it uses
//!   [`Mark::kill_all`].
//! * **It is found again.** A process that takes up the work after a crash finds the tool by [its output](writer_of) or by
//!   [a mark in its environment](Mark), and [waits for it](Interrupt::wait_for_survivor).
//!
//! ```no_run
//! # async fn example(cx: &towpath_core::Context, folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! use towpath_core::local_tool::{Interrupt, Logs, Reach, Running, Waited};
//!
//! let interrupt = Interrupt::new(Reach::Tool, std::time::Duration::from_secs(60), folder.join("interrupted"));
//! let mut command = tokio::process::Command::new("terraform");
//! command.args(["apply", "-json"]);
//! let mut running = Running::start(command, &Logs::of(folder.join("apply.jsonl")), interrupt)?;
//! match running.follow(cx, |line| println!("{line}")).await? {
//!     Waited::Done(status) => println!("{status}, {}", running.errors()),
//!     Waited::Stopped(status, why) => println!("{why:?}: it was interrupted, and has ended with {status}"),
//!     Waited::Left(why) => println!("{why:?}: process {} was interrupted, and goes on", running.pid()),
//! }
//! # Ok(())
//! # }
//! ```

mod ask;
mod growing;
mod interrupt;
mod survivor;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

pub use ask::{ask, find_program};
pub use growing::Growing;
pub use interrupt::{Interrupt, Reach, Waited};
pub use survivor::{Mark, marked, writer_of};

use crate::Context;

/// How often the output is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The files that a tool writes its output to. They are new ones, in a folder that is this user's alone.
#[derive(Debug, Clone)]
pub struct Logs {
    /// Its standard output.
    pub out: PathBuf,
    /// Its standard error.
    pub err: PathBuf,
}

impl Logs {
    /// Standard output goes here, and standard error beside it, with the ending `.err`.
    pub fn of(out: impl Into<PathBuf>) -> Self {
        let out = out.into();
        Self { err: out.with_extension("err"), out }
    }
}

/// Why a tool was not started. It did nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// Its files can't be made.
    #[error("the files of its output can't be made")]
    Logs(#[source] io::Error),
    /// The program can't be run.
    #[error("the program can't be run")]
    Program(#[source] io::Error),
}

/// A new file of mode 0600, locked: the lock goes on in every process that gets it as its output.
fn new_log(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    // Where files can't be locked, `is_written` only knows less.
    let _ = file.try_lock();
    Ok(file)
}

/// Says whether a tool that was started with this as its output runs, or something that it left: also in another container, or as
/// another user, where no process of it is found.
pub fn is_written(out: &Path) -> bool {
    let Ok(file) = File::open(out) else { return false };
    // Shared, so that two who look at the same time don't see each other.
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// A tool at work.
///
/// When this is dropped before its end, as with a future that nobody awaits any more, the tool goes on; it is interrupted if
/// [`Interrupt::also_on_drop`] says so.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pid: u32,
    log: Growing,
    err: PathBuf,
    interrupt: Interrupt,
    /// It has ended, or was interrupted.
    over: bool,
}

impl Running {
    /// Starts it: without input, in a process group of its own, its output in `logs`.
    ///
    /// # Errors
    ///
    /// Says what could not be had; nothing runs then.
    pub fn start(mut command: Command, logs: &Logs, interrupt: Interrupt) -> Result<Self, NotStarted> {
        let out = new_log(&logs.out).map_err(NotStarted::Logs)?;
        let err = new_log(&logs.err).map_err(NotStarted::Logs)?;
        // Before the tool starts: from then on nothing may fail here.
        let log = Growing::open(&logs.out).map_err(NotStarted::Logs)?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = command.spawn().map_err(NotStarted::Program)?;
        let pid = child.id().unwrap_or_default();
        Ok(Self { child, pid, log, err: logs.err.clone(), interrupt, over: false })
    }

    /// Its process id, which is also that of its group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Hands over each line of its standard output, and waits until it has ended. A cancel or the deadline interrupts it, and it is awaited: it may have
    /// succeeded all the same, if it was done before it heard.
    ///
    /// # Errors
    ///
    /// It has ended, and its output can't be read.
    pub async fn follow(&mut self, cx: &Context, mut each: impl FnMut(&str)) -> io::Result<Waited<ExitStatus>> {
        let work = pin!(until_ended(&mut self.child, &mut self.log, &mut each));
        let waited = self.interrupt.wait_for(cx, self.pid, work).await;
        self.over = true;
        Ok(match waited {
            Waited::Done(ended) => Waited::Done(ended?),
            Waited::Stopped(ended, why) => Waited::Stopped(ended?, why),
            Waited::Left(why) => Waited::Left(why),
        })
    }

    /// Hands over the lines that are left, and gives its status, however long that takes: for one that was [left](Waited::Left).
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow).
    pub async fn ended(&mut self, mut each: impl FnMut(&str)) -> io::Result<ExitStatus> {
        until_ended(&mut self.child, &mut self.log, &mut each).await
    }

    /// What it has written to its standard error.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over && self.interrupt.on_drop {
            self.interrupt.send(self.pid);
        }
    }
}

async fn until_ended(child: &mut Child, log: &mut Growing, each: &mut impl FnMut(&str)) -> io::Result<ExitStatus> {
    let status = loop {
        let ended = tokio::time::timeout(LOOK, child.wait()).await;
        log.lines(&mut *each);
        if let Ok(status) = ended {
            break status?;
        }
    };
    log.finish(each)?;
    Ok(status)
}
