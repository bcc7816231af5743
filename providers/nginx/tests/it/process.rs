//! An nginx of one test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use towpath_core::Context;
use towpath_nginx::{Nginx, NginxConfig};

/// A running nginx. Clients reach it through a Unix socket, so that no test takes a port that another one wants.
pub(crate) struct Process {
    child: Child,
    dir: tempfile::TempDir,
    pub(crate) cx: Context,
}

/// Whether nginx is installed; says what to install if not.
pub(crate) fn is_installed() -> bool {
    if Command::new("nginx").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
        return true;
    }
    let what = "NOT RUN: tests of a real nginx: apt-get install nginx-light";
    eprintln!("{what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
    false
}

impl Process {
    /// Starts one whose upstream has these lines beside the `include`.
    pub(crate) async fn start(upstream: &str) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|n| format!(" {n}_temp_path {at}/{n};\n"))
            .collect();
        let config = format!(
            "pid {at}/pid;\nerror_log {at}/log info;\nworker_processes 2;\nevents {{ worker_connections 512; }}\n\
             http {{\n access_log off;\n{temporary} keepalive_requests 100000;\n upstream web {{ include {at}/web.conf; {upstream} }}\n \
             server {{ listen unix:{at}/front; location / {{ proxy_pass http://web; proxy_buffering off; \
             proxy_http_version 1.1; proxy_set_header Connection ''; proxy_connect_timeout 5s; }} }}\n}}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        std::fs::write(dir.path().join("web.conf"), "server 127.0.0.1:9 down;\n").unwrap();
        let child = Command::new("nginx")
            .args(["-g", "daemon off;", "-c"])
            .arg(dir.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut this = Self { child, dir, cx: Context::new() };
        let until = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(this.front()).await.is_err() || !this.path("pid").exists() {
            let over = this.child.try_wait().unwrap();
            assert!(over.is_none() && Instant::now() < until, "{}", this.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(this)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn front(&self) -> PathBuf {
        self.path("front")
    }

    pub(crate) fn file(&self) -> String {
        std::fs::read_to_string(self.path("web.conf")).unwrap()
    }

    pub(crate) fn config(&self) -> NginxConfig {
        NginxConfig {
            conf: Some(text(&self.path("nginx.conf"))),
            pid_file: text(&self.path("pid")),
            ..NginxConfig::new(text(&self.path("web.conf")))
        }
    }

    pub(crate) fn balancer(&self) -> Nginx {
        Nginx::new(self.config()).unwrap()
    }

    /// Names of the files beside the include file, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        let all = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = all.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| n.contains("web.conf"));
        names.sort();
        names
    }

    pub(crate) fn master(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Ends it.
    pub(crate) fn kill(&mut self) {
        let _ = kill(self.master(), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
