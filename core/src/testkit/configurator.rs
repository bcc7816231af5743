//! What every [`Configurator`] does.

use std::sync::Arc;

use super::suite::{Act, Keep, cancelled, fails, known, lacks, suite};
use crate::{Certainty, Configurator, Context, ErrorKind, Targets};

/// A configurator with something to do on every one of its targets.
pub struct ConfiguratorFixture {
    /// The provider. Its work has not been done on the targets.
    pub provider: Arc<dyn Configurator>,
    /// The same kind, with another definition (another file, template or variable).
    pub other: Arc<dyn Configurator>,
    /// The same kind, with one task that fails on every host.
    pub failing: Arc<dyn Configurator>,
    /// At least two hosts.
    pub targets: Targets,
    /// One host that nobody answers on.
    pub unreachable: Targets,
    /// Where it works.
    pub cx: Context,
    /// Undoes something that the configurator did on the host of this name.
    pub disturb: Act<String>,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ configurator configurator_behaviour ConfiguratorFixture {
    preflight_answers,
    capabilities_are_known_names,
    plan_says_what_will_change_and_changes_nothing,
    plan_is_the_same_twice,
    apply_counts_every_host,
    apply_is_idempotent,
    nothing_is_planned_after_apply,
    a_disturbed_host_is_repaired_and_no_other,
    a_limit_leaves_other_hosts_alone,
    an_unknown_limit_is_refused,
    a_failed_task_names_host_and_task,
    an_unreachable_host_is_named,
    the_digest_is_stable_and_tells_definitions_apart,
    a_cancelled_apply_changes_nothing,
});

