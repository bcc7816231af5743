//! The ledger that is on the hosts: for a process that comes with another store.

use std::sync::Arc;

use serde_json::json;
use towpath_core::rollout::{Approval, Rolling, RolloutOutcome, TargetOutcome};
use towpath_core::{
    Artifact, ArtifactKind, Context, Deployment, DeploymentOutcome, MemoryStore, Provenance, Release, Secret, Timestamp,
};

use super::world::release;
use super::{Desk, strategy};

/// The same fleet, and a store that knows nothing.
fn elsewhere(desk: &Desk) -> Desk {
    Desk { world: desk.world.clone(), store: Arc::new(MemoryStore::new()) }
}

async fn asked(desk: &Desk) -> Vec<String> {
    desk.world.log().into_iter().filter(|l| l.starts_with("recorded")).collect()
}

async fn known(desk: &Desk) -> Vec<Deployment> {
    desk.store.deployments("default", "web").await.unwrap()
}

#[tokio::test]
async fn another_store_goes_back_to_what_the_hosts_have_seen_healthy() {
    let desk = Desk::of(&["a", "b"]);
    desk.run(strategy(), "v1").await;
    desk.run(strategy(), "v2").await;
    assert_eq!(asked(&desk).await, [""; 0], "whose store knows what runs asks nobody");
    let other = elsewhere(&desk);
    assert_eq!(
        other.run(strategy(), "v2").await.outcome,
        RolloutOutcome::Unchanged,
        "it was deployed, by the hosts' word"
    );
    other.world.lock().bad_under_load.insert("v3".into());
    let bad = strategy().watch(super::gate());
    let report = other.run(bad.clone(), "v3").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert!(other.world.serving().values().all(|v| v == "v2"));
    assert_eq!(other.world.wrongs(), [""; 0]);
    // It is known here from now on; and that v3 was bad is known to whoever comes next.
    assert!(known(&other).await.iter().any(|d| d.release.version == "v1" && d.seen_healthy));
    let asked_before = asked(&other).await.len();
    assert_eq!(other.run(bad.clone(), "v3").await.outcome, RolloutOutcome::Refused);
    assert_eq!(asked(&other).await.len(), asked_before, "what was found once is not asked again");
    assert_eq!(elsewhere(&desk).run(bad, "v3").await.outcome, RolloutOutcome::Refused);
}

/// It was seen healthy, and somebody took it back later: the hosts know that, too.
#[tokio::test]
async fn a_release_that_was_taken_back_later_is_refused_by_the_hosts_word() {
    let desk = Desk::of(&["a", "b"]);
    desk.run(strategy(), "v1").await;
    desk.run(strategy(), "v2").await;
    let undone = desk.rollout(strategy()).undo(&desk.cx(), &release("v2"), &desk.world.targets(), "5xx").await.unwrap();
    assert_eq!(undone.outcome, RolloutOutcome::RolledBack, "{undone:?}");
    let words = |host: &str| -> Vec<(String, DeploymentOutcome, bool)> {
        let state = desk.world.lock();
        let word = |d: &Deployment| (d.release.version.clone(), d.outcome, d.seen_healthy);
        state.hosts[host].ledger.iter().filter(|d| d.release.version == "v2").map(word).collect()
    };
    assert_eq!(words("a"), [("v2".to_owned(), DeploymentOutcome::RolledBack, false)]);
    assert_eq!(words("b"), words("a"));
    let other = elsewhere(&desk);
    let report = other.run(strategy(), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Refused, "{report:?}");
    assert!(report.reason.as_deref().unwrap().contains("5xx"), "{report:?}");
}

