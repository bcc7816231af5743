use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Deployment, Entry, Environment, Json, LocalProcess, Record, Result, Timestamp};

/// Keeps runs, leases, ledgers and environments. Durable when a call returns.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Where it is, for people: a path or a URL without its password.
    fn location(&self) -> String;

    /// Makes a run. Exists already is [`AlreadyExists`](crate::ErrorKind::AlreadyExists).
    async fn create_run(&self, run: &RunInfo) -> Result<()>;

    /// Changes state and end of a run.
    async fn update_run(&self, run: &RunInfo) -> Result<()>;

    /// Finds a run by its id; `None`: there is none.
    async fn run(&self, id: &RunId) -> Result<Option<RunInfo>>;

    /// Lists runs, the newest first, at most `limit`.
    async fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunInfo>>;

    /// Appends to a run's journal. On return it survives power loss; concurrent calls share one commit. An error
    /// means that nothing of it was written.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict): `fence` is older than its lease's: another process took over.
    /// [`Storage`](crate::ErrorKind::Storage): disk full, read-only, torn.
    async fn append(&self, run: &RunId, fence: Option<&Fence>, records: &[Record]) -> Result<()>;

    /// Reads a run's journal in order.
    async fn journal(&self, run: &RunId) -> Result<Vec<Entry>>;

    /// Takes a lease, or says who holds it. An expired lease of somebody else is *not* taken while it has an undo
    /// that was not carried out: it comes back as [`LeaseAnswer::Expired`], to be swept first.
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer>;

    /// Moves a lease's end. [`Conflict`](crate::ErrorKind::Conflict): it is somebody else's by now.
    async fn renew(&self, fence: &Fence, expires_at: Timestamp) -> Result<()>;

    /// Gives a lease back. Gone already is a success.
    async fn release(&self, fence: &Fence) -> Result<()>;

    /// Lists all leases, the expired ones too.
    async fn leases(&self) -> Result<Vec<Lease>>;

    /// Writes a ledger entry; the one of the same environment, service, version and run is replaced.
    async fn put_deployment(&self, deployment: &Deployment) -> Result<()>;

    /// Reads a service's ledger in an environment, the oldest first.
    async fn deployments(&self, environment: &str, service: &str) -> Result<Vec<Deployment>>;

    /// Writes an environment as the last run left it.
    async fn put_environment(&self, environment: &Environment) -> Result<()>;

    /// Reads an environment; `None`: it was never provisioned, or destroyed.
    async fn environment(&self, name: &str) -> Result<Option<Environment>>;

    /// Writes a document of a provider; `None` removes it.
    async fn put_document(&self, namespace: &str, key: &str, value: Option<&Json>) -> Result<()>;

    /// Lists a provider's documents, sorted by key.
    async fn documents(&self, namespace: &str) -> Result<Vec<(String, Json)>>;
}

/// Names a run. Sorts by the time at which it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub String);

impl RunId {
    /// Makes a new one (UUID version 7).
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run of a pipeline in an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its id.
    pub id: RunId,
    /// The pipeline's name.
    pub pipeline: String,
    /// The environment's name.
    pub environment: String,
    /// How far it is.
    pub state: RunState,
    /// The pipeline as it is run, with its parameters: what a resume continues.
    pub definition: Json,
    /// When it was made.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Under way, or interrupted: `run` continues it.
    Unfinished,
    /// Every step is done.
    Done,
    /// A step failed.
    Failed,
    /// A rollout failed and was rolled back.
    RolledBack,
    /// Somebody cancelled it.
    Cancelled,
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only in this environment.
    pub environment: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
}

/// What is asked of a lease.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// What is leased: `environment/production`, `drain/production/web-1`.
    pub key: String,
    /// Who asks.
    pub owner: LeaseOwner,
    /// Why, for the one who waits.
    pub reason: String,
    /// How long it lasts without a renewal, in milliseconds.
    pub ttl_ms: u64,
    /// What makes it safe again if its owner dies.
    pub undo: Option<Undo>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseAnswer {
    /// It is yours.
    Granted(Lease),
    /// Somebody holds it.
    Held(Lease),
    /// Its owner is dead and left an undo that somebody must carry out, then release it.
    Expired(Lease),
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOwner {
    /// The process: random for each engine instance.
    pub id: String,
    /// The run.
    pub run: Option<RunId>,
    /// Machine name, process id and user, for people: `build-3 pid 4711 (anna)`.
    pub label: String,
    /// The process itself, so that another one on the same machine can see that it is dead without waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<OwnerProcess>,
}

/// A process, told apart from a later one of the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerProcess {
    /// The boot of the machine that it runs on.
    pub boot: String,
    /// The pid namespace that its id counts in; empty if not known.
    pub namespace: String,
    /// Its id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub started: u64,
}

impl OwnerProcess {
    /// This process. `None` where the system does not say (no `/proc`).
    pub fn this() -> Option<Self> {
        let pid = std::process::id();
        let started = LocalProcess::of(pid)?.started();
        Some(Self { boot: boot_id()?, namespace: pid_namespace(), pid, started })
    }

    /// Says whether it is certainly dead. `false` also means: another machine, or not known.
    pub fn is_dead(&self) -> bool {
        let here = boot_id().is_some_and(|b| b == self.boot) && pid_namespace() == self.namespace;
        here && LocalProcess::of(self.pid).map(LocalProcess::started) != Some(self.started)
    }
}

fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|s| s.trim().to_owned())
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|p| p.display().to_string()).unwrap_or_default()
}

/// A time-limited right, with the number that fences off its former owners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// What is leased.
    pub key: String,
    /// Who holds it.
    pub owner: LeaseOwner,
    /// Why.
    pub reason: String,
    /// Grows with every grant of this key.
    pub fence: u64,
    /// Since when.
    pub acquired_at: Timestamp,
    /// When it was last renewed.
    pub renewed_at: Timestamp,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
    /// What makes it safe again if its owner dies.
    pub undo: Option<Undo>,
}

impl Lease {
    /// The part that proves ownership.
    pub fn fence(&self) -> Fence {
        Fence { key: self.key.clone(), number: self.fence, owner: self.owner.id.clone() }
    }
}

/// Proves that a lease is still one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The lease's key.
    pub key: String,
    /// Its fencing number.
    pub number: u64,
    /// Its owner's id.
    pub owner: String,
}

/// What makes something safe again, as data, so that any towpath process can do it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// Which provider does it, by its name in the registry.
    pub provider: String,
    /// The provider's config.
    pub config: Json,
    /// The verb: `add` puts a drained backend back, `unsilence` ends a silence, `resume` ends what a deployer suspended.
    pub verb: String,
    /// Its arguments.
    pub arguments: Json,
    /// The environment that it works in; that of the process that carries it out if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
}
