//! Starts the server that plays Strider: `tests/sim`, with the npm packages that it needs in the target folder.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// Who may log in.
pub(crate) const USER: &str = "ops@example.test";
/// With this password.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A running simulator. It ends on drop, and with this process.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    /// Held open: the simulator ends with it.
    _stdin: Option<ChildStdin>,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    tls: bool,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self._stdin.take());
        // It ends its jobs and itself, unless somebody stopped it.
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder with the programs and their packages; made once, by whoever is first.
pub(crate) fn folder() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(install).clone()
}

fn install() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find_map(|up| {
        ["tests/sim", "providers/strider/tests/sim"].iter().map(|p| up.join(p)).find(|p| p.join("server.js").exists())
    })?;
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|up| up.join("CACHEDIR.TAG").exists() || up.ends_with("target"))?;
    let packages = target.join("strider-simulator");
    if !packages.join("node_modules/socket.io/package.json").exists() {
        // Whole or not at all: others may be here at the same time.
        let new = target.join(format!("strider-simulator.new-{}", std::process::id()));
        std::fs::create_dir_all(&new).ok()?;
        std::fs::copy(source.join("package.json"), new.join("package.json")).ok()?;
        let npm =
            Command::new("npm").args(["install", "--no-audit", "--no-fund", "--silent"]).current_dir(&new).output();
        let well = npm.is_ok_and(|out| out.status.success());
        if well && std::fs::rename(&new, &packages).is_err() && !packages.join("node_modules").exists() {
            return None;
        }
        let _ = std::fs::remove_dir_all(&new);
        if !packages.join("node_modules/socket.io/package.json").exists() {
            return None;
        }
    }
    Some(source)
}

/// Node with the packages, for a program beside the simulator.
pub(crate) fn node(program: &str) -> Option<Command> {
    let source = folder()?;
    let target = std::env::current_exe().ok()?;
    let target = target.ancestors().find(|up| up.join("strider-simulator").exists())?.to_owned();
    let mut node = Command::new("node");
    node.env("NODE_PATH", target.join("strider-simulator/node_modules")).arg(source.join(program));
    Some(node)
}

impl Simulator {
    /// Starts one with these variables. `None`: Node.js or the packages can't be had.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Option<Self> {
        let mut node = node("server.js")?;
        node.env("SIM_USER", USER).env("SIM_PASSWORD", PASSWORD).envs(variables.iter().copied());
        let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        let port = line.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()?;
        let tls = variables.iter().any(|(name, _)| *name == "SIM_KEY");
        Some(Self { child, _stdin: stdin, port, tls })
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// Its process.
    #[allow(dead_code, reason = "the example that shares this file lets it run")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the simulator something that Strider does not have: `POST /_sim/...`. Gives the answer's body.
    pub(crate) fn control(&self, path: &str, body: &str) -> String {
        assert!(!self.tls, "only without TLS");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the simulator listens");
        let head = format!(
            "POST /_sim/{path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("it takes requests");
        stream.write_all(body.as_bytes()).expect("it takes requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        // Node writes short answers in one chunk or more.
        match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            true => body.split("\r\n").skip(1).step_by(2).collect(),
            false => body.to_owned(),
        }
    }
}
