//! What every [`Store`] does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::suite::{Keep, fails, suite};
use crate::{
    Deployment, DeploymentOutcome, Environment, ErrorKind, Fence, Lease, LeaseAnswer, LeaseOwner, LeaseRequest, Record,
    Release, RunFilter, RunId, RunInfo, RunState, Store, Timestamp, Undo,
};

/// An empty store.
pub struct StoreFixture {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ store store_behaviour StoreFixture {
    runs_are_found_and_listed_newest_first,
    a_journal_keeps_its_order_under_concurrent_calls,
    a_lost_lease_fences_its_owner_off,
    a_lease_is_exclusive_until_it_is_given_back_or_expires,
    an_expired_lease_with_an_undo_is_not_taken,
    fencing_numbers_grow_over_releases,
    a_ledger_replaces_only_the_same_entry,
    environments_and_documents_are_replaced_and_removed,
});

fn run(pipeline: &str) -> RunInfo {
    RunInfo {
        id: RunId::new(),
        pipeline: pipeline.into(),
        environment: "test".into(),
        state: RunState::Unfinished,
        definition: json!({ "steps": [] }),
        started_at: Timestamp::now(),
        finished_at: None,
    }
}

fn request(key: &str, owner: &str, ttl_ms: u64) -> LeaseRequest {
    LeaseRequest {
        key: key.into(),
        owner: LeaseOwner { id: owner.into(), run: None, label: owner.into(), process: None },
        reason: "a test".into(),
        ttl_ms,
        undo: None,
    }
}