/// Whoever rules a host must not be able to have anything shipped by its ledger, nor say anything of other hosts.
#[tokio::test]
async fn a_host_s_word_is_good_for_itself_only_and_ships_nothing() {
    let desk = Desk::of(&["a", "b"]);
    desk.run(strategy(), "v1").await;
    let artifact = Artifact {
        name: "web".into(),
        kind: ArtifactKind::Archive,
        id: "/etc/shadow".into(),
        digest: String::new(),
        provenance: Provenance::default(),
    };
    {
        let mut world = desk.world.lock();
        let a = world.hosts.get_mut("a").unwrap();
        let forged = Release { artifact: Some(artifact), env: [("A".into(), "b".into())].into(), ..release("v1") };
        let mut entry = a.ledger.pop().unwrap();
        entry.release = forged;
        entry.targets.insert("b".into(), "v1".into());
        a.ledger.push(entry);
        world.hosts.get_mut("b").unwrap().ledger.clear();
    }
    let other = elsewhere(&desk);
    other.world.lock().broken.insert("v2".into());
    let both = strategy().batch(towpath_core::rollout::Batch::Count(2));
    let report = other.run(both, "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::Failed);
    let states: Vec<TargetOutcome> = report.targets.iter().map(|t| t.state).collect();
    assert_eq!(states, [TargetOutcome::RolledBack, TargetOutcome::Failed], "{report:?}");
    assert!(report.reason.unwrap().contains("nothing to roll back to on b"));
    for entry in known(&other).await.iter().filter(|d| d.release.version == "v1") {
        assert_eq!((&entry.release.artifact, entry.release.env.len()), (&None, 0));
        assert_eq!(entry.detail["host"], json!("a"));
        assert!(entry.targets.keys().eq(["a"]), "{entry:?}");
    }
    let kept: Vec<Deployment> = other.world.lock().hosts["b"].ledger.clone();
    assert!(kept.iter().all(|d| d.release.artifact.is_none() && d.release.env.is_empty()));
}

/// Neither by a time that is to come, nor by a name that is a path.
#[tokio::test]
async fn a_host_can_not_keep_another_one_from_going_back() {
    let desk = Desk::of(&["a", "b"]);
    desk.run(strategy(), "v1").await;
    {
        let mut world = desk.world.lock();
        let a = world.hosts.get_mut("a").unwrap();
        let mut refused = a.ledger.last().cloned().unwrap();
        (refused.outcome, refused.started_at) = (DeploymentOutcome::RolledBack, Timestamp(u64::MAX));
        let mut path = refused.clone();
        (path.outcome, path.seen_healthy) = (DeploymentOutcome::Deployed, true);
        path.release.version = "../../v1".into();
        a.ledger.extend([refused, path]);
        // What makes anybody ask it.
        a.current = Some("v0".into());
    }
    desk.world.lock().broken.insert("v2".into());
    let report = desk.run(strategy(), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert!(asked(&desk).await == ["recorded a"] && desk.world.serving().values().all(|v| v == "v1"));
    assert!(known(&desk).await.iter().all(|d| !d.release.version.contains('/')));
}

#[tokio::test]
async fn no_secret_is_kept_in_a_reason() {
    let desk = Desk::of(&["a"]);
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    std::fs::write(&answer, "no because of hunter22secret").unwrap();
    let cx = Context::builder().store(Arc::clone(&desk.store)).secret("p", Secret::new("hunter22secret")).build();
    let asks = Rolling { approval: Some(Approval::ask("go?").file(&answer)), ..strategy() };
    let report = desk.rollout(asks).run(&cx, &release("v1"), &desk.world.targets()).await.unwrap();
    assert!(report.reason.unwrap().contains("refused by because of"));
    let kept = format!("{:?} {:?}", known(&desk).await, desk.world.lock().hosts["a"].ledger);
    assert!(kept.contains("refused by because of") && !kept.contains("hunter22secret"), "{kept}");
}

#[tokio::test]
async fn a_host_that_can_not_keep_it_stops_nothing() {
    let desk = Desk::of(&["a", "b"]);
    desk.world.lock().hosts.get_mut("a").unwrap().mute = true;
    assert_eq!(desk.run(strategy(), "v1").await.outcome, RolloutOutcome::Deployed);
    assert_eq!(desk.world.lock().hosts["b"].ledger.len(), 1);
    assert_eq!(elsewhere(&desk).run(strategy(), "v2").await.outcome, RolloutOutcome::Deployed);
}
