use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Capabilities, Change, Connector, Context, Error, ErrorKind, Host, Inventory, Plan, Preflight, Result, Vars,
};

/// Brings hosts into a described state.
#[async_trait]
pub trait Configurator: fmt::Debug + Send + Sync {
    /// What it can do: `plan`, `apply`.
    fn capabilities(&self) -> Capabilities;

    /// Checks tool, version and files. Connects nowhere.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Says for each host and task whether it will change (with the difference), will not, or can't be known.
    /// Changes nothing.
    async fn plan(&self, cx: &Context, targets: &Targets) -> Result<Plan>;

    /// Brings the targets into the state. Nothing to do is a success.
    ///
    /// # Errors
    ///
    /// [`ToolFailed`](crate::ErrorKind::ToolFailed): a task failed on some host; names host, task and file:line. Other hosts
    /// went on as the strategy says, and the report of all of them is in the event stream.
    /// [`Unreachable`](crate::ErrorKind::Unreachable): a host can't be reached. [`InvalidInput`](crate::ErrorKind::InvalidInput): nothing was touched.
    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured>;

    /// Gives a digest over everything that decides what `apply` does (files, variables), for content keys.
    async fn digest(&self, cx: &Context) -> Result<String>;
}

/// The hosts to work on and how they are reached.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Hosts, groups and variables.
    pub inventory: Inventory,
    /// Reaches any of them.
    pub connector: Arc<dyn Connector>,
    /// Variables with the highest precedence (`--extra-vars`).
    pub extra_vars: Vars,
    /// Only these hosts, as an Ansible pattern; all if not given.
    pub limit: Option<String>,
}

impl Targets {
    /// All hosts of `inventory`.
    pub fn new(inventory: Inventory, connector: Arc<dyn Connector>) -> Self {
        Self { inventory, connector, extra_vars: Vars::new(), limit: None }
    }

    /// The host with all variables that hold for it, the extra ones first; see [`Inventory::effective`].
    pub fn effective(&self, host: &Host) -> Host {
        let mut host = self.inventory.effective(host);
        host.vars.extend(self.extra_vars.clone());
        host
    }
}

/// What a configurator did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configured {
    /// Counts per host.
    pub hosts: BTreeMap<String, HostSummary>,
}

impl Configured {
    /// How many tasks changed something, over all hosts.
    pub fn changed(&self) -> usize {
        self.hosts.values().map(|h| h.changed).sum()
    }

    /// Sums up what was planned for hosts apart from each other, in their order.
    ///
    /// # Errors
    ///
    /// As [`of_hosts`](Self::of_hosts).
    pub fn plan_of_hosts(planned: impl IntoIterator<Item = (String, Result<Vec<Change>>)>) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut ended = Vec::new();
        for (host, changes) in planned {
            let error = changes.map(|changes| plan.changes.extend(changes)).err();
            ended.push((host, HostSummary::default(), error));
        }
        Self::of_hosts(ended).map(|_| plan)
    }

    /// Sums up hosts that were worked on apart from each other, in their order.
    ///
    /// # Errors
    ///
    /// One of theirs: a cancel before all, then what failed, then what could not be reached. It names the other hosts that failed
    /// (`also_failed`) and how many went well (`hosts_ok`).
    pub fn of_hosts(ended: Vec<(String, HostSummary, Option<Error>)>) -> Result<Self> {
        let mut all = Self::default();
        let mut errors = Vec::new();
        for (host, summary, error) in ended {
            errors.extend(error.map(|e| (host.clone(), e)));
            all.hosts.insert(host, summary);
        }
        let well = all.hosts.len().saturating_sub(errors.len());
        let rank = |e: &Error| match e.kind() {
            ErrorKind::Cancelled => 0,
            ErrorKind::Unreachable => 2,
            _ => 1,
        };
        // A stable sort: of the same rank the first host's counts.
        errors.sort_by_key(|(_, e)| rank(e));
        let mut errors = errors.into_iter();
        let Some((host, error)) = errors.next() else { return Ok(all) };
        let mut error = error.with_missing("host", host);
        let rest: Vec<String> = errors.map(|(host, _)| host).collect();
        if !rest.is_empty() {
            error = error.with("also_failed", rest.join(", "));
        }
        Err(if well > 0 { error.with("hosts_ok", well) } else { error })
    }
}

/// Counts of task results on one host, as in Ansible's recap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostSummary {
    /// Tasks that went well, changed or not.
    pub ok: usize,
    /// Tasks that changed something.
    pub changed: usize,
    /// `1` if the host could not be reached.
    pub unreachable: usize,
    /// Tasks that failed.
    pub failed: usize,
    /// Tasks that were skipped.
    pub skipped: usize,
    /// Failures that a `rescue` took care of.
    pub rescued: usize,
    /// Failures that were ignored.
    pub ignored: usize,
}
