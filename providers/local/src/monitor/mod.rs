//! The monitor: looks at hosts itself, and keeps what it is told in memory.

mod probe;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{
    Capabilities, CheckResult, Context, Error, ErrorKind, EventKind, Gate, Host, LeaseAnswer, LeaseOwner, LeaseRequest,
    Monitor, Observation, Preflight, Result, Silence, SilenceHandle, Targets, Timestamp, Verdict, VerdictKind,
};

use probe::{Looked, Target};

/// Name of the monitor in the registry and in errors.
pub(crate) const MONITOR: &str = "local";

/// Most samples that a verdict holds.
const SAMPLES: usize = 100;

/// Settings of the `local` monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalMonitorConfig {
    /// How many observations are kept in memory, the latest ones. `10000` by default.
    #[serde(default = "default_keep")]
    pub keep: u32,
}

fn default_keep() -> u32 {
    10_000
}

impl Default for LocalMonitorConfig {
    fn default() -> Self {
        Self { keep: default_keep() }
    }
}

/// Watches hosts through their connections: HTTP, TCP and commands as seen from the host, and recorded metrics.
///
/// Clones share what was recorded. Nothing of it outlives the process, except silences where the context has a store.
#[derive(Debug, Clone, Default)]
pub struct LocalMonitor {
    config: LocalMonitorConfig,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    observations: VecDeque<Observation>,
    metrics: BTreeMap<String, f64>,
    silences: BTreeMap<String, (Silence, Instant)>,
}

impl LocalMonitor {
    /// A monitor with this config.
    pub fn new(config: LocalMonitorConfig) -> Self {
        Self { config, state: Arc::default() }
    }

    /// What was recorded, the oldest first.
    pub fn observations(&self) -> Vec<Observation> {
        self.lock().observations.iter().cloned().collect()
    }

    /// The silences that this monitor made and that have not ended.
    pub fn silences(&self) -> Vec<(SilenceHandle, Silence)> {
        let mut state = self.lock();
        state.silences.retain(|_, (_, until)| *until > Instant::now());
        state.silences.iter().map(|(id, (s, _))| (SilenceHandle { id: id.clone() }, s.clone())).collect()
    }

