//! A fleet in memory that notices every rule that a rollout breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{
    Backend, BackendMode, BackendState, Balancer, Capabilities, Context, Deployer, Deployment, Error, ErrorKind, Gate,
    Group, GroupJob, GroupState, Host, Inventory, Monitor, Observation, Preflight, Release, Result, Silence,
    SilenceHandle, Staged, Target, TargetGroup, TargetState, Targets, Verdict, VerdictKind,
};

#[derive(Debug, Default, Clone)]
pub struct OnHost {
    pub current: Option<String>,
    pub running: bool,
    pub staged: BTreeSet<String>,
    pub ledger: Vec<Deployment>,
    /// Its ledger can't be read or written.
    pub mute: bool,
}

#[derive(Debug, Default)]
pub struct State {
    pub hosts: BTreeMap<String, OnHost>,
    pub modes: BTreeMap<String, BackendMode>,
    /// Versions that fail every health check.
    pub bad: BTreeSet<String>,
    /// Versions that fail checks only once they get requests.
    pub bad_under_load: BTreeSet<String>,
    /// Versions that can't be activated.
    pub broken: BTreeSet<String>,
    /// What the monitor says next, whatever is true.
    pub verdicts: VecDeque<VerdictKind>,
    /// Never fewer backends than this may serve.
    pub least: usize,
    pub wrongs: Vec<String>,
    pub log: Vec<String>,
}

/// The fleet: deployer, balancer and monitor at once.
#[derive(Debug, Clone, Default)]
pub struct World(Arc<Mutex<State>>);

impl World {
    /// Hosts that exist, run nothing, and are unknown to the balancer.
    pub fn of(hosts: &[&str]) -> Self {
        let world = Self::default();
        world.lock().hosts = hosts.iter().map(|h| ((*h).to_owned(), OnHost::default())).collect();
        world
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn inventory(&self) -> Inventory {
        let hosts: Vec<Host> =
            self.lock().hosts.keys().map(|name| Host { name: name.clone(), ..Host::default() }).collect();
        let group = |prefix: &str| Group {
            hosts: hosts.iter().map(|h| h.name.clone()).filter(|n| n.starts_with(prefix)).collect(),
            ..Group::default()
        };
        let groups = ["blue", "green"].map(|g| (g.to_owned(), group(g))).into_iter().collect();
        Inventory { hosts, groups, ..Inventory::default() }
    }

    pub fn targets(&self) -> Targets {
        Targets::new(self.inventory(), Arc::new(Nowhere))
    }

    /// The versions that get requests, by host.
    pub fn serving(&self) -> BTreeMap<String, String> {
        let state = self.lock();
        let serves = |name: &String| state.modes.get(name) == Some(&BackendMode::Serving);
        let version = |host: &OnHost| host.current.clone().filter(|_| host.running).unwrap_or_default();
        state.hosts.iter().filter(|(n, _)| serves(n)).map(|(n, h)| (n.clone(), version(h))).collect()
    }

    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.lock().wrongs.clone()
    }
}

impl State {
    fn serves(&self, host: &str) -> bool {
        self.modes.get(host) == Some(&BackendMode::Serving)
    }

    fn did(&mut self, what: String) {
        self.log.push(what);
    }

    fn check_least(&mut self, why: &str) {
        let serving = self.modes.values().filter(|m| **m == BackendMode::Serving).count();
        if serving < self.least {
            self.wrongs.push(format!("{why}: only {serving} serve"));
        }
    }
}

fn no(kind: ErrorKind, operation: &'static str, message: &str) -> Error {
    Error::new(kind, "world", operation, message)
}