fn hosts(f: &ConfiguratorFixture) -> Vec<String> {
    f.targets.inventory.hosts.iter().map(|h| h.name.clone()).collect()
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: ConfiguratorFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// Names only verbs of the trait.
pub async fn capabilities_are_known_names(f: ConfiguratorFixture) {
    known(&f.provider.capabilities(), &["plan", "apply"]);
    assert!(f.provider.capabilities().has("apply"), "a configurator that configures nothing");
}

/// A plan names hosts and is only looked at.
pub async fn plan_says_what_will_change_and_changes_nothing(f: ConfiguratorFixture) {
    if !f.provider.capabilities().has("plan") {
        return lacks("plan", f.provider.plan(&f.cx, &f.targets).await);
    }
    let plan = f.provider.plan(&f.cx, &f.targets).await.expect("plan");
    for host in hosts(&f) {
        let planned = plan.changes.iter().any(|c| c.target == host && c.certainty != Certainty::WillNot);
        assert!(planned, "there is something to do on {host}: {plan:?}");
    }
    let known: Vec<String> = hosts(&f);
    assert!(plan.changes.iter().all(|c| known.contains(&c.target)), "changes name hosts: {plan:?}");
    let applied = f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    for host in hosts(&f) {
        assert!(applied.hosts[&host].changed > 0, "the plan had left it to apply on {host}");
    }
}

/// A saved plan is compared by its digest, so nothing random or timed may be in it.
pub async fn plan_is_the_same_twice(f: ConfiguratorFixture) {
    if !f.provider.capabilities().has("plan") {
        return lacks("plan", f.provider.plan(&f.cx, &f.targets).await);
    }
    let first = f.provider.plan(&f.cx, &f.targets).await.expect("plan");
    assert_eq!(first, f.provider.plan(&f.cx, &f.targets).await.expect("second plan"));
}

/// The summary names every host once, and no failure.
pub async fn apply_counts_every_host(f: ConfiguratorFixture) {
    let applied = f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    let mut want = hosts(&f);
    want.sort();
    assert_eq!(applied.hosts.keys().cloned().collect::<Vec<_>>(), want);
    for (host, sums) in &applied.hosts {
        assert!(sums.changed > 0 && sums.ok >= sums.changed, "{host}: `ok` counts changed tasks too: {sums:?}");
        assert_eq!((sums.failed, sums.unreachable), (0, 0), "{host}: {sums:?}");
    }
    assert!(applied.changed() >= want.len());
}

/// Nothing to do is a success.
pub async fn apply_is_idempotent(f: ConfiguratorFixture) {
    assert!(f.provider.apply(&f.cx, &f.targets).await.expect("apply").changed() > 0);
    let second = f.provider.apply(&f.cx, &f.targets).await.expect("second apply");
    assert_eq!(second.changed(), 0, "{second:?}");
    assert_eq!(second.hosts.len(), hosts(&f).len(), "unchanged hosts are counted too");
}

/// What is done is not announced again.
pub async fn nothing_is_planned_after_apply(f: ConfiguratorFixture) {
    if !f.provider.capabilities().has("plan") {
        return lacks("plan", f.provider.plan(&f.cx, &f.targets).await);
    }
    f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    let plan = f.provider.plan(&f.cx, &f.targets).await.expect("plan");
    assert!(plan.changes.iter().all(|c| c.certainty != Certainty::Will), "{plan:?}");
}

/// A repair touches what is broken.
pub async fn a_disturbed_host_is_repaired_and_no_other(f: ConfiguratorFixture) {
    f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    let first = hosts(&f)[0].clone();
    (f.disturb)(first.clone()).await;
    let repaired = f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    for (host, sums) in &repaired.hosts {
        assert_eq!(sums.changed > 0, *host == first, "{host}: {sums:?}");
    }
}

/// `limit` is honoured.
pub async fn a_limit_leaves_other_hosts_alone(f: ConfiguratorFixture) {
    let all = hosts(&f);
    let one = Targets { limit: Some(all[1].clone()), ..f.targets.clone() };
    let applied = f.provider.apply(&f.cx, &one).await.expect("apply");
    assert!(applied.hosts[&all[1]].changed > 0);
    let rest = f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    assert!(rest.hosts[&all[0]].changed > 0, "the other host was left alone");
    assert_eq!(rest.hosts[&all[1]].changed, 0, "the limited host was done");
}

/// A limit that matches nothing is a mistake, not a success that did nothing.
pub async fn an_unknown_limit_is_refused(f: ConfiguratorFixture) {
    let none = Targets { limit: Some("no-such-host".to_owned()), ..f.targets.clone() };
    fails(ErrorKind::InvalidInput, f.provider.apply(&f.cx, &none).await);
}

/// The reader of a failure needs where it was.
pub async fn a_failed_task_names_host_and_task(f: ConfiguratorFixture) {
    let error = fails(ErrorKind::ToolFailed, f.failing.apply(&f.cx, &f.targets).await);
    let host = error.get("host").unwrap_or_else(|| panic!("no host: {error:?}"));
    assert!(hosts(&f).iter().any(|h| h == host), "{error:?}");
    assert!(error.get("task").is_some_and(|t| !t.is_empty()), "no task: {error:?}");
}

/// A host that can't be reached is not a failed task.
pub async fn an_unreachable_host_is_named(f: ConfiguratorFixture) {
    let error = fails(ErrorKind::Unreachable, f.provider.apply(&f.cx, &f.unreachable).await);
    assert_eq!(error.get("host"), Some(f.unreachable.inventory.hosts[0].name.as_str()), "{error:?}");
}

/// Content keys depend on it.
pub async fn the_digest_is_stable_and_tells_definitions_apart(f: ConfiguratorFixture) {
    let first = f.provider.digest(&f.cx).await.expect("digest");
    f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    assert_eq!(first, f.provider.digest(&f.cx).await.expect("digest"), "the hosts' state is not part of it");
    assert_ne!(first, f.other.digest(&f.cx).await.expect("digest"), "another definition, another digest");
}

/// A cancel that came before the first task leaves no trace.
pub async fn a_cancelled_apply_changes_nothing(f: ConfiguratorFixture) {
    fails(ErrorKind::Cancelled, f.provider.apply(&cancelled(&f.cx), &f.targets).await);
    let applied = f.provider.apply(&f.cx, &f.targets).await.expect("apply");
    for host in hosts(&f) {
        assert!(applied.hosts[&host].changed > 0, "the cancelled apply had left {host} alone");
    }
}
