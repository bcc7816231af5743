//! Deploys that are killed at every point of their journal.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use towpath_core::FaultPoint;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{
    Context, Deployer as _, Entry, Faults, Host, Journal, MemoryStore, Record, RunId, Target, Timestamp,
};
use towpath_docker::{DockerDeploy, DockerDeployConfig};

use crate::deploy_support::{Place, ask, release};
use crate::engine;

/// Where the child finds what to do: the journal's file, the point at which it dies, the environment and the port.
const JOURNAL: &str = "TOWPATH_DEPLOY_CRASH_JOURNAL";
const POINT: &str = "TOWPATH_DEPLOY_CRASH_POINT";
const ENVIRONMENT: &str = "TOWPATH_DEPLOY_CRASH_ENVIRONMENT";
const CONFIG: &str = "TOWPATH_DEPLOY_CRASH_CONFIG";

fn entries(file: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let records = text.lines().map(|l| serde_json::from_str::<Record>(l).unwrap());
    records.zip(1..).map(|(record, seq)| Entry { seq, at: Timestamp::now(), record }).collect()
}

/// What the child does: stages and activates v2, until it dies. Between an effect and the record of it, too.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(file) = std::env::var_os(JOURNAL).map(PathBuf::from) else { return };
    let point: usize = std::env::var(POINT).unwrap().parse().unwrap();
    let reached = AtomicUsize::new(0);
    let log = file.clone();
    let faults = Faults::at_every_point(move |at| {
        if let FaultPoint::AfterAppend(record) = at {
            let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
            writeln!(file, "{}", serde_json::to_string(record).unwrap()).unwrap();
        }
        if reached.fetch_add(1, Ordering::Relaxed) == point {
            let own = std::process::id().to_string();
            let _ = Command::new("kill").args(["-9", &own]).status();
            std::process::abort();
        }
    });
    let run = RunId::new();
    let journal = Journal::in_store(Arc::new(MemoryStore::new()), run.clone(), None, &entries(&file), faults);
    let environment = std::env::var(ENVIRONMENT).unwrap();
    let cx = Context::builder().environment(environment).journal(run, journal).build();
    let config: DockerDeployConfig = serde_json::from_str(&std::env::var(CONFIG).unwrap()).unwrap();
    let target = Target { host: Host { name: "web1".into(), ..Host::default() }, connector: Arc::new(Nowhere) };
    let deployer = DockerDeploy::new(config).unwrap();
    deployer.stage(&cx.scoped("stage"), &target, &release("v2")).await.unwrap();
    deployer.activate(&cx.scoped("activate"), &target, &release("v2")).await.unwrap();
}

/// Gives whether it came to its end.
fn run_child(place: &Place, file: &Path, point: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "deploy_crash::child", "--nocapture"])
        .env(JOURNAL, file)
        .env(POINT, point.to_string())
        .env(ENVIRONMENT, &place.environment)
        .env(CONFIG, serde_json::to_string(&place.config()).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child.status().unwrap().success()
}

async fn whole(place: &Place, deployer: &DockerDeploy, version: &str, point: usize) {
    let containers = place.containers();
    assert_eq!(ask(place.port).as_deref(), Some(version), "after a kill at point {point}: {containers:?}");
    let state = deployer.probe(&place.cx, &place.target).await.unwrap();
    assert_eq!((state.current.as_deref(), state.running), (Some(version), true), "{containers:?}");
    assert_eq!(containers.iter().filter(|c| c.1 == "running").count(), 1, "{containers:?}");
    assert!(containers.len() <= 2, "nothing is there twice: {containers:?}");
}

async fn run(place: &Place, deployer: &DockerDeploy, version: &str) {
    deployer.stage(&place.cx, &place.target, &release(version)).await.unwrap();
    deployer.activate(&place.cx, &place.target, &release(version)).await.unwrap();
}

/// Every process goes on with the journal of those that were killed before it, each one a point later than the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_is_killed_again_and_again_comes_to_its_end() {
    if !engine() {
        return;
    }
    let (place, dir) = (Place::new(), tempfile::tempdir().unwrap());
    let deployer = DockerDeploy::new(place.config()).unwrap();
    run(&place, &deployer, "v1").await;
    let file = dir.path().join("journal");
    let mut kills = 0;
    while !run_child(&place, &file, kills) {
        kills += 1;
        assert!(kills < 80, "it never comes to its end: {:?}", place.containers());
    }
    assert!(kills >= 4, "it was killed only {kills} times");
    whole(&place, &deployer, "v2", kills).await;
}

/// Nobody goes on with the run: the next deploy, of the new version or back to the old one, finishes or undoes what was begun; a sweep
/// before it harms nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_was_killed_at_any_point_is_finished_or_undone_by_the_next_one() {
    if !engine() {
        return;
    }
    let (place, dir) = (Place::new(), tempfile::tempdir().unwrap());
    let deployer = DockerDeploy::new(place.config()).unwrap();
    // All of them take three minutes.
    let step = if std::env::var_os("TOWPATH_TEST_FULL").is_some() { 1 } else { 5 };
    let mut point = 0;
    for round in 0.. {
        // Another starting point each time: v2 was never here, or is kept.
        run(&place, &deployer, if round % 3 == 0 { "v3" } else { "v2" }).await;
        run(&place, &deployer, "v1").await;
        let done = run_child(&place, &dir.path().join(format!("journal-{point}")), point);
        if round % 2 == 1 {
            deployer.sweep(&place.cx, &place.target).await.unwrap();
        }
        let next = if round % 4 < 2 { "v1" } else { "v2" };
        run(&place, &deployer, next).await;
        whole(&place, &deployer, next, point).await;
        if done {
            break;
        }
        point += step;
        assert!(point < 80, "it never comes to its end");
    }
    assert!(point >= 20, "only {point} points");
}
