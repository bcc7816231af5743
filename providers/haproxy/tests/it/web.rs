//! Backends and clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towpath_core::Backend;
use towpath_core::testkit::rebind;

/// A backend that says its name: at once, or in answer to each request.
pub(crate) struct Web {
    pub(crate) at: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    pub(crate) served: Arc<AtomicUsize>,
    pub(crate) busy: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) async fn http(name: &str) -> Self {
        Self::start(name, "127.0.0.1:0".parse().unwrap(), true).await
    }

    pub(crate) async fn tcp(name: &str) -> Self {
        Self::start(name, "127.0.0.1:0".parse().unwrap(), false).await
    }

    pub(crate) async fn start(name: &str, at: SocketAddr, http: bool) -> Self {
        let listener = rebind(at).await;
        let at = listener.local_addr().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let this = Self { at, stop, tasks, served: Arc::default(), busy: Arc::default() };
        let (stop, served, busy) = (this.stop.clone(), Arc::clone(&this.served), Arc::clone(&this.busy));
        let (name, tasks) = (name.to_owned(), this.tasks.clone());
        this.tasks.spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    s = listener.accept() => s.unwrap(),
                    () = stop.cancelled() => return,
                };
                let (stop, served, busy, name) = (stop.clone(), Arc::clone(&served), Arc::clone(&busy), name.clone());
                tasks.spawn(async move {
                    let work = async {
                        if http { answer(stream, &name, &served, &busy).await } else { greet(stream, &name).await }
                    };
                    tokio::select! { () = work => {} () = stop.cancelled() => {} }
                });
            }
        });
        this
    }

    /// One at an address of its own.
    pub(crate) async fn lone(name: &str) -> Self {
        Self::start(name, lone(), true).await
    }

    pub(crate) fn backend(&self, name: &str) -> Backend {
        Backend { name: name.into(), address: self.at.ip().to_string(), port: self.at.port() }
    }

    /// Ends it, with all its connections, as the end of a process does.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends it, and starts another one at the same place.
    pub(crate) async fn restart(&mut self, name: &str) {
        self.stop().await;
        *self = Self::start(name, self.at, true).await;
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An address of its own, with any port, so that nobody takes it while its owner is restarted.
pub(crate) fn lone() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let (pid, n) = (std::process::id().to_le_bytes(), NEXT.fetch_add(1, Ordering::SeqCst));
    let last = u8::try_from(n).expect("few of them in one process");
    (Ipv4Addr::new(127, 1 + pid[0] / 2, pid[1], last), 0).into()
}

async fn greet(mut stream: TcpStream, name: &str) {
    if stream.write_all(format!("{name}\n").as_bytes()).await.is_ok() {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
}

async fn answer(mut stream: TcpStream, name: &str, served: &AtomicUsize, busy: &AtomicUsize) {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|w| w == b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let slow = buffer.starts_with(b"GET /slow");
        let check = buffer.starts_with(b"GET /health");
        buffer.clear();
        busy.fetch_add(usize::from(!check), Ordering::SeqCst);
        if slow {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        served.fetch_add(usize::from(!check), Ordering::SeqCst);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        let sent = stream.write_all(text.as_bytes()).await;
        busy.fetch_sub(usize::from(!check), Ordering::SeqCst);
        if sent.is_err() {
            return;
        }
    }
}

/// Reads the name that a backend greets with. `None`: nobody serves.
pub(crate) async fn greeting(front: &Path) -> Option<(String, UnixStream)> {
    let mut stream = UnixStream::connect(front).await.ok()?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if stream.read_buf(&mut line).await.ok()? == 0 {
            return None;
        }
    }
    Some((String::from_utf8(line).unwrap().trim().to_owned(), stream))
}

/// A client that keeps its connection, and never tries twice.
pub(crate) struct Client(UnixStream);

impl Client {
    pub(crate) async fn connect(front: &Path) -> Self {
        Self(UnixStream::connect(front).await.unwrap())
    }

    /// Status and body.
    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).await.unwrap();
        let mut buffer = Vec::new();
        let head = loop {
            assert!(self.0.read_buf(&mut buffer).await.unwrap() > 0, "closed before an answer");
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            text.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse::<usize>().ok()).unwrap();
        while buffer.len() < head + length {
            assert!(self.0.read_buf(&mut buffer).await.unwrap() > 0, "closed within an answer");
        }
        (status, String::from_utf8_lossy(&buffer[head..]).into_owned())
    }
}
