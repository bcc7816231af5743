//! A host with sshd that gets a balancer of this machine, and two backends of its own.

use std::process::{Command, Stdio};

use towpath_core::testkit::Sshd;

/// Two backends that say their names and keep the connection, on 8001 and 8002: at once, or in an answer to HTTP without an end.
const BACKENDS: &str = r#"
import socket, sys, threading
def serve(port, name):
    s = socket.create_server(("127.0.0.1", port), backlog=128)
    while True:
        threading.Thread(target=talk, args=(s.accept()[0], name), daemon=True).start()
def talk(c, name):
    try:
        if "http" in sys.argv:
            asked = b""
            while b"\r\n\r\n" not in asked:
                some = c.recv(4096)
                if not some: return
                asked += some
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        c.sendall(name + b"\n")
        while c.recv(4096): pass
    except OSError: pass
    c.close()
threading.Thread(target=serve, args=(8001, b"web-1")).start()
serve(8002, b"web-2")
"#;

/// A container with this program of this machine in it, as `/usr/local/sbin/<name>`, with its libraries: the image has neither, and a
/// test downloads nothing. `None` after `NOT RUN`.
///
/// `speaks`: what the backends speak, `tcp` or `http`.
pub(crate) fn with(name: &str, program: &str, speaks: &str) -> Option<Sshd> {
    if !std::path::Path::new(program).exists() {
        let what = format!("NOT RUN: tests of {name} on another host: apt-get install {name}");
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return None;
    }
    let sshd = Sshd::start()?;
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = text.lines().filter_map(|l| l.split_whitespace().find(|w| w.starts_with('/')));
    // Those of the C library must be the container's own, as its loader is.
    let base = ["/ld-linux", "/libc.so", "/libm.so", "/libdl.so", "/libpthread.so", "/librt.so", "/libcrypt.so"];
    let libraries = libraries.filter(|l| !base.iter().any(|b| l.contains(b)));
    let dir = tempfile::tempdir().unwrap();
    for file in libraries.chain([program]) {
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
    sshd.sh(&format!(
        "chmod -R a+rX /opt/lb
         printf '#!/bin/sh\\nLD_LIBRARY_PATH=/opt/lb exec /opt/lb/{name} \"$@\"\\n' >/usr/local/sbin/{name}
         chmod 755 /usr/local/sbin/{name}
         cat > /srv/lb/backends.py <<'P'\n{BACKENDS}\nP
         setsid python3 /srv/lb/backends.py {speaks} </dev/null >/dev/null 2>&1 &
         until python3 -c 'import socket; [socket.create_connection((\"127.0.0.1\", p)) for p in (8001, 8002)]' 2>/dev/null
         do sleep 0.05; done"
    ));
    Some(sshd)
}
