//! Rollout: moves a service's release over its targets, a batch at a time, and back if it is not healthy.
//!
//! Batches, drain, health, ledger and rollback are written here once, for every [`Deployer`], [`Balancer`] and [`Monitor`].

mod back;
mod batches;
mod begin;
mod blue_green;
mod control;
mod desk;
mod gates;
mod group;
mod hooks;
mod host_ledger;
mod leases;
mod ledger;
mod progress;
mod report;
mod roll;
mod strategy;
mod target;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use crate::lease::{HeldLease, Wanted};
use crate::{
    Balancer, Capabilities, Change, Context, Deployer, Error, ErrorKind, FunctionEntry, LeaseOwner, Monitor, Plan,
    Release, Result, RunId, Store, Targets,
};

use begin::Decision;
use desk::Desk;
use hooks::{Begun, Functions};
use leases::Leases;
use target::Crew;

pub use control::{OpenQuestion, RolloutControl, RolloutStatus};
pub use report::*;
pub use strategy::*;

/// Moves releases of services onto hosts.
///
/// Drives a deployer that works per target, behind an optional balancer, and supervises one that moves a whole group.
#[derive(Debug, Clone)]
pub struct Rollout {
    deployer: Arc<dyn Deployer>,
    strategy: Rolling,
    balancer: Option<Arc<dyn Balancer>>,
    monitor: Option<Arc<dyn Monitor>>,
    store: Option<Arc<dyn Store>>,
    owner: Option<LeaseOwner>,
    functions: Functions,
}

impl Rollout {
    /// A rollout of this strategy. What the strategy names as balancer and monitor must be handed over, too.
    pub fn new(deployer: Arc<dyn Deployer>, strategy: Rolling) -> Self {
        Self {
            deployer,
            strategy,
            balancer: None,
            monitor: None,
            store: None,
            owner: None,
            functions: Functions::default(),
        }
    }

    /// Drains and returns targets here. The strategy's `balancer` says how another process would make it.
    #[must_use]
    pub fn balancer(mut self, balancer: Arc<dyn Balancer>) -> Self {
        self.balancer = Some(balancer);
        self
    }

    /// Judges the strategy's gates.
    #[must_use]
    pub fn monitor(mut self, monitor: Arc<dyn Monitor>) -> Self {
        self.monitor = Some(monitor);
        self
    }

