//! What every [`Monitor`] does.

use std::sync::Arc;
use std::time::Duration;

use super::suite::{Keep, cancelled, fails, known, lacks, suite};
use crate::{
    Check, CheckProbe, CheckResult, Context, ErrorKind, Gate, Metric, Monitor, Notice, Observation, Silence, Targets,
    Timestamp, Verdict, VerdictKind,
};

/// A monitor and hosts that it can look at.
pub struct MonitorFixture {
    /// The provider.
    pub provider: Arc<dyn Monitor>,
    /// At least two hosts that are well.
    pub targets: Targets,
    /// A check that passes on every host.
    pub passes: Check,
    /// A check that fails on every host.
    pub fails: Check,
    /// A check that fails on the second host only.
    pub fails_on_second: Check,
    /// Where it works.
    pub cx: Context,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ monitor monitor_behaviour MonitorFixture {
    preflight_answers,
    capabilities_are_known_names,
    observations_are_taken,
    nothing_to_record_is_a_success,
    a_healthy_target_passes,
    a_failing_check_is_a_verdict_not_an_error,
    one_bad_host_fails_the_gate_and_is_named,
    one_failing_check_of_two_fails_the_gate,
    failures_in_the_start_period_do_not_count,
    a_recorded_metric_is_judged,
    a_metric_that_was_never_recorded_does_not_pass,
    samples_are_kept_and_bounded,
    a_cancelled_gate_says_so,
    a_silence_is_ended_once_and_again,
});

fn gate(checks: Vec<Check>) -> Gate {
    Gate { interval_s: 0.02, deadline_s: 20.0, fall: 2, ..Gate::of(checks) }
}

