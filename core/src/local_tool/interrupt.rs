use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::{Context, ErrorKind, LocalProcess};

/// How often a process that is no child of this one is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Whom an interrupt goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The tool alone, for one that tells its helpers itself: a helper that is ended under its hands may leave what nobody knows of.
    Tool,
    /// Its whole group, as a Ctrl-C at a terminal would.
    Group,
}

/// How a tool is asked to stop: once, and then it is waited for.
#[derive(Debug, Clone)]
pub struct Interrupt {
    reach: Reach,
    grace: Duration,
    sent: PathBuf,
    pub(super) on_drop: bool,
    notice: Option<String>,
}

/// What came of waiting for a tool.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// It ended by itself.
    Done(T),
    /// It was interrupted, for a cancel or for the deadline, and has ended.
    Stopped(T, ErrorKind),
    /// It was interrupted, and did not end within its time.
    Left(ErrorKind),
}

impl Interrupt {
    /// `grace`: how long the tool may take to end. `sent`: the file that is made before it is sent; where it is there, none is sent any more. So of
    /// one that came just before a crash nobody knows whether the tool has heard it.
    pub fn new(reach: Reach, grace: Duration, sent: PathBuf) -> Self {
        Self { reach, grace, sent, on_drop: false, notice: None }
    }

    /// Also interrupts the tool when its [`Running`](super::Running) is dropped before its end. Nobody waits for it then.
    #[must_use]
    pub fn also_on_drop(self) -> Self {
        Self { on_drop: true, ..self }
    }

    /// What listeners are told as a warning when it is sent while they wait.
    #[must_use]
    pub fn with_notice(self, notice: impl Into<String>) -> Self {
        Self { notice: Some(notice.into()), ..self }
    }

    /// Sends it to the tool with this process id, unless it was sent before.
    pub fn send(&self, pid: u32) {
        // Without the file this can only be too much, never too little.
        if matches!(File::create_new(&self.sent), Err(e) if e.kind() == io::ErrorKind::AlreadyExists) {
            return;
        }
        // Nought would be this very process's group.
        let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0).map(Pid::from_raw) else { return };
        // Gone already is what is wanted.
        let _ = match self.reach {
            Reach::Tool => kill(pid, Signal::SIGINT),
            Reach::Group => killpg(pid, Signal::SIGINT),
        };
    }

    /// Waits for `work`, which ends with the tool. At a cancel or at the deadline the tool is interrupted, and waited for once more.
    pub async fn wait_for<T>(&self, cx: &Context, pid: u32, mut work: Pin<&mut impl Future<Output = T>>) -> Waited<T> {
        let stop = cx.guard::<()>("core", "wait", std::future::pending());
        let why = tokio::select! {
            biased;
            done = &mut work => return Waited::Done(done),
            stop = stop => stop.err().map_or(ErrorKind::Cancelled, |e| e.kind()),
        };
        if let Some(notice) = &self.notice {
            cx.warn(notice);
        }
        self.send(pid);
        match tokio::time::timeout(self.grace, work).await {
            Ok(done) => Waited::Stopped(done, why),
            Err(_) => Waited::Left(why),
        }
    }

    /// The same for a tool that another process had started. `look` is called now and then, and once after its end.
    pub async fn wait_for_survivor(&self, cx: &Context, tool: LocalProcess, mut look: impl FnMut()) -> Waited<()> {
        let gone = async {
            while tool.is_alive() {
                look();
                tokio::time::sleep(LOOK).await;
            }
            look();
        };
        self.wait_for(cx, tool.pid(), pin!(gone)).await
    }
}
