use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Shared, error, targets};
use crate::testkit::monitor::MonitorFixture;
use crate::{
    Capabilities, Check, CheckProbe, CheckResult, Context, ErrorKind, Gate, Monitor, Observation, Preflight, Result,
    Silence, SilenceHandle, Targets, Verdict, VerdictKind,
};

/// Most samples of a verdict.
const SAMPLES: usize = 100;

/// Judges metrics in memory, and commands by their words: `true` passes everywhere, `fail-on HOST` fails on that host.
#[derive(Debug, Clone, Default)]
pub struct MemoryMonitor {
    metrics: Shared<BTreeMap<String, f64>>,
    silences: Shared<(u64, BTreeSet<String>)>,
}

/// A monitor with two hosts that are well.
pub fn monitor() -> MonitorFixture {
    let check = |name: &str, words: &[&str]| Check {
        name: name.into(),
        probe: CheckProbe::Command { argv: words.iter().map(|w| (*w).to_owned()).collect() },
        timeout_s: 2.0,
    };
    MonitorFixture {
        provider: Arc::new(MemoryMonitor::default()),
        targets: targets(&["web-1", "web-2"]),
        passes: check("passes", &["true"]),
        fails: check("broken", &["false"]),
        fails_on_second: check("broken-there", &["fail-on", "web-2"]),
        cx: Context::new(),
        keep: Box::new(()),
    }
}

impl MemoryMonitor {
    /// `None`: not known.
    fn look(&self, check: &Check, host: &str) -> Result<Option<bool>> {
        match &check.probe {
            CheckProbe::Command { argv } => Ok(Some(match argv.first().map(String::as_str) {
                Some("true") => true,
                Some("fail-on") => argv.get(1).is_none_or(|h| h != host),
                _ => false,
            })),
            CheckProbe::Metric { name, max, min } => {
                let value = self.metrics.lock().get(name).copied();
                Ok(value.map(|v| max.is_none_or(|m| v <= m) && min.is_none_or(|m| v >= m)))
            }
            _ => {
                Err(error(ErrorKind::InvalidInput, "assess", "there is no network in memory")
                    .with("check", &check.name))
            }
        }
    }
}

#[async_trait]
impl Monitor for MemoryMonitor {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["record", "assess", "silence"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn record(&self, cx: &Context, observations: &[Observation]) -> Result<()> {
        cx.check("memory", "record")?;
        for observation in observations {
            if let Observation::Metric(m) = observation {
                self.metrics.lock().insert(m.name.clone(), m.value);
            }
        }
        Ok(())
    }

    async fn assess(&self, cx: &Context, gate: &Gate, targets: &Targets) -> Result<Verdict> {
        let start = Instant::now();
        let mut samples: Vec<CheckResult> = Vec::new();
        let mut rises: BTreeMap<&str, u32> = BTreeMap::new();
        let mut falls: BTreeMap<&str, u32> = BTreeMap::new();
        loop {
            cx.check("memory", "assess")?;
            let since = start.elapsed().as_secs_f64();
            for host in &targets.inventory.hosts {
                let mut bad = None;
                let mut known = true;
                for check in &gate.checks {
                    let passed = self.look(check, &host.name)?;
                    known &= passed.is_some();
                    if passed == Some(false) {
                        bad.get_or_insert(check);
                    }
                    samples.push(CheckResult {
                        check: check.name.clone(),
                        host: Some(host.name.clone()),
                        passed: passed.unwrap_or(false),
                        detail: String::new(),
                    });
                }
                samples.drain(..samples.len().saturating_sub(SAMPLES));
                let (rise, fall) = (rises.entry(&host.name).or_default(), falls.entry(&host.name).or_default());
                match bad {
                    None if known => (*rise, *fall) = (*rise + 1, 0),
                    None => *rise = 0,
                    Some(check) => {
                        *rise = 0;
                        *fall += u32::from(since >= gate.start_period_s);
                        if *fall >= gate.fall {
                            let reason = format!("{} on {} fails", check.name, host.name);
                            return Ok(Verdict { kind: VerdictKind::Fail, reason, samples });
                        }
                    }
                }
            }
            let healthy = !rises.is_empty() && rises.values().all(|r| *r >= gate.rise);
            if healthy && since >= gate.hold_s {
                return Ok(Verdict { kind: VerdictKind::Pass, reason: "all checks pass".into(), samples });
            }
            if since >= gate.deadline_s {
                let reason = "the time was over before it was clear".into();
                return Ok(Verdict { kind: VerdictKind::Inconclusive, reason, samples });
            }
            cx.sleep("memory", "assess", Duration::from_secs_f64(gate.interval_s)).await?;
        }
    }

    async fn silence(&self, cx: &Context, _: &Silence) -> Result<SilenceHandle> {
        cx.check("memory", "silence")?;
        let mut silences = self.silences.lock();
        silences.0 += 1;
        let id = silences.0.to_string();
        silences.1.insert(id.clone());
        Ok(SilenceHandle { id })
    }

    async fn unsilence(&self, cx: &Context, handle: &SilenceHandle) -> Result<()> {
        cx.check("memory", "unsilence")?;
        self.silences.lock().1.remove(&handle.id);
        Ok(())
    }
}
