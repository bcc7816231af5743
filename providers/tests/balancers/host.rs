//! A host with sshd that gets a balancer of this machine, and two backends of its own.

use std::process::{Command, Stdio};

use towpath_core::testkit::Sshd;

/// Two backends that greet with their names and keep the connection, on 8001 and 8002.
const BACKENDS: &str = r#"
import socket, threading
def serve(port, name):
    s = socket.create_server(("127.0.0.1", port), backlog=128)
    while True:
        threading.Thread(target=talk, args=(s.accept()[0], name), daemon=True).start()
def talk(c, name):
    try:
        c.sendall(name + b"\n")
        while c.recv(4096): pass
    except OSError: pass
    c.close()
threading.Thread(target=serve, args=(8001, b"web-1")).start()
serve(8002, b"web-2")
"#;

/// A container with this program of this machine in it, as `/usr/local/sbin/<name>`, with its libraries: the image has neither, and a
/// test downloads nothing. `None` after `NOT RUN`.
pub(crate) fn with(name: &str, program: &str) -> Option<Sshd> {
    if !std::path::Path::new(program).exists() {
        let what = format!("NOT RUN: tests of {name} on another host: apt-get install {name}");
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return None;
    }
    let sshd = Sshd::start()?;
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().find(|w| w.starts_with('/'))).collect();
    let loader = libraries.iter().find(|l| l.contains("/ld-linux")).expect("a program of Linux");
    let dir = tempfile::tempdir().unwrap();
    for file in libraries.iter().chain([&program]) {
        let file = std::path::Path::new(file);
        std::fs::copy(file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    sshd.sh("mkdir -p /opt/lb /srv/lb");
    let from = format!("{}/.", dir.path().display());
    let copied = Command::new("docker")
        .args(["cp", &from, &format!("{}:/opt/lb", sshd.id)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(copied.unwrap().success(), "docker cp");
    let loader = loader.rsplit('/').next().unwrap();
    sshd.sh(&format!(
        "chmod -R a+rX /opt/lb
         printf '#!/bin/sh\\nexec /opt/lb/{loader} --library-path /opt/lb --argv0 {name} /opt/lb/{name} \"$@\"\\n' >/usr/local/sbin/{name}
         chmod 755 /usr/local/sbin/{name}
         cat > /srv/lb/backends.py <<'P'\n{BACKENDS}\nP
         setsid python3 /srv/lb/backends.py </dev/null >/dev/null 2>&1 &
         until python3 -c 'import socket; [socket.create_connection((\"127.0.0.1\", p)) for p in (8001, 8002)]' 2>/dev/null
         do sleep 0.05; done"
    ));
    Some(sshd)
}
