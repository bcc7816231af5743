//! Backends and clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towpath_core::Backend;
use towpath_core::testkit::rebind;

/// A backend that says its name. To `/hold` it does so in an answer without an end.
pub(crate) struct Web {
    pub(crate) at: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    pub(crate) served: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) async fn new(name: &str) -> Self {
        Self::start(name, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn start(name: &str, at: SocketAddr) -> Self {
        let listener = rebind(at).await;
        let at = listener.local_addr().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let this = Self { at, stop, tasks, served: Arc::default() };
        let (stop, served) = (this.stop.clone(), Arc::clone(&this.served));
        let (name, tasks) = (name.to_owned(), this.tasks.clone());
        this.tasks.spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    s = listener.accept() => s.unwrap(),
                    () = stop.cancelled() => return,
                };
                let (stop, served, name) = (stop.clone(), Arc::clone(&served), name.clone());
                tasks.spawn(async move {
                    tokio::select! { () = answer(stream, &name, &served) => {} () = stop.cancelled() => {} }
                });
            }
        });
        this
    }

    /// One at an address of its own, so that nobody takes its port while it is restarted.
    pub(crate) async fn lone(name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let (pid, n) = (std::process::id().to_le_bytes(), NEXT.fetch_add(1, Ordering::SeqCst));
        let last = u8::try_from(n).expect("few of them in one process");
        Self::start(name, (Ipv4Addr::new(127, 1 + pid[0] / 2, pid[1], last), 0).into()).await
    }

    pub(crate) fn backend(&self, name: &str) -> Backend {
        Backend { name: name.into(), address: self.at.ip().to_string(), port: self.at.port() }
    }

    /// Ends it, with all its connections, as the end of a process does, and starts another one at the same place.
    pub(crate) async fn restart(&mut self, name: &str) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        *self = Self::start(name, self.at).await;
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer(mut stream: TcpStream, name: &str, served: &AtomicUsize) {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|w| w == b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let hold = buffer.starts_with(b"GET /hold");
        buffer.clear();
        served.fetch_add(1, Ordering::SeqCst);
        if hold {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{name}\n");
            if stream.write_all(text.as_bytes()).await.is_ok() {
                let _ = stream.read_to_end(&mut buffer).await;
            }
            return;
        }
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Opens an answer without an end. `None`: nobody serves.
pub(crate) async fn hold(front: &Path) -> Option<(String, UnixStream)> {
    let mut stream = UnixStream::connect(front).await.ok()?;
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: web\r\n\r\n").await.ok()?;
    let mut buffer = Vec::new();
    loop {
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&buffer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            if !head.starts_with("HTTP/1.1 200") {
                return None;
            }
            if let Some((name, _)) = body.split_once('\n') {
                return Some((name.to_owned(), stream));
            }
        }
    }
}

/// A client that keeps its connection.
pub(crate) struct Client(UnixStream);

impl Client {
    pub(crate) async fn connect(front: &Path) -> Self {
        Self(UnixStream::connect(front).await.unwrap())
    }

    /// Status and body. `None`: the connection was closed without a byte of an answer.
    pub(crate) async fn get(&mut self, path: &str) -> Option<(u16, String)> {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).await.ok()?;
        let mut buffer = Vec::new();
        let head = loop {
            let read = self.0.read_buf(&mut buffer).await.unwrap_or(0);
            if read == 0 && buffer.is_empty() {
                return None;
            }
            assert!(read > 0, "closed within an answer");
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
        Some((status, String::from_utf8_lossy(&buffer[head..]).into_owned()))
    }
}
