//! The balancer: a detached process, and the trait implementation that speaks with it.

mod http;
mod pool;
mod server;
mod tcp;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use towpath_core::{Backend, BackendState, Balancer, Capabilities, Context, Error, ErrorKind, Preflight, Result};

pub(crate) use server::main;
use server::{Question, Reply};

use crate::files::{private_dir, read_json, remove_tree, write_json};
use crate::launch::{self, Launcher, Part};
use crate::process::{self, ProcessId};
use crate::state::{EnvironmentDir, state_dir};
use crate::{LocalBalancerConfig, ports};

const BALANCER: &str = "local";

/// The folder of a balancer: `record.json`, `process.json`, `backends.json`, `control` (its socket), `lock`, `log`.
#[derive(Debug, Clone)]
pub(crate) struct BalancerDir(pub(crate) PathBuf);

impl BalancerDir {
    fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }
    fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }
    fn backends(&self) -> PathBuf {
        self.0.join("backends.json")
    }
    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Ends the balancer and removes its folder. Gives `false` if there was none.
    pub(crate) async fn end(&self) -> io::Result<bool> {
        if !self.0.exists() {
            return Ok(false);
        }
        let id: Option<ProcessId> = read_json(&self.process()).ok().flatten();
        if let Some(id) = &id {
            id.end(Duration::from_secs(2)).await?;
        }
        let record: Option<BalancerRecord> = read_json(&self.record()).ok().flatten();
        for token in record.map(|r| r.token).into_iter().chain(id.map(|id| id.token)) {
            process::end_by_token(&token).await?;
        }
        remove_tree(&self.0)?;
        Ok(true)
    }

    /// Where clients connect, once it was started.
    pub(crate) fn address(&self) -> Option<String> {
        let record: BalancerRecord = read_json(&self.record()).ok().flatten()?;
        Some(format!("127.0.0.1:{}", record.port))
    }

    /// The running process.
    pub(crate) fn running(&self) -> Option<ProcessId> {
        read_json::<ProcessId>(&self.process()).ok().flatten().filter(ProcessId::is_alive)
    }
}

/// What a balancer is started with: written before it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BalancerRecord {
    token: String,
    port: u16,
    config: LocalBalancerConfig,
}

/// What a balancer process has done since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BalancerStats {
    /// Requests taken from clients; in TCP mode connections.
    pub requests: u64,
    /// Attempts at a backend that failed and were made at another one.
    pub retried: u64,
    /// Requests that no backend answered.
    pub failed: u64,
    /// Requests or connections by backend.
    pub served: BTreeMap<String, u64>,
}

/// A balancer on this machine. Its process is started by the first [`add`](Balancer::add), or with its environment, and
/// outlives this program; [`stop`](Self::stop), or the end of its environment, ends it.
#[derive(Debug, Clone)]
pub struct LocalBalancer {
    config: LocalBalancerConfig,
}

