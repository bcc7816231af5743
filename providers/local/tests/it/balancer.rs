use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use towpath_core::testkit::rebind;
use towpath_core::{Backend, BackendMode, Balancer, Context, ErrorKind};
use towpath_local::{BalancerMode, LocalBalancer, LocalBalancerConfig};

/// A small HTTP server with keep-alive, which can be ended while it works.
struct Web {
    at: SocketAddr,
    stop: tokio_util::sync::CancellationToken,
    served: Arc<AtomicUsize>,
    busy: Arc<AtomicUsize>,
}

impl Web {
    async fn start(name: &'static str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(name: &'static str, at: SocketAddr) -> Self {
        let listener = rebind(at).await;
        let this = Self {
            at: listener.local_addr().unwrap(),
            stop: tokio_util::sync::CancellationToken::new(),
            served: Arc::default(),
            busy: Arc::default(),
        };
        let (stop, served, busy) = (this.stop.clone(), Arc::clone(&this.served), Arc::clone(&this.busy));
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    s = listener.accept() => s.unwrap(),
                    () = stop.cancelled() => return,
                };
                let (stop, served, busy) = (stop.clone(), Arc::clone(&served), Arc::clone(&busy));
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(stream, name, &served, &busy) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
        this
    }

    fn backend(&self, name: &str) -> Backend {
        Backend { name: name.into(), address: "127.0.0.1".into(), port: self.at.port() }
    }
}

async fn serve(mut stream: TcpStream, name: &str, served: &AtomicUsize, busy: &AtomicUsize) {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|w| w == b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let text = String::from_utf8_lossy(&buffer).into_owned();
        buffer.clear();
        busy.fetch_add(1, Ordering::SeqCst);
        if text.starts_with("GET /slow") {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Saw: {}\r\n\r\n{name}", name.len(), saw(&text));
        served.fetch_add(1, Ordering::SeqCst);
        let sent = stream.write_all(head.as_bytes()).await;
        busy.fetch_sub(1, Ordering::SeqCst);
        if sent.is_err() {
            return;
        }
    }
}

fn saw(request: &str) -> String {
    request.lines().filter(|l| l.to_ascii_lowercase().starts_with("x-forwarded-for")).collect()
}

/// A client that keeps its connection, and never retries.
struct Client(TcpStream);