    /// Keeps ledger and leases here; the context's store if not given. Without any, nothing was ever seen healthy.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Holds leases under this name; the process's own if not given.
    #[must_use]
    pub fn owner(mut self, owner: LeaseOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Hands over a function that a hook or an approval of the strategy names.
    #[must_use]
    pub fn function(mut self, name: impl Into<String>, function: FunctionEntry) -> Self {
        self.functions.0.insert(name.into(), function);
        self
    }

    /// Rolls `release` out, and back if it fails.
    ///
    /// One rollout of a service in an environment at a time: another one waits for its turn, in the order in which they came.
    ///
    /// Finished targets of an interrupted run are not done again, a rollback that was interrupted goes on. A release that is
    /// rolled back, refused or cancelled is an outcome, not an error.
    ///
    /// A cancel lets the targets that are under way reach a safe point (unchanged, or changed, healthy and in service).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput), [`NotFound`](ErrorKind::NotFound) (a backend), [`Unsupported`](ErrorKind::Unsupported):
    /// nothing was touched. Those of the deployer's `probe` and `stage`: nothing that serves was touched.
    /// [`Storage`](ErrorKind::Storage): the journal can't be written; a drained target is named as `out_of_service`, and its
    /// lease's undo puts it back.
    pub async fn run(&self, cx: &Context, release: &Release, targets: &Targets) -> Result<RolloutReport> {
        let (crew, per_target) = self.crew(cx, release, targets)?;
        let Some(store) = self.store_of(cx) else { return self.deploy(cx, release, &crew, per_target).await };
        let owner = self.owner.clone().unwrap_or_else(|| own_name(cx.run()));
        let (inner, lost) = cx.child();
        let wanted = Wanted {
            key: format!("deploy/{}/{}", cx.environment(), release.service),
            reason: format!("rolls out {} {}", release.service, release.version),
            owner: &owner,
            ttl: DEPLOY_LEASE,
            lost: lost.clone(),
        };
        let lease = HeldLease::take(cx, store, &wanted).await?;
        let done = self.deploy(&inner, release, &crew, per_target).await;
        if lost.is_cancelled() && !cx.is_cancelled() {
            return Err(crate::lost_lease(lease.fence()));
        }
        lease.give_back().await?;
        done
    }

    async fn deploy(
        &self,
        cx: &Context,
        release: &Release,
        crew: &Crew<'_>,
        per_target: bool,
    ) -> Result<RolloutReport> {
        if per_target { self.roll(cx, release, crew).await } else { self.supervise(cx, release, crew).await }
    }

    /// Says for each target whether [`run`](Self::run) would change it. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), for what comes before the first change.
    pub async fn plan(&self, cx: &Context, release: &Release, targets: &Targets) -> Result<Plan> {
        let (crew, per_target) = self.crew(cx, release, targets)?;
        if !per_target {
            return self.plan_group(cx, release, &crew).await;
        }
        let begin = self.begin(cx, release, &crew, &self.strategy.select(&targets.inventory)?).await?;
        let subject = format!("service {}", release.service);
        let still = matches!(begin.decision, Decision::Unchanged | Decision::Superseded | Decision::Refused);
        let changes = begin.targets.iter().map(|t| {
            let before = t.before.clone().map(Into::into);
            let mut change = if still || t.stays {
                Change::will_not(&t.host, &subject).from_to(before.clone(), before)
            } else {
                let action = if before.is_some() { crate::Action::Update } else { crate::Action::Create };
                Change::will(&t.host, &subject, action).from_to(before, Some(release.version.clone().into()))
            };
            change.reason.clone_from(&begin.reason);
            change
        });
        Ok(Plan { changes: changes.collect(), ..Plan::default() })
    }

    /// Checks everything that can be checked without a call to anybody.
    fn crew<'a>(&'a self, cx: &Context, release: &'a Release, targets: &'a Targets) -> Result<(Crew<'a>, bool)> {
        self.strategy.validate()?;
        validate_release(cx, release)?;
        if let Some(limit) = &targets.limit {
            return Err(invalid("a rollout is limited with `only`, not with an Ansible pattern").with("limit", limit));
        }
        let can = self.deployer.capabilities();
        let per_target = can.has("per_target");
        if !per_target && !can.has("group") {
            return Err(unsupported("the deployer works neither per target nor on a group"));
        }
        // A group's hosts may be known to its system only.
        if per_target || !targets.inventory.hosts.is_empty() || !self.strategy.only.is_empty() {
            self.strategy.select(&targets.inventory)?;
        }
        if !per_target && (self.balancer.is_some() || self.strategy.balancer.is_some()) {
            return Err(invalid("a deployer that moves a whole group drains by itself: leave `balancer` out"));
        }
        if let Some(balancer) = &self.balancer {
            let can: Capabilities = balancer.capabilities();
            if let Some(lacks) = ["add", "drain", "wait_idle"].into_iter().find(|v| !can.has(v)) {
                return Err(
                    unsupported("the balancer can't take a target out of service and back").with("lacks", lacks)
                );
            }
        } else if self.strategy.balancer.is_some() {
            return Err(invalid("the strategy names a balancer, and none was handed to the rollout"));
        }
        if self.balancer.is_some() && self.strategy.balancer.is_none() {
            return Err(invalid(
                "without the strategy's `balancer`, nobody could undo a drain after a crash: name it there",
            ));
        }
        if !per_target && (self.strategy.blue_green.is_some() || !self.strategy.canary.is_empty()) {
            return Err(invalid(
                "a deployer that moves a whole group has its own steps: leave `canary` and `blue_green` out",
            ));
        }
        if let Some(groups) = &self.strategy.blue_green {
            self.strategy.colours(&targets.inventory, groups)?;
        }
        self.functions.check(&self.strategy)?;
        if self.store_of(cx).is_none() && self.strategy.asks() {
            cx.warn("without a store nobody but a file or a function can answer what the rollout asks");
        }
        if self.strategy.health.is_some()
            || self.strategy.watch.is_some()
            || self.strategy.canary.iter().any(|s| s.bake.is_some())
        {
            let monitor = self.monitor.as_ref().ok_or_else(|| invalid("a gate needs a monitor to judge it"))?;
            if !monitor.capabilities().has("assess") {
                return Err(unsupported("the monitor can't judge gates").with("lacks", "assess"));
            }
        }
        let owner = self.owner.clone().unwrap_or_else(|| own_name(cx.run()));
        let control = self.store_of(cx).map(|s| RolloutControl::new(Arc::clone(s), cx.environment(), &release.service));
        let desk = Desk::new(control, self.functions.clone(), release, owner.label.clone());
        let leases = Leases::new(
            self.store_of(cx).cloned(),
            owner,
            format!("rolls out {} {}", release.service, release.version),
            Duration::from_secs_f64(self.strategy.drain_lease_s),
        );
        let crew = Crew {
            rollout: self,
            inventory: &targets.inventory,
            connector: Arc::clone(&targets.connector),
            leases,
            service: &release.service,
            desk,
            begun: Begun::default(),
        };
        Ok((crew, per_target))
    }

    fn store_of<'a>(&'a self, cx: &'a Context) -> Option<&'a Arc<dyn Store>> {
        self.store.as_ref().or_else(|| cx.store())
    }
}

/// How long a dead process keeps a service from being deployed, where nobody can see that it is dead.
const DEPLOY_LEASE: Duration = Duration::from_secs(30);

fn own_name(run: Option<&RunId>) -> LeaseOwner {
    LeaseOwner {
        id: RunId::new().0,
        run: run.cloned(),
        label: format!("pid {}", std::process::id()),
        process: crate::OwnerProcess::this(),
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "core", "rollout", message)
}

fn unsupported(message: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "core", "rollout", message)
}

/// Service and version become parts of journal paths, lease keys and, with most deployers, of directory names.
fn validate_release(cx: &Context, release: &Release) -> Result<()> {
    for (field, value) in [("service", &release.service), ("version", &release.version)] {
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '/' || c == '\\';
        if value.is_empty() || value.len() > 200 || value.contains(odd) || value.starts_with('.') {
            return Err(invalid("must be 1 to 200 bytes without blanks and slashes, and not start with a dot")
                .with("field", field)
                .with("value", format!("{value:?}")));
        }
    }
    let text = serde_json::to_value(release).unwrap_or_default();
    let mut masked = text.clone();
    cx.masker().mask_json(&mut masked);
    if masked != text {
        return Err(invalid(
            "a release holds the value of a known secret, and the ledger would keep it: let the host read the secret itself",
        )
        .with("service", &release.service));
    }
    Ok(())
}