impl LocalBalancer {
    /// A balancer with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a name that can't be a file name, or a zero port.
    pub fn new(config: LocalBalancerConfig) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if config.name.is_empty() || config.name.len() > 40 || !config.name.chars().all(good) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                BALANCER,
                "config",
                format!(
                    "a balancer's `name` must be 1 to 40 lower-case letters, digits and `-`, not {:?}",
                    config.name
                ),
            ));
        }
        if config.port == Some(0) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                BALANCER,
                "config",
                "`port` can't be 0; leave it out for a free one",
            ));
        }
        Ok(Self { config })
    }

    /// Where clients connect, as `127.0.0.1:port`. Starts the balancer if it does not run.
    ///
    /// # Errors
    ///
    /// As [`add`](Balancer::add).
    pub async fn address(&self, cx: &Context) -> Result<String> {
        let record = self.ensure(cx).await?;
        Ok(format!("127.0.0.1:{}", record.port))
    }

    /// What the running process has done. Starts the balancer if it does not run.
    ///
    /// # Errors
    ///
    /// As [`add`](Balancer::add).
    pub async fn stats(&self, cx: &Context) -> Result<BalancerStats> {
        self.ensure(cx).await?;
        match self.ask(cx, "stats", &Question::Stats, Duration::ZERO).await? {
            Reply::Stats { stats } => Ok(stats),
            other => Err(unexpected("stats", &other)),
        }
    }

    /// Ends the process and forgets its backends. Gives `false` if there was none.
    ///
    /// # Errors
    ///
    /// [`ToolFailed`](ErrorKind::ToolFailed): it does not end.
    pub async fn stop(&self, cx: &Context) -> Result<bool> {
        let dir = self.dir(cx).await?;
        dir.end().await.map_err(|e| failed("stop", &dir, "the balancer can't be ended", e))
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether it runs with this config. `None`: it was never started.
    pub(crate) async fn is_current(&self, cx: &Context) -> Result<Option<bool>> {
        let dir = self.dir(cx).await?;
        let record: Option<BalancerRecord> = read_json(&dir.record()).ok().flatten();
        Ok(record.map(|r| self.is_same(&r.config) && dir.running().is_some()))
    }

    pub(crate) async fn dir(&self, cx: &Context) -> Result<BalancerDir> {
        Ok(state_dir(cx, self.config.state_dir.as_deref()).await?.balancer(&self.config.name))
    }

    /// Starts the process if it does not run with this config.
    pub(crate) async fn ensure(&self, cx: &Context) -> Result<BalancerRecord> {
        let environment = state_dir(cx, self.config.state_dir.as_deref()).await?;
        let dir = environment.balancer(&self.config.name);
        let old: Option<BalancerRecord> = read_json(&dir.record()).ok().flatten();
        if let Some(record) = old.as_ref().filter(|r| self.is_same(&r.config))
            && dir.running().is_some()
            && connect(&dir).await.is_ok()
        {
            return Ok(record.clone());
        }
        let launcher = Launcher::installed("balancer")?;
        let fail = |e| failed("start", &dir, "the balancer's folder can't be written", e);
        for path in [&environment.0, &environment.balancers(), &dir.0] {
            private_dir(path).map_err(fail)?;
        }
        let _lock = environment.lock_balancers().await.map_err(fail)?;
        if let Some(id) = dir.running() {
            // Somebody else may have started it meanwhile.
            let now: Option<BalancerRecord> = read_json(&dir.record()).ok().flatten();
            if let Some(record) = now.filter(|r| self.is_same(&r.config))
                && connect(&dir).await.is_ok()
            {
                return Ok(record);
            }
            id.end(Duration::from_secs(2)).await.map_err(fail)?;
        }
        let record = self.record(old, &environment).map_err(fail)?;
        write_json(&dir.record(), &record).map_err(fail)?;
        process::end_by_token(&record.token).await.map_err(fail)?;
        let limit = Duration::from_secs(20);
        let part = Part { role: "balancer", dir: &dir.0, token: &record.token, namespace: false, limit };
        launch::start(&launcher, &part).await.map_err(|e| failed("start", &dir, "the balancer did not start", e))?;
        Ok(record)
    }

    /// The state folder may be named by one and found by the other.
    fn is_same(&self, other: &LocalBalancerConfig) -> bool {
        LocalBalancerConfig { state_dir: None, ..self.config.clone() }
            == LocalBalancerConfig { state_dir: None, ..other.clone() }
    }

    fn record(&self, old: Option<BalancerRecord>, environment: &EnvironmentDir) -> io::Result<BalancerRecord> {
        let mut taken = environment.read_record().ok().flatten().map(|r| r.ports()).unwrap_or_default();
        let port = match (self.config.port, &old) {
            (Some(port), _) => port,
            (None, Some(old)) if old.config.port.is_none() => old.port,
            (None, _) => ports::pick(&mut taken)?,
        };
        let token = old.map_or_else(|| hex::encode(rand::random::<[u8; 16]>()), |r| r.token);
        Ok(BalancerRecord { token, port, config: self.config.clone() })
    }

    async fn ask(&self, cx: &Context, operation: &'static str, question: &Question, extra: Duration) -> Result<Reply> {
        let dir = self.dir(cx).await?;
        let work = async {
            let exchange = async {
                let stream = connect(&dir).await?;
                let (read, mut write) = stream.into_split();
                let mut text = serde_json::to_vec(question)?;
                text.push(b'\n');
                write.write_all(&text).await?;
                let line = BufReader::new(read).lines().next_line().await?;
                let line = line.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
                serde_json::from_str::<Reply>(&line).map_err(io::Error::other)
            };
            match tokio::time::timeout(extra + Duration::from_secs(10), exchange).await {
                Ok(result) => result.map_err(|e| {
                    Error::new(ErrorKind::Unreachable, BALANCER, operation, "the balancer does not answer")
                        .with("balancer", &self.config.name)
                        .caused_by(e)
                        .retry_later()
                }),
                Err(_) => {
                    Err(Error::new(ErrorKind::Timeout, BALANCER, operation, "the balancer did not answer in 10 s")
                        .with("balancer", &self.config.name)
                        .retry_later())
                }
            }
        };
        match cx.guard(BALANCER, operation, work).await? {
            Reply::NoSuchBackend => {
                Err(Error::new(ErrorKind::NotFound, BALANCER, operation, "the balancer has no backend of this name")
                    .with("balancer", &self.config.name))
            }
            Reply::Failed { reason } => {
                Err(Error::new(ErrorKind::Storage, BALANCER, operation, reason).with("balancer", &self.config.name))
            }
            other => Ok(other),
        }
    }

    async fn tell(&self, cx: &Context, operation: &'static str, question: &Question) -> Result<()> {
        match self.ask(cx, operation, question, Duration::ZERO).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(operation, &other)),
        }
    }

    /// Whether there was ever a balancer to ask.
    async fn exists(&self, cx: &Context) -> Result<bool> {
        Ok(self.dir(cx).await?.record().exists())
    }
}