async fn assess(f: &MonitorFixture, gate: &Gate) -> Option<Verdict> {
    let verdict = f.provider.assess(&f.cx, gate, &f.targets).await;
    if !f.provider.capabilities().has("assess") {
        lacks("assess", verdict);
        return None;
    }
    Some(verdict.expect("a verdict"))
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: MonitorFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// Names only verbs of the trait.
pub async fn capabilities_are_known_names(f: MonitorFixture) {
    known(&f.provider.capabilities(), &["record", "assess", "silence"]);
}

fn metric(name: &str, value: f64) -> Observation {
    Observation::Metric(Metric { name: name.into(), value, at: Timestamp::now(), tags: Default::default() })
}

/// All three kinds.
pub async fn observations_are_taken(f: MonitorFixture) {
    let all = [
        metric("towpath.test", 1.5),
        Observation::Notice(Notice { title: "deploy".into(), text: "v2".into(), tags: Default::default() }),
        Observation::Check(CheckResult {
            check: "http".into(),
            host: Some("a".into()),
            passed: true,
            detail: "200".into(),
        }),
    ];
    let taken = f.provider.record(&f.cx, &all).await;
    if f.provider.capabilities().has("record") { taken.expect("record") } else { lacks("record", taken) }
}

/// An empty list is a success.
pub async fn nothing_to_record_is_a_success(f: MonitorFixture) {
    let taken = f.provider.record(&f.cx, &[]).await;
    if f.provider.capabilities().has("record") { taken.expect("record") } else { lacks("record", taken) }
}

/// All checks pass on all hosts.
pub async fn a_healthy_target_passes(f: MonitorFixture) {
    let Some(verdict) = assess(&f, &gate(vec![f.passes.clone()])).await else { return };
    assert_eq!(verdict.kind, VerdictKind::Pass, "{verdict:?}");
    for host in &f.targets.inventory.hosts {
        let seen = verdict.samples.iter().any(|s| s.host.as_deref() == Some(&host.name) && s.passed);
        assert!(seen, "{} was looked at: {verdict:?}", host.name);
    }
}

/// The reason names the check and a host.
pub async fn a_failing_check_is_a_verdict_not_an_error(f: MonitorFixture) {
    let Some(verdict) = assess(&f, &gate(vec![f.fails.clone()])).await else { return };
    assert_eq!(verdict.kind, VerdictKind::Fail, "{verdict:?}");
    assert!(verdict.reason.contains(&f.fails.name), "it names the check: {verdict:?}");
    let named = f.targets.inventory.hosts.iter().any(|h| verdict.reason.contains(&h.name));
    assert!(named, "it names a host: {verdict:?}");
}

/// A gate is for all of its targets.
pub async fn one_bad_host_fails_the_gate_and_is_named(f: MonitorFixture) {
    let Some(verdict) = assess(&f, &gate(vec![f.fails_on_second.clone()])).await else { return };
    assert_eq!(verdict.kind, VerdictKind::Fail, "{verdict:?}");
    assert!(verdict.reason.contains(&f.targets.inventory.hosts[1].name), "it names the bad host: {verdict:?}");
    assert!(!verdict.reason.contains(&f.targets.inventory.hosts[0].name), "and no other: {verdict:?}");
}

/// All checks must pass.
pub async fn one_failing_check_of_two_fails_the_gate(f: MonitorFixture) {
    let Some(verdict) = assess(&f, &gate(vec![f.passes.clone(), f.fails.clone()])).await else { return };
    assert_eq!(verdict.kind, VerdictKind::Fail, "{verdict:?}");
    assert!(verdict.reason.contains(&f.fails.name), "{verdict:?}");
}

/// And when the time is over before it is clear, the gate says just that.
pub async fn failures_in_the_start_period_do_not_count(f: MonitorFixture) {
    let slow = Gate { start_period_s: 60.0, deadline_s: 0.3, ..gate(vec![f.fails.clone()]) };
    let Some(verdict) = assess(&f, &slow).await else { return };
    assert_eq!(verdict.kind, VerdictKind::Inconclusive, "{verdict:?}");
}

fn limit(name: &str, min: Option<f64>, max: Option<f64>) -> Gate {
    gate(vec![Check {
        name: "limit".into(),
        probe: CheckProbe::Metric { name: name.into(), max, min },
        timeout_s: 2.0,
    }])
}

/// The last recorded value counts.
pub async fn a_recorded_metric_is_judged(f: MonitorFixture) {
    let can = f.provider.capabilities();
    if !can.has("record") || !can.has("assess") {
        return observations_are_taken(f).await;
    }
    f.provider.record(&f.cx, &[metric("towpath.errors", 100.0)]).await.expect("record");
    f.provider.record(&f.cx, &[metric("towpath.errors", 5.0)]).await.expect("record");
    for (gate, kind) in [
        (limit("towpath.errors", None, Some(5.0)), VerdictKind::Pass),
        (limit("towpath.errors", Some(5.0), None), VerdictKind::Pass),
        (limit("towpath.errors", None, Some(4.9)), VerdictKind::Fail),
        (limit("towpath.errors", Some(5.1), None), VerdictKind::Fail),
    ] {
        let verdict = f.provider.assess(&f.cx, &gate, &f.targets).await.expect("a verdict");
        assert_eq!(verdict.kind, kind, "{gate:?}: {verdict:?}");
    }
}

/// No data is not health.
pub async fn a_metric_that_was_never_recorded_does_not_pass(f: MonitorFixture) {
    let never = Gate { deadline_s: 0.5, ..limit("towpath.never", None, Some(1e9)) };
    let Some(verdict) = assess(&f, &never).await else { return };
    assert_ne!(verdict.kind, VerdictKind::Pass, "{verdict:?}");
}

/// A long gate does not grow without end.
pub async fn samples_are_kept_and_bounded(f: MonitorFixture) {
    let long = Gate { interval_s: 0.001, hold_s: 1.0, ..gate(vec![f.passes.clone()]) };
    let Some(verdict) = assess(&f, &long).await else { return };
    assert_eq!(verdict.kind, VerdictKind::Pass, "{verdict:?}");
    assert!((2..=100).contains(&verdict.samples.len()), "{} samples", verdict.samples.len());
}

/// Waiting for a verdict ends with a cancel.
pub async fn a_cancelled_gate_says_so(f: MonitorFixture) {
    let slow = Gate { start_period_s: 600.0, deadline_s: 600.0, ..gate(vec![f.fails.clone()]) };
    if !f.provider.capabilities().has("assess") {
        return lacks("assess", f.provider.assess(&f.cx, &slow, &f.targets).await);
    }
    fails(ErrorKind::Cancelled, f.provider.assess(&cancelled(&f.cx), &slow, &f.targets).await);
    let (cx, token) = f.cx.child();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        token.cancel();
        std::future::pending::<()>().await;
    };
    let verdict = tokio::select! {
        v = f.provider.assess(&cx, &slow, &f.targets) => v,
        () = stop => unreachable!("it waits for ever"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("a cancelled gate goes on"),
    };
    fails(ErrorKind::Cancelled, verdict);
}

/// Ended already is a success.
pub async fn a_silence_is_ended_once_and_again(f: MonitorFixture) {
    let silence = Silence { scope: Default::default(), reason: "towpath test".into(), for_s: 60 };
    let made = f.provider.silence(&f.cx, &silence).await;
    if !f.provider.capabilities().has("silence") {
        lacks("silence", made);
        let handle = crate::SilenceHandle { id: "none".into() };
        return lacks("silence", f.provider.unsilence(&f.cx, &handle).await);
    }
    let handle = made.expect("silence");
    assert!(!handle.id.is_empty(), "a silence without an id can't be ended by another process");
    let other = f.provider.silence(&f.cx, &silence).await.expect("second silence");
    assert_ne!(handle, other, "two silences are two");
    f.provider.unsilence(&f.cx, &other).await.expect("unsilence");
    f.provider.unsilence(&f.cx, &handle).await.expect("unsilence");
    f.provider.unsilence(&f.cx, &handle).await.expect("second unsilence");
}
