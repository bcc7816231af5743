use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Capabilities, Connector, Context, Deployment, Host, Inventory, Json, Preflight, Release, Result, Undo};

/// Puts releases onto running hosts: one target at a time, or a whole group that the system itself moves.
///
/// Batches, drain, health and rollback are not its business but [`Rollout`](crate::rollout::Rollout)'s.
#[async_trait]
pub trait Deployer: fmt::Debug + Send + Sync {
    /// `per_target` (stage, activate, deactivate, probe) or `group` (start, follow, cancel, probe_group), or both.
    fn capabilities(&self) -> Capabilities;

    /// Checks tool, version and credentials.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Brings a release onto the target beside the one that runs. Nothing that serves is touched. Idempotent.
    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged>;

    /// Makes a staged release the one that runs. Idempotent: it runs already is a success.
    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()>;

    /// Stops the release that runs. Nothing running is a success.
    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()>;

    /// Looks what is on the target.
    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState>;

    /// Keeps what became of a release on the target itself, for a process that comes with another store. The newest some dozens are
    /// enough; an entry of the same run and start replaces the one before. Does nothing, as here, where there is no place for it.
    async fn record(&self, _cx: &Context, _target: &Target, _entry: &Deployment) -> Result<()> {
        Ok(())
    }

    /// What [`record`](Self::record) kept of a service on the target, oldest first, at least for the context's environment. Nothing, as
    /// here, is a success.
    async fn recorded(&self, _cx: &Context, _target: &Target, _service: &str) -> Result<Vec<Deployment>> {
        Ok(Vec::new())
    }

    /// Starts moving a whole group to a release, and gives a handle that can be followed after a crash.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), [`NotFound`](crate::ErrorKind::NotFound),
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`Conflict`](crate::ErrorKind::Conflict) (another move is under way),
    /// [`Denied`](crate::ErrorKind::Denied), [`Unsupported`](crate::ErrorKind::Unsupported) and
    /// [`ToolMissing`](crate::ErrorKind::ToolMissing) say that nothing of the group was moved: it is not taken back. After any other it
    /// is.
    async fn start(&self, cx: &Context, group: &TargetGroup, release: &Release) -> Result<GroupJob>;

    /// Waits for a group's job, emitting its progress.
    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState>;

    /// Asks the system to stop a group's job.
    async fn cancel(&self, cx: &Context, job: &GroupJob) -> Result<()>;

    /// Looks which release a group runs.
    async fn probe_group(&self, cx: &Context, group: &TargetGroup) -> Result<GroupState>;

    /// What is switched off while a group of this name moves (its scaling, its alarms), as the undo by which any process switches
    /// it on again: verb `resume`. It is the same each time. `None`, as here: nothing is.
    fn suspends(&self, _cx: &Context, _group: &str) -> Option<Undo> {
        None
    }

    /// Switches off what [`suspends`](Self::suspends) names. Off already is a success.
    async fn suspend(&self, _cx: &Context, _group: &str) -> Result<()> {
        Ok(())
    }

    /// Switches on again what [`suspend`](Self::suspend) switched off, and nothing else. On already, or no such group any more, is a
    /// success.
    async fn resume(&self, _cx: &Context, _group: &str) -> Result<()> {
        Ok(())
    }
}

/// One host to deploy to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// Reaches it.
    pub connector: Arc<dyn Connector>,
}

/// Hosts that a system moves as a whole.
#[derive(Debug, Clone)]
pub struct TargetGroup {
    /// The group's name in the system.
    pub name: String,
    /// Its hosts, as far as known.
    pub inventory: Inventory,
    /// Reaches them.
    pub connector: Arc<dyn Connector>,
}

/// What [`Deployer::stage`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Whether anything had to be brought.
    pub changed: bool,
}

/// What is on a target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TargetState {
    /// The version that is linked as current; `None`: none.
    pub current: Option<String>,
    /// Whether it runs, as far as the deployer can tell.
    pub running: bool,
    /// Versions that are staged, the current one included.
    pub staged: Vec<String>,
}

/// A handle of a group's job, kept in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupJob {
    /// The system's id.
    pub id: String,
    /// More facts.
    #[serde(default)]
    pub detail: Json,
}

/// What a group runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupState {
    /// The version all of it runs; `None`: mixed or none.
    pub current: Option<String>,
    /// Whether a job is under way.
    pub moving: bool,
    /// Whether the system calls it healthy.
    pub healthy: bool,
}