fn unexpected(operation: &'static str, reply: &Reply) -> Error {
    Error::new(ErrorKind::Protocol, BALANCER, operation, format!("the balancer answered something else: {reply:?}"))
}

fn failed(operation: &'static str, dir: &BalancerDir, what: &str, e: io::Error) -> Error {
    Error::new(ErrorKind::ToolFailed, BALANCER, operation, what).with("folder", dir.0.display()).caused_by(e)
}

/// Connects to the control socket. Its path may be longer than a socket address can hold, so it goes through the folder's
/// descriptor.
async fn connect(dir: &BalancerDir) -> io::Result<UnixStream> {
    use std::os::fd::AsRawFd as _;
    let direct = dir.0.join("control");
    if direct.as_os_str().len() < 100 {
        return UnixStream::connect(&direct).await;
    }
    let folder = std::fs::File::open(&dir.0)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join("control");
    UnixStream::connect(&short).await
}

#[async_trait]
impl Balancer for LocalBalancer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["add", "drain", "remove", "wait_idle"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        Launcher::installed("preflight")?;
        let running = self.dir(cx).await?.running().is_some();
        let state = if running { "runs" } else { "is started when the first backend is added" };
        Ok(Preflight { ok: vec![format!("local balancer {} {state}", self.config.name)], warnings: Vec::new() })
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        cx.check(BALANCER, "add")?;
        self.ensure(cx).await?;
        self.tell(cx, "add", &Question::Add { backend: backend.clone() })
            .await
            .map_err(|e| e.with("backend", &backend.name))
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        cx.check(BALANCER, "drain")?;
        if !self.exists(cx).await? {
            return Err(Error::new(ErrorKind::NotFound, BALANCER, "drain", "the balancer was never started")
                .with("balancer", &self.config.name)
                .with("backend", name));
        }
        self.ensure(cx).await?;
        self.tell(cx, "drain", &Question::Drain { name: name.to_owned() }).await.map_err(|e| e.with("backend", name))
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        cx.check(BALANCER, "remove")?;
        if !self.exists(cx).await? {
            return Ok(());
        }
        self.ensure(cx).await?;
        self.tell(cx, "remove", &Question::Remove { name: name.to_owned() }).await.map_err(|e| e.with("backend", name))
    }

    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64> {
        cx.check(BALANCER, "wait_idle")?;
        if !self.exists(cx).await? {
            return Err(Error::new(ErrorKind::NotFound, BALANCER, "wait_idle", "the balancer was never started")
                .with("balancer", &self.config.name)
                .with("backend", name));
        }
        self.ensure(cx).await?;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let question = Question::WaitIdle { name: name.to_owned(), limit_ms };
        match self.ask(cx, "wait_idle", &question, limit).await.map_err(|e| e.with("backend", name))? {
            Reply::Left { connections } => Ok(connections),
            other => Err(unexpected("wait_idle", &other)),
        }
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        cx.check(BALANCER, "backends")?;
        // Looking starts nothing: a plan asks this too.
        let dir = self.dir(cx).await?;
        if dir.running().is_none() {
            return pool::saved(&dir.backends()).map_err(|e| failed("backends", &dir, "its state can't be read", e));
        }
        match self.ask(cx, "backends", &Question::Backends, Duration::ZERO).await? {
            Reply::Backends { list } => Ok(list),
            other => Err(unexpected("backends", &other)),
        }
    }
}