    /// Says whether alarms with these tags are muted: every tag of a silence's scope is among them.
    pub fn is_silenced(&self, tags: &BTreeMap<String, String>) -> bool {
        self.silences().iter().any(|(_, s)| s.scope.iter().all(|(k, v)| tags.get(k) == Some(v)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.lock().metrics.get(name).copied()
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, MONITOR, "assess", message)
}

/// Times and counts that make sense, before anything is looked at.
fn check_gate(gate: &Gate) -> Result<()> {
    if gate.checks.is_empty() {
        return Err(invalid("a gate needs at least one check"));
    }
    if gate.rise == 0 || gate.fall == 0 {
        return Err(invalid("`rise` and `fall` must be at least 1"));
    }
    let times = [gate.interval_s, gate.deadline_s, gate.start_period_s, gate.hold_s];
    let limits = gate.checks.iter().map(|c| c.timeout_s);
    if times.into_iter().chain(limits).any(|t| Duration::try_from_secs_f64(t).is_err() || t > 1e9) {
        return Err(invalid("a gate's times must be seconds from 0 to 1e9"));
    }
    if gate.hold_s > gate.deadline_s {
        return Err(invalid("`hold_s` is longer than `deadline_s`: the gate could never pass"));
    }
    Ok(())
}

/// The hosts that a limit of names and groups leaves.
fn chosen(targets: &Targets) -> Result<Vec<&Host>> {
    let inventory = &targets.inventory;
    let Some(limit) = &targets.limit else { return Ok(inventory.hosts.iter().collect()) };
    let mut names = Vec::new();
    for word in limit.split([',', ':']).map(str::trim).filter(|w| !w.is_empty()) {
        let mut open = vec![word];
        let mut seen = Vec::new();
        while let Some(word) = open.pop() {
            if seen.contains(&word) {
                continue;
            }
            seen.push(word);
            if let Some(group) = inventory.groups.get(word) {
                names.extend(group.hosts.iter().map(String::as_str));
                open.extend(group.children.iter().map(String::as_str));
            } else if word == "all" || word == "*" {
                names.extend(inventory.hosts.iter().map(|h| h.name.as_str()));
            } else if let Some(host) = inventory.host(word) {
                names.push(host.name.as_str());
            } else {
                return Err(invalid(format!(
                    "the limit names `{word}`, which is no host or group; patterns are not known here"
                )));
            }
        }
    }
    Ok(inventory.hosts.iter().filter(|h| names.contains(&h.name.as_str())).collect())
}

/// How a target has done so far.
#[derive(Debug, Default, Clone)]
struct Streak {
    passes: u32,
    failures: u32,
    last: Option<String>,
    broken: bool,
}

impl Streak {
    fn learn(&mut self, looked: &[Looked], counts: bool) {
        let bad = looked.iter().find(|l| !l.result.passed);
        let Some(bad) = bad else {
            *self = Self { passes: self.passes.saturating_add(1), ..Self::default() };
            return;
        };
        self.passes = 0;
        if counts {
            self.failures = self.failures.saturating_add(1);
        }
        self.broken = bad.broken;
        self.last = Some(said(&bad.result));
    }
}

fn said(result: &CheckResult) -> String {
    let at = result.host.as_ref().map(|h| format!(" on {h}")).unwrap_or_default();
    format!("check {}{at}: {}", result.check, result.detail)
}

#[async_trait]
impl Monitor for LocalMonitor {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["record", "assess", "silence"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        cx.check(MONITOR, "preflight")?;
        Ok(Preflight { ok: vec!["local monitor: checks hosts through their connections".into()], warnings: Vec::new() })
    }

    async fn record(&self, cx: &Context, observations: &[Observation]) -> Result<()> {
        cx.check(MONITOR, "record")?;
        let mut state = self.lock();
        for observation in observations {
            let mut observation = observation.clone();
            if let Observation::Metric(metric) = &mut observation {
                if metric.at == Timestamp(0) {
                    metric.at = Timestamp::now();
                }
                state.metrics.insert(metric.name.clone(), metric.value);
            }
            state.observations.push_back(observation);
        }
        let extra = state.observations.len().saturating_sub(self.config.keep as usize);
        state.observations.drain(..extra);
        Ok(())
    }

    async fn assess(&self, cx: &Context, gate: &Gate, targets: &Targets) -> Result<Verdict> {
        check_gate(gate)?;
        cx.check(MONITOR, "assess")?;
        let hosts = chosen(targets)?;
        if hosts.is_empty() {
            let reason = "there is no host to check".to_owned();
            return Ok(Verdict { kind: VerdictKind::Error, reason, samples: Vec::new() });
        }
        let mut looks: Vec<(Target<'_>, Streak)> =
            hosts.iter().map(|host| (Target::new(host, targets), Streak::default())).collect();
        let seconds = Duration::from_secs_f64;
        let begun = Instant::now();
        let until = begun + seconds(gate.deadline_s);
        let mut healthy_since = None;
        let mut samples: VecDeque<CheckResult> = VecDeque::new();
        let verdict = |kind, reason: String, samples: VecDeque<CheckResult>| {
            Ok(Verdict { kind, reason, samples: samples.into() })
        };
        loop {
            // A look never outlasts the gate.
            let left = until.saturating_duration_since(Instant::now());
            let sampled = join_all(looks.iter_mut().map(|(target, _)| target.look(cx, gate, left, self))).await;
            cx.check(MONITOR, "assess")?;
            let now = Instant::now();
            let counts = now.duration_since(begun) >= seconds(gate.start_period_s);
            for ((_, streak), looked) in looks.iter_mut().zip(sampled) {
                let looked = looked?;
                streak.learn(&looked, counts);
                for bad in looked.iter().filter(|l| counts && !l.result.passed) {
                    cx.emit(EventKind::Observed { observation: Observation::Check(bad.result.clone()) });
                }
                samples.extend(looked.into_iter().map(|l| l.result));
            }
            let extra = samples.len().saturating_sub(SAMPLES);
            samples.drain(..extra);
            let bad: Vec<&Streak> = looks.iter().map(|(_, s)| s).filter(|s| s.failures >= gate.fall).collect();
            if !bad.is_empty() && now < until {
                let reasons: Vec<&str> = bad.iter().filter_map(|s| s.last.as_deref()).collect();
                let kind = if bad.iter().all(|s| s.broken) { VerdictKind::Error } else { VerdictKind::Fail };
                return verdict(kind, reasons.join("; "), samples);
            }
            // Any failure begins the hold anew, so that a target that comes and goes never passes.
            let healthy = looks.iter().all(|(_, s)| s.passes >= gate.rise);
            healthy_since = healthy.then(|| healthy_since.unwrap_or(now));
            if healthy_since.is_some_and(|since| now.duration_since(since) >= seconds(gate.hold_s)) {
                let reason = format!("all checks passed on {} hosts", looks.len());
                return verdict(VerdictKind::Pass, reason, samples);
            }
            if now >= until {
                let last: Vec<&str> = looks.iter().filter_map(|(_, s)| s.last.as_deref()).collect();
                let reason = format!(
                    "not clear after {} s: {}",
                    gate.deadline_s,
                    match last.is_empty() {
                        true => "all checks pass, but not for long enough yet".to_owned(),
                        false => last.join("; "),
                    }
                );
                return verdict(VerdictKind::Inconclusive, reason, samples);
            }
            // At least a millisecond: an interval of 0 would keep a processor busy.
            let pause = seconds(gate.interval_s).max(Duration::from_millis(1));
            cx.sleep(MONITOR, "assess", pause.min(until.saturating_duration_since(now))).await?;
        }
    }

    async fn silence(&self, cx: &Context, silence: &Silence) -> Result<SilenceHandle> {
        cx.check(MONITOR, "silence")?;
        let id = hex::encode(rand::random::<[u8; 16]>());
        if let Some(store) = cx.store() {
            let scope: Vec<String> = silence.scope.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let request = LeaseRequest {
                key: lease_key(cx, &id),
                // No process: a silence lasts as long as it says, whoever asked for it.
                owner: LeaseOwner {
                    id: id.clone(),
                    run: cx.run().cloned(),
                    label: "local monitor".into(),
                    process: None,
                },
                reason: format!("{} [{}]", silence.reason, scope.join(", ")),
                ttl_ms: silence.for_s.saturating_mul(1000),
                undo: None,
            };
            match store.acquire(&request).await? {
                LeaseAnswer::Granted(_) => {}
                LeaseAnswer::Held(_) | LeaseAnswer::Expired(_) => {
                    return Err(Error::new(ErrorKind::Conflict, MONITOR, "silence", "its lease is somebody else's")
                        .with("silence", &id)
                        .retry_later());
                }
            }
        }
        // What ends later than the clock can say never ends by itself.
        let until = Instant::now().checked_add(silence.duration());
        let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 32));
        self.lock().silences.insert(id.clone(), (silence.clone(), until));
        Ok(SilenceHandle { id })
    }

    async fn unsilence(&self, cx: &Context, handle: &SilenceHandle) -> Result<()> {
        self.lock().silences.remove(&handle.id);
        if let Some(store) = cx.store() {
            let key = lease_key(cx, &handle.id);
            for lease in store.leases().await?.into_iter().filter(|l| l.key == key) {
                store.release(&lease.fence()).await?;
            }
        }
        Ok(())
    }
}

fn lease_key(cx: &Context, id: &str) -> String {
    format!("silence/{}/{id}", cx.environment())
}
