use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{
    Backend, BackendMode, BackendState, Context, Deployment, Error, ErrorKind, Host, Inventory, PortSpec, Release,
    Result, TargetState, Timestamp,
};

use super::Rollout;
use super::ledger::{Ledger, Standing};
use super::target::{CALL_LIMIT, Crew, one_line, within};

/// What a rollout decided before it touched anything. Journalled: a resumed run goes on with the same decision, though the
/// world is half changed by then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) run: String,
    pub(super) started_at: Timestamp,
    pub(super) decision: Decision,
    pub(super) reason: Option<String>,
    pub(super) from: Option<String>,
    pub(super) targets: Vec<Planned>,
    /// What hosts know and the store did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) found: Vec<Deployment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// The release goes onto every target that is not known to run it.
    Roll,
    /// The service runs the release already, but for some targets that were disturbed.
    Repair,
    Unchanged,
    Superseded,
    Refused,
}

impl Begin {
    /// Tells this rollout from the service's other ones, also after a crash.
    pub(super) fn id(&self, release: &Release) -> String {
        rollout_id(&self.run, release, self.started_at)
    }
}

pub(super) fn rollout_id(run: &str, release: &Release, started_at: Timestamp) -> String {
    format!("{run}/{}/{}", release.version, started_at.0)
}

/// What is planned for one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Planned {
    pub(super) host: String,
    /// The version that runs there.
    pub(super) before: Option<String>,
    /// It is not changed: it runs the release and serves, or it is of the group that `blue_green` leaves alone.
    pub(super) stays: bool,
    /// It gets requests; where there is no balancer: it runs something.
    #[serde(default)]
    pub(super) serves: bool,
    /// What it goes back to.
    pub(super) back_to: Option<Release>,
    /// What the balancer knows of it now.
    pub(super) known: Option<Backend>,
    /// What the balancer shall know of it; `None`: there is no balancer.
    pub(super) backend: Option<Backend>,
}

impl Planned {
    /// Whether the balancer knows it under another address.
    pub(super) fn moved(&self) -> bool {
        self.known.is_some() && self.known != self.backend
    }
}

impl Rollout {
    /// Looks at ledger, targets and balancer, and decides. Changes nothing.
    pub(super) async fn begin(
        &self,
        cx: &Context,
        release: &Release,
        crew: &Crew<'_>,
        hosts: &[&Host],
    ) -> Result<Begin> {
        let backends = match &self.balancer {
            Some(balancer) => Some(within(cx, CALL_LIMIT, |cx| async move { balancer.backends(&cx).await }).await?),
            None => None,
        };
        let states = self.probe_all(cx, crew, hosts).await?;
        let mut entries = self.ledger(cx, &release.service).await?;
        let found = self.ask_hosts(cx, crew, hosts, &states, &entries).await;
        entries.extend(found.iter().cloned());
        let ledger = Ledger::new(&entries, release);
        let known = ledger.is_known();
        let mut targets = Vec::new();
        for (host, state) in hosts.iter().zip(states) {
            let registered = backends.as_ref().and_then(|all| all.iter().find(|b| b.backend.name == host.name));
            let backend = match &backends {
                Some(all) => Some(self.backend(host, crew.inventory, registered, all)?),
                None => None,
            };
            let serves = backend.is_none()
                || registered.is_some_and(|b| b.mode == BackendMode::Serving && Some(&b.backend) == backend.as_ref());
            let runs = state.running && state.current.as_deref() == Some(release.version.as_str());
            let gets = match &backends {
                Some(_) => registered.is_some_and(|b| b.mode == BackendMode::Serving),
                None => state.running && state.current.is_some(),
            };
            targets.push(Planned {
                host: host.name.clone(),
                stays: known && runs && serves,
                serves: gets,
                back_to: ledger.predecessor(&host.name, state.current.as_deref()).cloned(),
                before: state.current,
                known: registered.map(|b| b.backend.clone()),
                backend,
            });
        }
        if let Some(groups) = &self.strategy.blue_green {
            self.colour(groups, self.strategy.colours(crew.inventory, groups)?, &mut targets)?;
        }
        let (decision, reason) = match ledger.standing(&self.strategy) {
            Standing::Refused(why) => (Decision::Refused, Some(why)),
            Standing::Superseded(by) => (Decision::Superseded, Some(format!("{by} has replaced it"))),
            Standing::Open if targets.iter().all(|t| t.stays) => (Decision::Unchanged, None),
            Standing::Open if ledger.is_serving() => (Decision::Repair, None),
            Standing::Open => (Decision::Roll, None),
        };
        if decision == Decision::Repair {
            // The release is what was seen healthy: a target that does not take it is at fault itself, and going back would
            // only split the fleet.
            targets.iter_mut().for_each(|t| t.back_to = None);
        }
        let first = targets.first().and_then(|t| t.before.clone());
        let from = first.filter(|v| targets.iter().all(|t| t.before.as_ref() == Some(v)));
        let run = cx.run().map_or_else(|| crate::RunId::new().0, |run| run.0.clone());
        Ok(Begin { run, started_at: Timestamp::now(), decision, reason, from, targets, found })
    }