#[async_trait]
impl Deployer for World {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["per_target"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged> {
        cx.check("world", "stage")?;
        let mut state = self.lock();
        state.did(format!("stage {} {}", target.host.name, release.version));
        let changed = state.hosts.get_mut(&target.host.name).unwrap().staged.insert(release.version.clone());
        Ok(Staged { changed })
    }

    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()> {
        cx.check("world", "activate")?;
        // Others have a turn here, as with a real host.
        tokio::task::yield_now().await;
        let (mut state, name, version) = (self.lock(), target.host.name.clone(), release.version.clone());
        state.did(format!("activate {name} {version}"));
        if state.serves(&name) {
            state.wrongs.push(format!("{name} was changed while it got requests"));
        }
        let broken = state.broken.contains(&version);
        let host = state.hosts.get_mut(&name).unwrap();
        if !host.staged.contains(&version) {
            return Err(no(ErrorKind::NotFound, "activate", "not staged"));
        }
        host.current = Some(version);
        host.running = !broken;
        if broken { Err(no(ErrorKind::ToolFailed, "activate", "it exits at once")) } else { Ok(()) }
    }

    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()> {
        cx.check("world", "deactivate")?;
        let mut state = self.lock();
        state.did(format!("deactivate {}", target.host.name));
        if state.serves(&target.host.name) {
            state.wrongs.push(format!("{} was stopped while it got requests", target.host.name));
        }
        state.hosts.get_mut(&target.host.name).unwrap().running = false;
        Ok(())
    }

    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState> {
        cx.check("world", "probe")?;
        let host = self.lock().hosts.get(&target.host.name).cloned().unwrap();
        Ok(TargetState { current: host.current, running: host.running, staged: host.staged.into_iter().collect() })
    }

    async fn record(&self, _: &Context, target: &Target, entry: &Deployment) -> Result<()> {
        let mut state = self.lock();
        let host = state.hosts.get_mut(&target.host.name).unwrap();
        if host.mute {
            return Err(no(ErrorKind::Denied, "record", "the disk is full"));
        }
        host.ledger.retain(|d| (&d.run, d.started_at) != (&entry.run, entry.started_at));
        host.ledger.push(entry.clone());
        Ok(())
    }

    async fn recorded(&self, _: &Context, target: &Target, service: &str) -> Result<Vec<Deployment>> {
        let mut state = self.lock();
        state.did(format!("recorded {}", target.host.name));
        let host = &state.hosts[&target.host.name];
        if host.mute {
            return Err(no(ErrorKind::Denied, "recorded", "no permission"));
        }
        Ok(host.ledger.iter().filter(|d| d.release.service == service).cloned().collect())
    }

    async fn start(&self, _: &Context, _: &TargetGroup, _: &Release) -> Result<GroupJob> {
        Err(no(ErrorKind::Unsupported, "start", "per target only"))
    }
    async fn follow(&self, _: &Context, _: &GroupJob) -> Result<GroupState> {
        Err(no(ErrorKind::Unsupported, "follow", "per target only"))
    }
    async fn cancel(&self, _: &Context, _: &GroupJob) -> Result<()> {
        Err(no(ErrorKind::Unsupported, "cancel", "per target only"))
    }
    async fn probe_group(&self, _: &Context, _: &TargetGroup) -> Result<GroupState> {
        Err(no(ErrorKind::Unsupported, "probe_group", "per target only"))
    }
}

#[async_trait]
impl Balancer for World {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["add", "drain", "remove", "wait_idle"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        cx.check("world", "add")?;
        let mut state = self.lock();
        let host = state.hosts.get(&backend.name).cloned().unwrap();
        state.did(format!("add {} {}", backend.name, host.current.as_deref().unwrap_or("nothing")));
        let version = host.current.unwrap_or_default();
        if !state.serves(&backend.name) && (!host.running || state.bad.contains(&version)) {
            state.wrongs.push(format!("{} was put into service with {version}, which is not well", backend.name));
        }
        state.modes.insert(backend.name.clone(), BackendMode::Serving);
        Ok(())
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        cx.check("world", "drain")?;
        let mut state = self.lock();
        state.did(format!("drain {name}"));
        if !state.modes.contains_key(name) {
            return Err(no(ErrorKind::NotFound, "drain", "no such backend"));
        }
        state.modes.insert(name.to_owned(), BackendMode::Draining);
        state.check_least(&format!("{name} drained"));
        Ok(())
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        cx.check("world", "remove")?;
        self.lock().modes.remove(name);
        Ok(())
    }

    async fn wait_idle(&self, cx: &Context, _: &str, _: Duration) -> Result<u64> {
        cx.check("world", "wait_idle").map(|()| 0)
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        cx.check("world", "backends")?;
        let backend = |name: &String| Backend { name: name.clone(), address: name.clone(), port: 80 };
        let state = self.lock();
        Ok(state
            .modes
            .iter()
            .map(|(n, mode)| BackendState { backend: backend(n), mode: *mode, connections: 0 })
            .collect())
    }
}

#[async_trait]
impl Monitor for World {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["assess"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn record(&self, _: &Context, _: &[Observation]) -> Result<()> {
        Err(no(ErrorKind::Unsupported, "record", "it only judges"))
    }

    async fn assess(&self, cx: &Context, gate: &Gate, targets: &Targets) -> Result<Verdict> {
        // A gate called `slow` takes its hold seriously, so that orders come in the middle.
        if gate.hold_s > 0.0 {
            cx.sleep("world", "assess", Duration::from_secs_f64(gate.hold_s)).await?;
        }
        let mut state = self.lock();
        let names: Vec<String> = targets.inventory.hosts.iter().map(|h| h.name.clone()).collect();
        state.did(format!("assess {}", names.join(" ")));
        let scripted = state.verdicts.pop_front();
        let ill = names.iter().find(|name| {
            let host = &state.hosts[*name];
            let version = host.current.clone().unwrap_or_default();
            !host.running
                || state.bad.contains(&version)
                || (state.bad_under_load.contains(&version) && state.serves(name))
        });
        let kind = scripted.unwrap_or(if ill.is_some() { VerdictKind::Fail } else { VerdictKind::Pass });
        let reason = ill.map_or_else(|| format!("{kind:?}"), |name| format!("{name}: HTTP 500"));
        Ok(Verdict { kind, reason, samples: Vec::new() })
    }

    async fn silence(&self, _: &Context, _: &Silence) -> Result<SilenceHandle> {
        Err(no(ErrorKind::Unsupported, "silence", "it only judges"))
    }
    async fn unsilence(&self, _: &Context, _: &SilenceHandle) -> Result<()> {
        Err(no(ErrorKind::Unsupported, "unsilence", "it only judges"))
    }
}

/// A release of the service `web`.
pub fn release(version: &str) -> Release {
    Release { service: "web".into(), version: version.into(), artifact: None, env: BTreeMap::new() }
}
