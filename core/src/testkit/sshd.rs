use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::docker::{docker, docker_reads, image_is_there};
use crate::{ConnectionSpec, Host, Json};

/// The image of `.ci/sshd-image`.
pub const SSHD_IMAGE: &str = "towpath/debian:bookworm-5";

/// A real OpenSSH server in a container, ended on drop.
///
/// Users: `deploy` (sudo without a password) and `asks` (password and sudo password [`Sshd::PASSWORD`]). Both accept
/// [`key`](Self::key).
#[derive(Debug)]
pub struct Sshd {
    /// The container's id.
    pub id: String,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Folder of this test process that holds the client key and a `known_hosts` for this server.
    pub dir: PathBuf,
}

impl Sshd {
    /// Password of the user `asks`.
    pub const PASSWORD: &str = "correct horse";

    /// Starts a server and waits until it answers. `None`, with a line that says what is missing, where Docker or the
    /// image is not there; where they could have been installed (`TOWPATH_TEST_REQUIRE=1`, which `./test` sets) it panics.
    pub fn start() -> Option<Self> {
        Self::start_from(SSHD_IMAGE, ".ci/sshd-image")
    }

    /// As [`start`](Self::start), from another image that has sshd and the same users; `made_by` says what makes it.
    pub fn start_from(image: &str, made_by: &str) -> Option<Self> {
        Self::start_as(image, made_by, &[])
    }

    /// As [`start`](Self::start), with more options of `docker run`.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        Self::start_as(SSHD_IMAGE, ".ci/sshd-image", options)
    }

    fn start_as(image: &str, made_by: &str, options: &[&str]) -> Option<Self> {
        if !image_is_there(image) {
            let what =
                format!("NOT RUN: OpenSSH containers: install docker.io and debootstrap, start dockerd, run {made_by}");
            eprintln!("{what}");
            assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
            return None;
        }
        let run = ["run", "-d", "--init", "--label", "towpath-test", "-p", "127.0.0.1::22"];
        let id = docker(&[&run[..], options, &[image]].concat());
        let dir =
            std::env::temp_dir().join(format!("towpath-sshd-{}-{}", std::process::id(), id.get(..12).unwrap_or(&id)));
        let mut this = Self { id, port: 0, dir };
        this.prepare();
        Some(this)
    }

    fn prepare(&mut self) {
        std::fs::create_dir_all(&self.dir).unwrap();
        let key = self.key();
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
        assert!(made.success(), "ssh-keygen");
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let mut script = String::new();
        for user in ["deploy", "asks"] {
            script.push_str(&format!("cat > /home/{user}/.ssh/authorized_keys <<'K'\n{public}K\nchown {user}:{user} /home/{user}/.ssh/authorized_keys\n"));
        }
        self.sh(&script);
        let port = docker(&["port", &self.id, "22/tcp"]);
        self.port = port.rsplit(':').next().and_then(|p| p.trim().parse().ok()).expect("docker says which port");
        let host_key = self.sh("cat /etc/ssh/ssh_host_ed25519_key.pub");
        let line = format!("[127.0.0.1]:{} {}\n", self.port, host_key.split(' ').take(2).collect::<Vec<_>>().join(" "));
        std::fs::write(self.known_hosts(), line).unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            use std::io::Read as _;
            if let Ok(mut s) = std::net::TcpStream::connect(("127.0.0.1", self.port)) {
                let mut banner = [0u8; 4];
                s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                if s.read_exact(&mut banner).is_ok() && &banner == b"SSH-" {
                    return;
                }
            }
            assert!(Instant::now() < until, "sshd in {} does not answer", self.id);
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The client's private key.
    pub fn key(&self) -> PathBuf {
        self.dir.join("id")
    }

    /// A `known_hosts` file that holds this server's key.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// Runs a script as root inside, not through SSH, and gives its output. Panics if it fails.
    pub fn sh(&self, script: &str) -> String {
        let out = docker_reads(&["exec", "-i", &self.id, "/bin/sh", "-eu"], script);
        assert!(out.status.success(), "{script}\n{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Has it read its configuration again, and waits until it greets: a connection that comes while it starts anew may be left without an
    /// answer, and a second order meanwhile is lost.
    pub fn reload(&self) {
        self.sh("pkill -HUP -o -x sshd; sleep 0.5");
        let until = Instant::now() + Duration::from_secs(60);
        while !self.greets() {
            assert!(Instant::now() < until, "sshd does not greet after it has read its configuration again");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut first = [0; 4];
        let limited = stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok();
        limited && stream.read_exact(&mut first).is_ok() && first == *b"SSH-"
    }

    /// The server as a [`Host`]: user `deploy`, its key and `known_hosts` given through the connector's options
    /// `identity_file`, `known_hosts` and `identities_only`.
    pub fn host(&self, name: &str) -> Host {
        self.host_as(name, "deploy")
    }

    /// As [`host`](Self::host), for another user.
    pub fn host_as(&self, name: &str, user: &str) -> Host {
        let text = |p: &Path| Json::from(p.display().to_string());
        let options = [
            ("identity_file".to_owned(), text(&self.key())),
            ("identities_only".to_owned(), Json::from(true)),
            ("known_hosts".to_owned(), text(&self.known_hosts())),
        ];
        Host {
            name: name.to_owned(),
            connection: ConnectionSpec {
                kind: "ssh".into(),
                address: Some("127.0.0.1".into()),
                port: Some(self.port),
                user: Some(user.to_owned()),
                options: options.into_iter().collect(),
                ..ConnectionSpec::default()
            },
            ..Host::default()
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ =
            Command::new("docker").args(["rm", "-f", &self.id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