impl Client {
    async fn connect(to: &str) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    async fn get(&mut self, path: &str) -> std::io::Result<String> {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).await?;
        let mut buffer = Vec::new();
        loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..at]).to_ascii_lowercase();
                let length: usize =
                    head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().trim().parse().unwrap();
                while buffer.len() < at + 4 + length {
                    if self.0.read_buf(&mut buffer).await? == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                let body = String::from_utf8_lossy(&buffer[at + 4..]).into_owned();
                return if head.starts_with("http/1.1 200") {
                    Ok(body)
                } else {
                    Err(std::io::Error::other(head + &body))
                };
            }
            if self.0.read_buf(&mut buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

struct Env {
    balancer: LocalBalancer,
    cx: Context,
    _dir: tempfile::TempDir,
}

impl Env {
    fn new(mode: BalancerMode) -> Self {
        crate::launcher();
        let dir = tempfile::tempdir().unwrap();
        let state_dir = Some(dir.path().join("state"));
        let config = LocalBalancerConfig { mode, state_dir, hold_ms: 3_000, ..LocalBalancerConfig::default() };
        Self { balancer: LocalBalancer::new(config).unwrap(), cx: Context::new(), _dir: dir }
    }

    async fn end(&self) {
        assert!(self.balancer.stop(&self.cx).await.unwrap());
        assert!(!self.balancer.stop(&self.cx).await.unwrap(), "a second stop finds nothing");
    }
}

/// Rolls all backends, each one ended and started again, under clients that keep their connections. Not one may fail.
async fn roll_under_load(mode: BalancerMode, keep: bool) {
    let env = Env::new(mode);
    let mut webs = Vec::new();
    for name in ["a", "b", "c"] {
        let web = Web::start(name).await;
        env.balancer.add(&env.cx, &web.backend(name)).await.unwrap();
        webs.push((name, web));
    }
    let address = env.balancer.address(&env.cx).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (address, over) = (address.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut sent = 0usize;
                let mut client = Client::connect(&address).await;
                while !over.load(Ordering::SeqCst) {
                    if !keep {
                        client = Client::connect(&address).await;
                    }
                    let answer = client.get("/").await.unwrap();
                    assert!(["a", "b", "c"].contains(&answer.as_str()), "{answer}");
                    sent += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                sent
            })
        })
        .collect();
    for _ in 0..3 {
        for (name, web) in &mut webs {
            env.balancer.drain(&env.cx, name).await.unwrap();
            assert_eq!(env.balancer.wait_idle(&env.cx, name, Duration::from_secs(10)).await.unwrap(), 0);
            assert_eq!(web.busy.load(Ordering::SeqCst), 0, "idle, but {name} works");
            let served = web.served.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(web.served.load(Ordering::SeqCst), served, "a drained backend was given work");
            web.stop.cancel();
            *web = Web::start_at(name, web.at).await;
            env.balancer.add(&env.cx, &web.backend(name)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    over.store(true, Ordering::SeqCst);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    let stats = env.balancer.stats(&env.cx).await.unwrap();
    assert_eq!(stats.failed, 0);
    assert!(sent > 100, "only {sent} requests were sent");
    assert!(stats.served.values().all(|n| *n > 0), "{stats:?}");
    env.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_backends_roll_and_clients_keep_connections() {
    roll_under_load(BalancerMode::Http, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_backends_roll_and_clients_reconnect() {
    roll_under_load(BalancerMode::Http, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_fails_while_backends_roll_in_tcp_mode() {
    roll_under_load(BalancerMode::Tcp, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_in_tcp_mode_cuts_nothing_and_counts_what_is_left() {
    let env = Env::new(BalancerMode::Tcp);
    let web = Web::start("a").await;
    env.balancer.add(&env.cx, &web.backend("a")).await.unwrap();
    let mut client = Client::connect(&env.balancer.address(&env.cx).await.unwrap()).await;
    assert_eq!(client.get("/").await.unwrap(), "a");
    env.balancer.drain(&env.cx, "a").await.unwrap();
    assert_eq!(env.balancer.wait_idle(&env.cx, "a", Duration::from_millis(50)).await.unwrap(), 1);
    assert_eq!(client.get("/").await.unwrap(), "a", "a kept connection goes on");
    drop(client);
    assert_eq!(env.balancer.wait_idle(&env.cx, "a", Duration::from_secs(10)).await.unwrap(), 0);
    env.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_is_finished_before_a_drained_backend_is_idle() {
    let env = Env::new(BalancerMode::Http);
    let web = Web::start("a").await;
    env.balancer.add(&env.cx, &web.backend("a")).await.unwrap();
    let address = env.balancer.address(&env.cx).await.unwrap();
    let slow = tokio::spawn(async move { Client::connect(&address).await.get("/slow").await });
    while web.busy.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    env.balancer.drain(&env.cx, "a").await.unwrap();
    assert_eq!(env.balancer.wait_idle(&env.cx, "a", Duration::ZERO).await.unwrap(), 1);
    assert_eq!(env.balancer.wait_idle(&env.cx, "a", Duration::from_secs(10)).await.unwrap(), 0);
    assert_eq!(slow.await.unwrap().unwrap(), "a");
    env.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_connections_costs_no_request() {
    let env = Env::new(BalancerMode::Http);
    let (gone, web) = (Web::start("gone").await, Web::start("a").await);
    env.balancer.add(&env.cx, &gone.backend("gone")).await.unwrap();
    env.balancer.add(&env.cx, &web.backend("a")).await.unwrap();
    gone.stop.cancel();
    let mut client = Client::connect(&env.balancer.address(&env.cx).await.unwrap()).await;
    while TcpStream::connect(gone.at).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap(), "a");
    }
    let stats = env.balancer.stats(&env.cx).await.unwrap();
    assert_eq!((stats.requests, stats.failed), (20, 0));
    assert!(stats.retried > 0, "{stats:?}");
    env.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_only_backend_to_come_back() {
    let env = Env::new(BalancerMode::Http);
    let web = Web::start("a").await;
    env.balancer.add(&env.cx, &web.backend("a")).await.unwrap();
    env.balancer.drain(&env.cx, "a").await.unwrap();
    let address = env.balancer.address(&env.cx).await.unwrap();
    let held = tokio::spawn(async move { Client::connect(&address).await.get("/").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(web.served.load(Ordering::SeqCst), 0, "a drained backend was given a request");
    env.balancer.add(&env.cx, &web.backend("a")).await.unwrap();
    assert_eq!(held.await.unwrap().unwrap(), "a");
    env.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_balancer_comes_back_with_its_backends_and_its_address() {
    let env = Env::new(BalancerMode::Http);
    let (a, b) = (Web::start("a").await, Web::start("b").await);
    env.balancer.add(&env.cx, &a.backend("a")).await.unwrap();
    env.balancer.add(&env.cx, &b.backend("b")).await.unwrap();
    env.balancer.drain(&env.cx, "b").await.unwrap();
    let address = env.balancer.address(&env.cx).await.unwrap();
    let process = env._dir.path().join("state/balancers/front/process.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(process).unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(record["pid"].as_i64().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    while TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(env.balancer.address(&env.cx).await.unwrap(), address);
    let modes: Vec<_> =
        env.balancer.backends(&env.cx).await.unwrap().into_iter().map(|b| (b.backend.name, b.mode)).collect();
    assert_eq!(modes, [("a".to_owned(), BackendMode::Serving), ("b".to_owned(), BackendMode::Draining)]);
    assert_eq!(Client::connect(&address).await.get("/").await.unwrap(), "a");
    env.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_are_idempotent_and_name_what_they_do_not_know() {
    let env = Env::new(BalancerMode::Http);
    assert!(env.balancer.backends(&env.cx).await.unwrap().is_empty(), "looking starts nothing");
    let unknown = env.balancer.drain(&env.cx, "nobody").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound, "{unknown}");
    let web = Web::start("a").await;
    for _ in 0..2 {
        env.balancer.add(&env.cx, &web.backend("a")).await.unwrap();
    }
    for _ in 0..2 {
        env.balancer.drain(&env.cx, "a").await.unwrap();
    }
    assert_eq!(env.balancer.drain(&env.cx, "nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
    let state = env.balancer.backends(&env.cx).await.unwrap();
    assert_eq!((state.len(), state[0].mode, state[0].connections), (1, BackendMode::Draining, 0));
    for _ in 0..2 {
        env.balancer.remove(&env.cx, "a").await.unwrap();
    }
    assert!(env.balancer.backends(&env.cx).await.unwrap().is_empty());
    env.end().await;
}