async fn granted(store: &dyn Store, request: &LeaseRequest) -> Lease {
    match store.acquire(request).await.expect("acquire") {
        LeaseAnswer::Granted(lease) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

/// By id, by filter, and in their order; a second one of the same id is refused.
pub async fn runs_are_found_and_listed_newest_first(f: StoreFixture) {
    let (first, mut second) = (run("web"), run("web"));
    for info in [&first, &second, &run("other")] {
        f.store.create_run(info).await.expect("create");
    }
    fails(ErrorKind::AlreadyExists, f.store.create_run(&first).await);
    second.state = RunState::Done;
    second.finished_at = Some(Timestamp(7));
    f.store.update_run(&second).await.expect("update");
    assert_eq!(f.store.run(&second.id).await.expect("run"), Some(second.clone()));
    assert_eq!(f.store.run(&RunId("none".into())).await.expect("run"), None);
    let web = RunFilter { pipeline: Some("web".into()), ..RunFilter::default() };
    let found = f.store.runs(&web, 9).await.expect("runs");
    assert_eq!(found, [second.clone(), first.clone()]);
    assert_eq!(f.store.runs(&web, 1).await.expect("runs"), [second]);
    let open = RunFilter { state: Some(RunState::Unfinished), ..web };
    assert_eq!(f.store.runs(&open, 9).await.expect("runs"), [first]);
}

/// Batches stay whole, numbers have no gap.
pub async fn a_journal_keeps_its_order_under_concurrent_calls(f: StoreFixture) {
    let info = run("web");
    f.store.create_run(&info).await.expect("create");
    let note = |task: usize, n: usize| Record::EffectNote {
        path: format!("step/{task}"),
        name: n.to_string(),
        value: json!({ "text": "line\n\"quoted\" \u{1F6A2}", "number": 1.5, "big": u64::MAX }),
    };
    let calls = (0..20usize).map(|task| {
        let (store, id) = (Arc::clone(&f.store), info.id.clone());
        async move {
            for n in 0..5 {
                store.append(&id, None, &[note(task, 2 * n), note(task, 2 * n + 1)]).await.expect("append");
            }
        }
    });
    futures::future::join_all(calls).await;
    let journal = f.store.journal(&info.id).await.expect("journal");
    assert_eq!(journal.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=200).collect::<Vec<u64>>());
    for pair in journal.chunks(2) {
        let paths: Vec<_> = pair.iter().filter_map(|e| path(&e.record)).collect();
        assert_eq!(paths.first(), paths.last(), "a batch is not torn apart");
    }
    for task in 0..20 {
        let own: Vec<Record> =
            journal.iter().map(|e| e.record.clone()).filter(|r| path(r) == Some(format!("step/{task}"))).collect();
        assert_eq!(own, (0..10).map(|n| note(task, n)).collect::<Vec<_>>());
    }
}

fn path(record: &Record) -> Option<String> {
    match record {
        Record::EffectNote { path, .. } => Some(path.clone()),
        _ => None,
    }
}

/// Nothing of a refused call is written.
pub async fn a_lost_lease_fences_its_owner_off(f: StoreFixture) {
    let info = run("web");
    f.store.create_run(&info).await.expect("create");
    let old = granted(f.store.as_ref(), &request("environment/test", "old", 1)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let new = granted(f.store.as_ref(), &request("environment/test", "new", 60_000)).await;
    let record = [Record::StepStarted { step: "a".into(), attempt: 1 }];
    fails(ErrorKind::Conflict, f.store.append(&info.id, Some(&old.fence()), &record).await);
    fails(ErrorKind::Conflict, f.store.renew(&old.fence(), Timestamp(u64::MAX / 2)).await);
    assert!(f.store.journal(&info.id).await.expect("journal").is_empty());
    f.store.append(&info.id, Some(&new.fence()), &record).await.expect("the new owner may");
    f.store.release(&old.fence()).await.expect("gone already is a success");
    assert_eq!(f.store.leases().await.expect("leases"), [new]);
}

/// The one who asks is told who holds it.
pub async fn a_lease_is_exclusive_until_it_is_given_back_or_expires(f: StoreFixture) {
    let first = granted(f.store.as_ref(), &request("k", "first", 60_000)).await;
    let answer = f.store.acquire(&request("k", "second", 60_000)).await.expect("acquire");
    assert_eq!(answer, LeaseAnswer::Held(first.clone()));
    f.store.renew(&first.fence(), Timestamp(1)).await.expect("renew");
    let second = granted(f.store.as_ref(), &request("k", "second", 60_000)).await;
    f.store.release(&second.fence()).await.expect("release");
    f.store.release(&second.fence()).await.expect("second release");
    assert!(f.store.leases().await.expect("leases").is_empty());
}

/// Somebody has to carry the undo out first.
pub async fn an_expired_lease_with_an_undo_is_not_taken(f: StoreFixture) {
    let undo = Undo {
        provider: "local".into(),
        config: json!({}),
        verb: "add".into(),
        arguments: json!({ "name": "web-1" }),
        environment: "production".into(),
    };
    let wanted = LeaseRequest { undo: Some(undo), ..request("drain", "dead", 1) };
    let dead = granted(f.store.as_ref(), &wanted).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = f.store.acquire(&request("drain", "alive", 60_000)).await.expect("acquire");
    assert_eq!(answer, LeaseAnswer::Expired(dead.clone()));
    f.store.release(&dead.fence()).await.expect("release");
    granted(f.store.as_ref(), &request("drain", "alive", 60_000)).await;
}

/// Else a former owner could come back with a number that is valid again.
pub async fn fencing_numbers_grow_over_releases(f: StoreFixture) {
    let first = granted(f.store.as_ref(), &request("k", "a", 60_000)).await;
    f.store.release(&first.fence()).await.expect("release");
    let second = granted(f.store.as_ref(), &request("k", "a", 60_000)).await;
    assert!(second.fence > first.fence, "{} after {}", second.fence, first.fence);
    let forged = Fence { owner: "b".into(), ..second.fence() };
    fails(ErrorKind::Conflict, f.store.renew(&forged, Timestamp(1)).await);
}

/// Same environment, service, version and run.
pub async fn a_ledger_replaces_only_the_same_entry(f: StoreFixture) {
    let entry = |version: &str, run: &str, outcome| Deployment {
        environment: "test".into(),
        release: Release { service: "web".into(), version: version.into(), artifact: None, env: BTreeMap::new() },
        outcome,
        seen_healthy: outcome == DeploymentOutcome::Deployed,
        targets: BTreeMap::from([("web-1".to_owned(), version.to_owned())]),
        run: run.into(),
        started_at: Timestamp(1),
        finished_at: None,
        reason: None,
        detail: json!(null),
    };
    let (a, b) = (entry("v1", "r1", DeploymentOutcome::Deployed), entry("v2", "r1", DeploymentOutcome::Running));
    let c = entry("v2", "r2", DeploymentOutcome::Deployed);
    let b_later = entry("v2", "r1", DeploymentOutcome::RolledBack);
    for d in [&a, &b, &c, &b_later] {
        f.store.put_deployment(d).await.expect("put");
    }
    assert_eq!(f.store.deployments("test", "web").await.expect("deployments"), [a, b_later, c]);
    assert!(f.store.deployments("other", "web").await.expect("deployments").is_empty());
}

/// And those of another namespace stay.
pub async fn environments_and_documents_are_replaced_and_removed(f: StoreFixture) {
    assert_eq!(f.store.environment("test").await.expect("environment"), None);
    let mut environment = Environment { name: "test".into(), ..Environment::default() };
    f.store.put_environment(&environment).await.expect("put");
    environment.outputs.insert("port".into(), json!(80));
    f.store.put_environment(&environment).await.expect("put");
    assert_eq!(f.store.environment("test").await.expect("environment"), Some(environment));
    for (namespace, key, value) in [("a", "2", 2), ("a", "1", 1), ("b", "1", 3), ("a", "2", 4)] {
        f.store.put_document(namespace, key, Some(&json!(value))).await.expect("put");
    }
    let found = f.store.documents("a").await.expect("documents");
    assert_eq!(found, [("1".to_owned(), json!(1)), ("2".to_owned(), json!(4))]);
    f.store.put_document("a", "1", None).await.expect("remove");
    f.store.put_document("a", "1", None).await.expect("not there is a success");
    assert_eq!(f.store.documents("a").await.expect("documents").len(), 1);
    assert_eq!(f.store.documents("b").await.expect("documents").len(), 1);
}
