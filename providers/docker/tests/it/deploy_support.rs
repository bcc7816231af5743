//! A service to deploy, and what is left of it afterwards.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_core::testkit::build_image;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{Artifact, ArtifactKind, Context, Host, Provenance, Release, Target, digest_json};
use towpath_docker::{DockerConnector, DockerDeployConfig};

use crate::{BASE, Container, docker, unique};

/// Answers each request with its version; asked to end, it finishes what it has.
const SERVER: &str = r#"
import http.server, os, signal, threading
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(s):
        b = os.environ["V"].encode()
        s.send_response(200 if s.path != "/missing" else 404)
        s.send_header("content-length", str(len(b))); s.end_headers(); s.wfile.write(b)
    def log_message(s, *a): pass
class S(http.server.ThreadingHTTPServer):
    daemon_threads = False; request_queue_size = 128
print("serves", os.environ["V"], flush=True)
server = S(("", 80), H)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
server.serve_forever(); server.server_close()
"#;

/// Builds an image, once for each text of its Dockerfile, and gives its id.
pub(crate) fn image(tag: &str, dockerfile: &str) -> String {
    build_image(&format!("towpath-test/deploy:{tag}"), &format!("FROM {BASE}\n{dockerfile}\n"))
}

pub(crate) fn server(version: &str) -> String {
    let cmd = serde_json::to_string(&["python3", "-u", "-c", SERVER]).unwrap();
    image(version, &format!("ENV V={version}\nCMD {cmd}"))
}

pub(crate) fn release_of(id: &str, version: &str) -> Release {
    Release {
        service: "web".into(),
        version: version.into(),
        artifact: Some(Artifact {
            name: "web".into(),
            kind: ArtifactKind::DockerImage,
            id: id.into(),
            digest: id.into(),
            provenance: Provenance::default(),
        }),
        env: [("EXTRA".to_owned(), "it's $HOME".to_owned())].into(),
    }
}

pub(crate) fn release(version: &str) -> Release {
    release_of(&server(version), version)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks a port of this machine, as anybody would.
pub(crate) fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    let (head, body) = all.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.0 200").then(|| body.to_owned())
}

/// An environment of its own, emptied on drop.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) environment: String,
    pub(crate) port: u16,
    pub(crate) cx: Context,
    pub(crate) target: Target,
    through: Option<Container>,
}

impl Place {
    /// On this machine's engine, reached from here.
    pub(crate) fn new() -> Self {
        let environment = unique("deploy");
        let cx = Context::builder().environment(&environment).build();
        let host = Host { name: "web1".into(), ..Host::default() };
        let target = Target { host, connector: Arc::new(Nowhere) };
        Self { environment, port: free_port(), cx, target, through: None }
    }

    /// On the same engine, whose socket is dialled from inside a container that is in the machine's own network.
    pub(crate) fn dialled() -> Self {
        let socket = "/var/run/docker.sock:/var/run/docker.sock";
        let run = ["run", "-d", "--init", "--label", "towpath-test", "--network", "host", "-v", socket];
        let container = Container { id: docker(&[&run[..], &[BASE, "sleep", "1000000"]].concat()) };
        let mut place = Self::new();
        place.target = Target { host: container.host("web1"), connector: Arc::new(DockerConnector::default()) };
        place.through = Some(container);
        place
    }

    pub(crate) fn config(&self) -> DockerDeployConfig {
        let config = DockerDeployConfig::new("web").port(format!("{}:80", self.port)).ready_at(80, "/");
        let host = self.through.is_none().then(|| "unix:///var/run/docker.sock".to_owned());
        let mut config = DockerDeployConfig { host, ..config };
        config.container.stop_timeout_s = 5;
        config
    }

    /// Names and states of all its containers, sorted.
    pub(crate) fn containers(&self) -> Vec<(String, String)> {
        let filter = format!("label=towpath.deploy.environment={}", self.environment);
        let text = docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.State}}"]);
        let mut all: Vec<_> =
            text.lines().filter_map(|l| l.split_once(' ')).map(|(n, s)| (n.to_owned(), s.to_owned())).collect();
        all.sort();
        all
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let filter = format!("label=towpath.deploy.environment={}", self.environment);
        docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let filter = format!("label=towpath.deploy.environment={}", self.environment);
        let out = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        for id in String::from_utf8_lossy(&out.map(|o| o.stdout).unwrap_or_default()).lines() {
            let _ = Command::new("docker").args(["rm", "-fv", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let out = Command::new("docker").args(["volume", "ls", "-q", "--filter", &filter]).output();
        for volume in String::from_utf8_lossy(&out.map(|o| o.stdout).unwrap_or_default()).lines() {
            let _ = Command::new("docker").args(["volume", "rm", volume]).stdout(Stdio::null()).status();
        }
        let mark = &digest_json(&json!([self.environment, "web", "web1"]))[..8];
        let reference = format!("reference=towpath.invalid/*-{mark}/*");
        let list = ["images", "--filter", &reference, "--format", "{{.Repository}}:{{.Tag}}"];
        let out = Command::new("docker").args(list).output();
        for mark in String::from_utf8_lossy(&out.map(|o| o.stdout).unwrap_or_default()).lines() {
            let _ = Command::new("docker").args(["rmi", mark]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}
