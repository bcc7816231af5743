//! What every [`Provisioner`] does.

use std::sync::Arc;

use super::suite::{Act, Keep, cancelled, fails, known, lacks, suite};
use crate::{Context, Environment, ErrorKind, Provisioner};

/// A provisioner whose world is empty, and whose config makes at least one host or resource.
pub struct ProvisionerFixture {
    /// The provider.
    pub provider: Arc<dyn Provisioner>,
    /// Where it works: an environment of this test's own.
    pub cx: Context,
    /// Disturbs what was made, so that a repair has something to do: ends a host, deletes a resource.
    pub disturb: Act<Environment>,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ provisioner provisioner_behaviour ProvisionerFixture {
    preflight_answers,
    capabilities_are_known_names,
    probe_of_an_empty_world_finds_nothing,
    plan_lists_changes_and_makes_none,
    apply_makes_what_is_there_then,
    apply_is_idempotent,
    plan_is_empty_after_apply,
    plan_is_the_same_twice,
    probe_finds_what_apply_made,
    a_disturbed_world_is_seen_and_repaired,
    destroy_leaves_nothing,
    destroy_is_idempotent,
    apply_works_again_after_destroy,
    a_cancelled_apply_makes_nothing,
});

/// Removes what a behaviour made, if the provider can.
async fn clean(f: &ProvisionerFixture) {
    if f.provider.capabilities().has("destroy") {
        f.provider.destroy(&f.cx).await.expect("destroy at the end of a test");
    }
}

fn same_hosts(a: &Environment, b: &Environment) {
    assert_eq!(a.inventory, b.inventory, "the same hosts, reached the same way");
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: ProvisionerFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// Names only verbs of the trait.
pub async fn capabilities_are_known_names(f: ProvisionerFixture) {
    known(&f.provider.capabilities(), &["plan", "apply", "probe", "destroy"]);
    assert!(f.provider.capabilities().has("apply"), "a provisioner that makes nothing");
}

/// An empty world is not an error.
pub async fn probe_of_an_empty_world_finds_nothing(f: ProvisionerFixture) {
    if !f.provider.capabilities().has("probe") {
        return lacks("probe", f.provider.probe(&f.cx).await);
    }
    let probed = f.provider.probe(&f.cx).await.expect("probe");
    assert_eq!(probed.environment, None);
    assert!(!probed.drift.is_empty(), "everything is missing, so there is drift");
}

/// A plan is only looked at.
pub async fn plan_lists_changes_and_makes_none(f: ProvisionerFixture) {
    let can = f.provider.capabilities();
    if !can.has("plan") {
        return lacks("plan", f.provider.plan(&f.cx).await);
    }
    assert!(!f.provider.plan(&f.cx).await.expect("plan").is_empty(), "there is something to make");
    if can.has("probe") {
        assert_eq!(f.provider.probe(&f.cx).await.expect("probe").environment, None, "a plan makes nothing");
    }
    assert!(f.provider.apply(&f.cx).await.expect("apply").changed > 0, "the plan had left it to apply");
    clean(&f).await;
}

/// The environment has the name of the context, and hosts or resources with unique names.
pub async fn apply_makes_what_is_there_then(f: ProvisionerFixture) {
    let applied = f.provider.apply(&f.cx).await.expect("apply");
    assert!(applied.changed > 0, "it made something");
    let e = &applied.environment;
    assert_eq!(e.name, f.cx.environment());
    assert!(!e.inventory.hosts.is_empty() || !e.resources.is_empty(), "something is there");
    let mut names: Vec<_> = e.inventory.hosts.iter().map(|h| &h.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), e.inventory.hosts.len(), "host names are unique");
    for name in &e.sensitive {
        assert!(!e.outputs.contains_key(name), "the value of the sensitive output `{name}` is left out");
    }
    clean(&f).await;
}

/// Nothing to do is a success, and changes nothing.
pub async fn apply_is_idempotent(f: ProvisionerFixture) {
    let first = f.provider.apply(&f.cx).await.expect("apply");
    let second = f.provider.apply(&f.cx).await.expect("second apply");
    assert_eq!(second.changed, 0, "everything was so already");
    same_hosts(&first.environment, &second.environment);
    assert_eq!(first.environment.resources, second.environment.resources, "the same resources, none made anew");
    clean(&f).await;
}

/// What was applied is no longer planned.
pub async fn plan_is_empty_after_apply(f: ProvisionerFixture) {
    if !f.provider.capabilities().has("plan") {
        return lacks("plan", f.provider.plan(&f.cx).await);
    }
    f.provider.apply(&f.cx).await.expect("apply");
    let plan = f.provider.plan(&f.cx).await.expect("plan");
    assert!(plan.is_empty(), "{plan:?}");
    clean(&f).await;
}

