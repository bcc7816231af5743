//! A HAProxy of one test, and a TLS-free world around it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use towpath_core::Context;
use towpath_haproxy::{HaProxy, HaProxyConfig};

/// A running HAProxy: a master, and the worker that serves. Clients reach it through a Unix socket, so that no test takes a port
/// that another one wants.
pub(crate) struct Process {
    child: Child,
    dir: tempfile::TempDir,
    pub(crate) cx: Context,
}

/// Whether HAProxy is installed; says what to install if not.
pub(crate) fn is_installed() -> bool {
    if Command::new("haproxy").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    {
        return true;
    }
    let what = "NOT RUN: tests of a real HAProxy: apt-get install haproxy";
    eprintln!("{what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
    false
}

impl Process {
    /// Starts one whose section `web` has these lines.
    pub(crate) async fn start(mode: &str, section: &str) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let config = format!(
            "global\n stats socket {at}/api mode 600 level admin\n stats socket {at}/user mode 600 level user\n \
             server-state-file {at}/state\n stats timeout 30s\n\
             defaults\n mode {mode}\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout queue 5s\n \
             load-server-state-from-file global\n\
             frontend front\n bind unix@{at}/front mode 600\n default_backend web\n\
             backend other\n server-template slot 2 0.0.0.0:80 disabled\n\
             backend web\n {}\n",
            section.trim().replace('\n', "\n ")
        );
        std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
        std::fs::write(dir.path().join("state"), "1\n").unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("haproxy")
            .args(["-W", "-db", "-f"])
            .arg(dir.path().join("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut this = Self { child, dir, cx: Context::new() };
        let until = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(this.api()).await.is_err() {
            let over = this.child.try_wait().unwrap();
            assert!(over.is_none() && Instant::now() < until, "{}", this.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(this)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn api(&self) -> PathBuf {
        self.path("api")
    }

    pub(crate) fn front(&self) -> PathBuf {
        self.path("front")
    }

    pub(crate) fn config(&self) -> HaProxyConfig {
        HaProxyConfig { socket: text(&self.api()), ..HaProxyConfig::new("web") }
    }

    pub(crate) fn balancer(&self) -> HaProxy {
        HaProxy::new(self.config()).unwrap()
    }

    /// Says something to HAProxy behind towpath's back.
    pub(crate) async fn say(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.api()).await.unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut out = String::new();
        stream.read_to_string(&mut out).await.unwrap();
        out
    }

    pub(crate) async fn pid(&self) -> String {
        let info = self.say("show info").await;
        info.lines().find_map(|l| l.strip_prefix("Pid: ")).unwrap().to_owned()
    }

    /// Reloads it, and waits until the new worker is the only one that listens.
    pub(crate) async fn reload(&self) {
        let old = self.pid().await;
        let master = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(master, Signal::SIGUSR2).unwrap();
        let mut again = Instant::now() + Duration::from_secs(2);
        // The listening sockets are handed over: for a moment, both workers take connections.
        let mut in_a_row = 0;
        let until = Instant::now() + Duration::from_secs(60);
        while in_a_row < 10 {
            in_a_row = if self.pid().await == old { 0 } else { in_a_row + 1 };
            assert!(Instant::now() < until, "{}", self.log());
            if in_a_row == 0 && Instant::now() > again {
                // A master that has just started ignores it.
                kill(master, Signal::SIGUSR2).unwrap();
                again += Duration::from_secs(2);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // The master ends its workers.
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
