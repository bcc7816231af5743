//! The balancer's process.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use towpath_core::{Backend, BackendState};

use super::pool::Pool;
use super::{BalancerDir, BalancerRecord, BalancerStats, http, tcp};
use crate::BalancerMode;
use crate::files::{read_json, write_json};
use crate::launch::{Report, report};
use crate::process::{ProcessId, start_time};

/// What a balancer is asked, one JSON object per line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    Add { backend: Backend },
    Drain { name: String },
    Remove { name: String },
    WaitIdle { name: String, limit_ms: u64 },
    Backends,
    Stats,
}

/// What it answers, one JSON object per line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Done,
    Left { connections: u64 },
    Backends { list: Vec<BackendState> },
    Stats { stats: BalancerStats },
    NoSuchBackend,
    Failed { reason: String },
}

/// Serves until SIGTERM.
pub(crate) fn main(dir: &Path, token: &str) -> io::Result<()> {
    let dir = BalancerDir(dir.to_owned());
    let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.lock())?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|_| io::Error::other("another process of this balancer runs already"))?;
    let record: BalancerRecord =
        read_json(&dir.record())?.ok_or_else(|| io::Error::other("the balancer's settings are gone"))?;
    let pid = std::process::id().cast_signed();
    let started = start_time(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    let id = ProcessId { pid, started, token: token.to_owned() };
    write_json(&dir.process(), &id)?;
    let _ = prctl::set_name(c"towpath-balance");
    umask(Mode::from_bits_truncate(0o077));
    // A socket's path is limited to about 100 bytes: it is made where this process stands.
    std::env::set_current_dir(&dir.0)?;
    let pool = Arc::new(Pool::open(dir.backends(), record.config.clone())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, record.port))
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("port {} of the balancer: {e}", record.port)))?;
        let _ = std::fs::remove_file("control");
        let control = UnixListener::bind("control")?;
        tokio::spawn(accept_clients(Arc::clone(&pool), listener));
        tokio::spawn(accept_control(Arc::clone(&pool), control));
        report(&Report::Ready(id));
        nix::unistd::dup2_stdout(io::stderr())?;
        term.recv().await;
        Ok(())
    })
}

async fn accept_clients(pool: Arc<Pool>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let pool = Arc::clone(&pool);
                match pool.config.mode {
                    BalancerMode::Http => drop(tokio::spawn(http::serve(pool, stream, peer))),
                    BalancerMode::Tcp => drop(tokio::spawn(tcp::serve(pool, stream))),
                }
            }
            // Out of file descriptors, most likely: the waiting clients are taken once there are some again.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn accept_control(pool: Arc<Pool>, control: UnixListener) {
    loop {
        match control.accept().await {
            Ok((stream, _)) => {
                // The socket is 0600 in a 0700 folder; this holds where a file system ignores that.
                let own = nix::unistd::geteuid().as_raw();
                if stream.peer_cred().is_ok_and(|c| c.uid() == own || c.uid() == 0) {
                    tokio::spawn(talk(Arc::clone(&pool), stream));
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn talk(pool: Arc<Pool>, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str::<Question>(&line) {
            Ok(question) => answer(&pool, question).await,
            Err(e) => Reply::Failed { reason: format!("a question it does not understand: {e}") },
        };
        let Ok(mut text) = serde_json::to_vec(&reply) else { return };
        text.push(b'\n');
        if write.write_all(&text).await.is_err() {
            return;
        }
    }
}

async fn answer(pool: &Pool, question: Question) -> Reply {
    let done = |result: io::Result<()>| match result {
        Ok(()) => Reply::Done,
        Err(e) => Reply::Failed { reason: format!("its state can't be written: {e}") },
    };
    match question {
        Question::Add { backend } => done(pool.add(&backend)),
        Question::Remove { name } => done(pool.remove(&name)),
        Question::Drain { name } => match pool.drain(&name) {
            Ok(true) => Reply::Done,
            Ok(false) => Reply::NoSuchBackend,
            Err(e) => done(Err(e)),
        },
        Question::WaitIdle { name, limit_ms } => match pool.wait_idle(&name, Duration::from_millis(limit_ms)).await {
            Some(connections) => Reply::Left { connections },
            None => Reply::NoSuchBackend,
        },
        Question::Backends => Reply::Backends { list: pool.states() },
        Question::Stats => Reply::Stats {
            stats: BalancerStats {
                requests: pool.counts.requests.load(Ordering::SeqCst),
                retried: pool.counts.retried.load(Ordering::SeqCst),
                failed: pool.counts.failed.load(Ordering::SeqCst),
                served: pool.totals().into_iter().collect(),
            },
        },
    }
}