    pub(super) async fn ledger(&self, cx: &Context, service: &str) -> Result<Vec<Deployment>> {
        match self.store_of(cx) {
            Some(store) => store.deployments(cx.environment(), service).await,
            None => Ok(Vec::new()),
        }
    }

    async fn probe_all(&self, cx: &Context, crew: &Crew<'_>, hosts: &[&Host]) -> Result<Vec<TargetState>> {
        // Boxed and collected: a lazy closure held across an await makes a future that no task may carry.
        let mut probes: Vec<BoxFuture<'_, Result<TargetState>>> = Vec::new();
        for host in hosts {
            let (target, cx) = (crew.target(host), cx.for_host(&host.name));
            probes.push(Box::pin(async move {
                let state = within(&cx, CALL_LIMIT, |cx| async move { self.deployer.probe(&cx, &target).await }).await;
                state.map_err(|e| e.with_missing("host", &host.name))
            }));
        }
        let found: Vec<Result<TargetState>> = futures::stream::iter(probes).buffered(32).collect().await;
        found.into_iter().collect()
    }

    /// What the balancer shall know of a host.
    fn backend(
        &self,
        host: &Host,
        inventory: &Inventory,
        registered: Option<&BackendState>,
        all: &[BackendState],
    ) -> Result<Backend> {
        let Some(port) = &self.strategy.backend_port else {
            return registered.map(|b| b.backend.clone()).ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|b| b.backend.name.as_str()).collect();
                Error::new(
                    ErrorKind::NotFound,
                    "core",
                    "rollout",
                    "the balancer has no backend of this host's name; add it, or set `backend_port` so that the rollout does",
                )
                .with("host", &host.name)
                .with("backends", if names.is_empty() { "none".to_owned() } else { names.join(" ") })
            });
        };
        Ok(Backend {
            name: host.name.clone(),
            address: host.connection.address.clone().unwrap_or_else(|| host.name.clone()),
            port: resolve_port(port, &inventory.effective(host))?,
        })
    }
}

fn resolve_port(port: &PortSpec, host: &Host) -> Result<u16> {
    let text = match port {
        PortSpec::Number(n) => return Ok(*n),
        // A bare name is a variable, too.
        PortSpec::Variable(text) if !text.contains("{{") && text.parse::<u16>().is_err() => format!("{{{{ {text} }}}}"),
        PortSpec::Variable(text) => text.clone(),
    };
    let filled = host.fill(&text).map_err(|e| e.with("field", "backend_port"))?;
    filled.trim().parse::<u16>().ok().filter(|n| *n > 0).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "core", "rollout", "`backend_port` gives no port")
            .with("host", &host.name)
            .with("backend_port", text)
            .with("gives", filled)
    })
}

impl Crew<'_> {
    /// Brings the release onto all targets that need it, before any of them is drained.
    pub(super) async fn stage_all(&self, cx: &Context, begin: &Begin, release: &Release) -> Result<()> {
        let mut work: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
        for planned in begin.targets.iter().filter(|t| !t.stays) {
            let cx = cx.for_host(&planned.host);
            work.push(Box::pin(async move {
                self.stage(&cx, &format!("stage/{}", planned.host), &planned.host, release).await
            }));
        }
        // All are awaited, so that none is dropped half-way because another one failed.
        let done: Vec<Result<()>> = futures::stream::iter(work).buffered(32).collect().await;
        done.into_iter().collect()
    }

    pub(super) async fn stage(&self, cx: &Context, key: &str, host: &str, release: &Release) -> Result<()> {
        let target = self.target(self.host(host)?);
        let intent = serde_json::json!({ "host": host, "version": release.version });
        cx.effect_idempotent(key, intent, |cx| async move {
            super::target::say(&cx, "stage", &release.version, "");
            let staged = self.rollout.deployer.stage(&cx, &target, release).await;
            staged.map_err(|e| e.with_missing("host", host))
        })
        .await
        .map(|_| ())
    }

    /// As [`stage`](Self::stage), with a failure as a value.
    pub(super) async fn restage(&self, cx: &Context, host: &str, release: &Release) -> Result<Option<String>> {
        match self.stage(cx, "stage", host, release).await {
            Ok(()) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::Storage | ErrorKind::Interrupted) => Err(e),
            Err(e) => Ok(Some(format!("{} could not be staged again: {}", release.version, one_line(&e)))),
        }
    }
}
