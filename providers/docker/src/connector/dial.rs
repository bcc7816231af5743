//! A port or socket as seen from the container.
//!
//! Many a service listens on the container's loopback only, where the engine's API reaches nothing. So a relay of a few lines runs in
//! the container, in the Python or Perl that is there; its streams are the connection's. It says on its first byte of output
//! whether it has got through.

use std::io;
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use towpath_core::{Context, Endpoint, Error, ErrorKind, Exec, ExitStatus, Process, Result, Stream, shell_quote};

use super::exec::Place;
use super::process::spawn;
use crate::PROVIDER;

/// Longest wait for a connection inside the container.
const PATIENCE: Duration = Duration::from_secs(30);

const PYTHON: &str = r#"
import os, socket, sys, threading
kind, name, port = sys.argv[1:4]
try:
    if kind == "unix":
        s = socket.socket(socket.AF_UNIX)
        s.connect(name)
    else:
        s = socket.create_connection((name, int(port)), 20)
    s.settimeout(None)
except PermissionError as e:
    sys.stderr.write(str(e)); sys.exit(43)
except (OSError, socket.error) as e:
    sys.stderr.write(str(e)); sys.exit(44)
def write(data):
    while data:
        data = data[os.write(1, data):]
def send():
    try:
        while True:
            data = os.read(0, 65536)
            if not data: break
            s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError: pass
write(b"+")
t = threading.Thread(target=send); t.daemon = True; t.start()
try:
    while True:
        data = s.recv(65536)
        if not data: break
        write(data)
except OSError: pass
os._exit(0)
"#;

const PERL: &str = r#"
use strict; use Socket;
my ($kind, $name, $port) = @ARGV;
my ($s, $ok);
$SIG{PIPE} = "IGNORE";
if ($kind eq "unix") {
    socket($s, AF_UNIX, SOCK_STREAM, 0) and $ok = connect($s, pack_sockaddr_un($name));
} else {
    my ($e, @found) = Socket::getaddrinfo($name, $port, {socktype => SOCK_STREAM});
    $! = 2 if $e;
    for my $a (@found) {
        socket($s, $a->{family}, SOCK_STREAM, 0) or next;
        $ok = connect($s, $a->{addr}) and last;
    }
}
if (!$ok) { my $denied = $!{EACCES} || $!{EPERM}; print STDERR "$!"; exit($denied ? 43 : 44) }
sub all { my ($to, $data) = @_; while (length $data) { my $n = syswrite($to, $data); return 0 unless defined $n; substr($data, 0, $n) = "" } 1 }
all(*STDOUT, "+");
my $child = fork;
if (!$child) {
    while (sysread(STDIN, my $data, 65536)) { all($s, $data) or last }
    shutdown($s, 1); exit 0;
}
while (sysread($s, my $data, 65536)) { all(*STDOUT, $data) or last }
kill "KILL", $child; exit 0;
"#;

/// A relay and the process that carries it.
struct Dialled {
    process: Process,
}

impl AsyncRead for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.process.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.process.stdin).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.process.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.process.stdin).poll_shutdown(cx)
    }
}

/// Opens a connection from inside the container.
pub(super) async fn dial(cx: &Context, place: &Place, to: &Endpoint) -> Result<Box<dyn Stream>> {
    let error = |kind, message: &str| Error::new(kind, PROVIDER, "dial", message).with("host", &place.host);
    let (words, shown) = match to {
        Endpoint::Tcp(name, port) => (format!("tcp {} {port}", shell_quote(name)), format!("{name}:{port}")),
        Endpoint::Unix(path) => (format!("unix {} 0", shell_quote(path)), path.clone()),
    };
    let script = format!(
        "if command -v python3 >/dev/null 2>&1; then exec python3 -c {} {words}\n\
         elif command -v perl >/dev/null 2>&1; then exec perl -e {} {words}\nelse exit 42; fi",
        shell_quote(PYTHON),
        shell_quote(PERL)
    );
    let mut exec = Exec::script(script);
    exec.label = Some(format!("dial {shown}"));
    let mut process = spawn(cx, place, &exec).await?;
    let mut first = [0u8; 1];
    let got = cx
        .with_timeout(PATIENCE)
        .guard(PROVIDER, "dial", async { Ok(process.stdout.read(&mut first).await.unwrap_or(0)) })
        .await;
    match got {
        Ok(1) => return Ok(Box::new(Dialled { process })),
        Ok(_) => {}
        Err(e) => {
            let ended = process.control.end().await;
            let late = e.kind() == ErrorKind::Timeout && !cx.is_cancelled();
            let error = match late {
                true => error(ErrorKind::Unreachable, "nobody answers there").with("to", shown).retry_later(),
                false => e.with("host", &place.host),
            };
            return Err(match ended {
                Ok(_) => error,
                Err(e) => error.with("left", format!("the relay may run on in the container: {}", e.message())),
            });
        }
    }
    let status = process.control.wait().await?;
    let mut said = String::new();
    let _ = process.stderr.read_to_string(&mut said).await;
    let error = match status {
        ExitStatus::Code(42) => {
            return Err(error(
                ErrorKind::Unsupported,
                "the container has neither python3 nor perl, one of which is needed to reach its ports from inside: \
                 install one, or publish the port",
            ));
        }
        ExitStatus::Code(43) => error(ErrorKind::Denied, "the user may not connect there"),
        _ => error(ErrorKind::Unreachable, "nobody listens there").retry_later(),
    };
    Err(error.with("to", shown).caused_by(said))
}