/// A saved plan is compared by its digest, so nothing random or timed may be in it.
pub async fn plan_is_the_same_twice(f: ProvisionerFixture) {
    if !f.provider.capabilities().has("plan") {
        return lacks("plan", f.provider.plan(&f.cx).await);
    }
    let first = f.provider.plan(&f.cx).await.expect("plan");
    let second = f.provider.plan(&f.cx).await.expect("second plan");
    assert_eq!(first, second);
    clean(&f).await;
}

/// A probe gives the same environment as the apply before it, and no drift.
pub async fn probe_finds_what_apply_made(f: ProvisionerFixture) {
    if !f.provider.capabilities().has("probe") {
        return lacks("probe", f.provider.probe(&f.cx).await);
    }
    let applied = f.provider.apply(&f.cx).await.expect("apply");
    let probed = f.provider.probe(&f.cx).await.expect("probe");
    same_hosts(&applied.environment, &probed.environment.expect("something is there"));
    assert!(probed.drift.is_empty(), "{:?}", probed.drift);
    clean(&f).await;
}

/// What somebody broke is drift, is planned, and the next apply mends it.
pub async fn a_disturbed_world_is_seen_and_repaired(f: ProvisionerFixture) {
    let can = f.provider.capabilities();
    let applied = f.provider.apply(&f.cx).await.expect("apply");
    (f.disturb)(applied.environment.clone()).await;
    if can.has("probe") {
        assert!(!f.provider.probe(&f.cx).await.expect("probe").drift.is_empty(), "the disturbance is seen");
    }
    if can.has("plan") {
        assert!(!f.provider.plan(&f.cx).await.expect("plan").is_empty(), "the repair is planned");
    }
    let repaired = f.provider.apply(&f.cx).await.expect("apply");
    assert!(repaired.changed > 0, "it repaired something");
    let names = |e: &Environment| e.inventory.hosts.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&applied.environment), names(&repaired.environment), "the same hosts are there again");
    assert_eq!(f.provider.apply(&f.cx).await.expect("apply").changed, 0, "and it is whole then");
    clean(&f).await;
}

/// After a destroy the world is as before the apply.
pub async fn destroy_leaves_nothing(f: ProvisionerFixture) {
    let can = f.provider.capabilities();
    if !can.has("destroy") {
        return lacks("destroy", f.provider.destroy(&f.cx).await);
    }
    f.provider.apply(&f.cx).await.expect("apply");
    assert!(f.provider.destroy(&f.cx).await.expect("destroy").changed > 0, "it removed something");
    if can.has("probe") {
        assert_eq!(f.provider.probe(&f.cx).await.expect("probe").environment, None);
    }
    if can.has("plan") {
        assert!(!f.provider.plan(&f.cx).await.expect("plan").is_empty(), "all would be made again");
    }
}

/// Nothing there is a success.
pub async fn destroy_is_idempotent(f: ProvisionerFixture) {
    if !f.provider.capabilities().has("destroy") {
        return lacks("destroy", f.provider.destroy(&f.cx).await);
    }
    assert_eq!(f.provider.destroy(&f.cx).await.expect("destroy of nothing").changed, 0);
    f.provider.apply(&f.cx).await.expect("apply");
    f.provider.destroy(&f.cx).await.expect("destroy");
    assert_eq!(f.provider.destroy(&f.cx).await.expect("second destroy").changed, 0);
}

/// A destroyed environment can be made again.
pub async fn apply_works_again_after_destroy(f: ProvisionerFixture) {
    if !f.provider.capabilities().has("destroy") {
        return lacks("destroy", f.provider.destroy(&f.cx).await);
    }
    let first = f.provider.apply(&f.cx).await.expect("apply");
    f.provider.destroy(&f.cx).await.expect("destroy");
    let again = f.provider.apply(&f.cx).await.expect("apply after destroy");
    assert!(again.changed > 0, "it made something again");
    assert_eq!(first.environment.inventory.hosts.len(), again.environment.inventory.hosts.len());
    assert_eq!(f.provider.apply(&f.cx).await.expect("apply").changed, 0, "and it is there");
    clean(&f).await;
}

/// A cancel that came before the first change leaves no trace.
pub async fn a_cancelled_apply_makes_nothing(f: ProvisionerFixture) {
    fails(ErrorKind::Cancelled, f.provider.apply(&cancelled(&f.cx)).await);
    if f.provider.capabilities().has("probe") {
        assert_eq!(f.provider.probe(&f.cx).await.expect("probe").environment, None);
    }
    clean(&f).await;
}
