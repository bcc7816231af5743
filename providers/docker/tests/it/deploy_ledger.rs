//! The ledger on the engine, through core's rollout.

use std::sync::Arc;

use towpath_core::pipeline::Values;
use towpath_core::rollout::{Hook, HookRun, Phase, Rolling, Rollout, RolloutOutcome, RolloutReport};
use towpath_core::{
    CallOutput, Context, Deployer as _, Deployment, DeploymentOutcome, Error, ErrorKind, FunctionEntry, Inventory,
    MemoryStore, Release, StepFunction, Targets, Timestamp,
};
use towpath_docker::DockerDeploy;

use crate::deploy_support::{Place, ask, image, release, release_of};
use crate::{docker, engine};

/// The volumes of an environment.
fn volumes(place: &Place) -> Vec<String> {
    let filter = format!("label=towpath.deploy.environment={}", place.environment);
    docker(&["volume", "ls", "-q", "--filter", &filter]).lines().map(str::to_owned).collect()
}

fn deployer(place: &Place) -> DockerDeploy {
    DockerDeploy::new(place.config()).unwrap()
}

/// Another process, whose store is new.
fn elsewhere(place: &Place) -> Context {
    Context::builder().environment(&place.environment).store(Arc::new(MemoryStore::new())).build()
}

fn targets(place: &Place) -> Targets {
    let hosts = vec![place.target.host.clone()];
    Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::clone(&place.target.connector))
}

fn rollout(place: &Place, strategy: Rolling) -> Rollout {
    Rollout::new(Arc::new(deployer(place)), strategy)
}

async fn roll(cx: &Context, place: &Place, release: &Release) -> RolloutReport {
    rollout(place, Rolling::default()).run(cx, release, &targets(place)).await.unwrap()
}

/// A process with a new store goes back to what the host has seen healthy: to the very container, with what its environment was.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_goes_back_to_what_the_host_has_kept() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let first = elsewhere(&place);
    for version in ["v1", "v2"] {
        assert_eq!(roll(&first, &place, &release(version)).await.outcome, RolloutOutcome::Deployed);
    }
    let container = docker(&["inspect", "-f", "{{.Id}}", &place.containers()[0].0]);
    let volume = volumes(&place);
    assert_eq!(volume.len(), 1, "{volume:?}");
    let labels = docker(&["volume", "inspect", "-f", "{{json .Labels}}", &volume[0]]);
    assert!(
        !labels.contains("it's $HOME") && !labels.contains("docker_image"),
        "nothing that could be shipped: {labels}"
    );
    assert_eq!(roll(&elsewhere(&place), &place, &release("v2")).await.outcome, RolloutOutcome::Unchanged);

    let bad = release_of(&image("ledger-bad", "CMD exit 3"), "v3");
    let report = roll(&elsewhere(&place), &place, &bad).await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(ask(place.port).as_deref(), Some("v2"));
    assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &place.containers()[0].0]), container, "not made anew");
    assert_eq!(docker(&["exec", &container, "printenv", "EXTRA"]), "it's $HOME");
    let report = roll(&elsewhere(&place), &place, &bad).await;
    assert_eq!(report.outcome, RolloutOutcome::Refused, "the host knows that it was bad: {report:?}");

    deployer(&place).forget(&place.cx, &place.target).await.unwrap();
    assert_eq!((place.containers(), volumes(&place)), (Vec::new(), Vec::new()));
    let state = deployer(&place).probe(&place.cx, &place.target).await.unwrap();
    assert_eq!((state.current, state.staged), (None, Vec::new()));
    deployer(&place).forget(&place.cx, &place.target).await.unwrap();
}

/// Says no when everything serves already.
struct No;

#[async_trait::async_trait]
impl StepFunction for No {
    async fn call(&self, _: &Context, _: Values) -> towpath_core::Result<CallOutput> {
        Err(Error::new(ErrorKind::Unhealthy, "test", "hook", "nobody likes it"))
    }
}

/// v2 runs where v1 ran, and then somebody does not like it: by the host's word alone the container of v1 is started again.
#[tokio::test(flavor = "multi_thread")]
async fn the_container_of_before_serves_again_by_the_host_s_word() {
    if !engine() {
        return;
    }
    let place = Place::new();
    assert_eq!(roll(&elsewhere(&place), &place, &release("v1")).await.outcome, RolloutOutcome::Deployed);
    let container = docker(&["inspect", "-f", "{{.Id}}", &place.containers()[0].0]);
    let asks = Rolling::default().hook(Hook::after(Phase::Rollout, HookRun::function("likes")));
    let rollout = rollout(&place, asks).function("likes", FunctionEntry::new(No));
    let report = rollout.run(&elsewhere(&place), &release("v2"), &targets(&place)).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(ask(place.port).as_deref(), Some("v1"));
    assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &place.containers()[0].0]), container, "not made anew");

    let unknown = Release { version: "v0".into(), artifact: None, ..release("v1") };
    let error = deployer(&place).stage(&place.cx, &place.target, &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.report().contains("v0") && error.report().contains("docker_image"), "{}", error.report());
}

fn entry(place: &Place, run: &str, at: u64, outcome: DeploymentOutcome) -> Deployment {
    let bare = Release { service: "web".into(), version: run.into(), artifact: None, env: Default::default() };
    Deployment {
        environment: place.environment.clone(),
        release: bare,
        outcome,
        seen_healthy: outcome == DeploymentOutcome::Deployed,
        targets: [("web1".to_owned(), run.to_owned())].into(),
        run: run.into(),
        started_at: Timestamp(at),
        finished_at: None,
        reason: None,
        detail: serde_json::Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_entries_are_kept_in_one_volume_and_a_torn_change_loses_nothing() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let (cx, target, deployer) = (&place.cx, &place.target, deployer(&place));
    assert_eq!(deployer.recorded(cx, target, "web").await.unwrap(), []);
    for n in 0..23 {
        deployer.record(cx, target, &entry(&place, &format!("r{n}"), n, DeploymentOutcome::Deployed)).await.unwrap();
    }
    let runs = async || -> Vec<String> {
        deployer.recorded(cx, target, "web").await.unwrap().into_iter().map(|d| d.run).collect()
    };
    let newest: Vec<String> = (3..23).map(|n| format!("r{n}")).collect();
    assert_eq!(runs().await, newest, "the newest, oldest first");
    let changed = entry(&place, "r22", 22, DeploymentOutcome::RolledBack);
    deployer.record(cx, target, &changed).await.unwrap();
    assert_eq!(deployer.recorded(cx, target, "web").await.unwrap().last(), Some(&changed));
    assert_eq!((runs().await, volumes(&place).len()), (newest.clone(), 1));
    assert_eq!(deployer.recorded(cx, target, "other").await.unwrap(), []);

    // Killed between the new one and the end of the old one; and one that somebody else has made.
    let now = volumes(&place).remove(0);
    let (stem, number) = now.rsplit_once('-').unwrap();
    let older = format!("{stem}-{}", number.parse::<u64>().unwrap() - 1);
    let labels = |number: u64, ledger: &str| {
        let own =
            [("environment", place.environment.as_str()), ("service", "web"), ("target", "web1"), ("ledger", ledger)];
        let own = own.map(|(key, value)| format!("towpath.deploy.{key}={value}"));
        own.into_iter()
            .chain([format!("towpath.deploy.ledger.number={number}")])
            .flat_map(|l| ["--label".to_owned(), l])
    };
    let make = |name: &str, number: u64, ledger: &str| {
        let mut args: Vec<String> = ["volume", "create"].map(str::to_owned).into();
        args.extend(labels(number, ledger));
        args.push(name.to_owned());
        docker(&args.iter().map(String::as_str).collect::<Vec<_>>());
    };
    make(&older, number.parse::<u64>().unwrap() - 1, "[]");
    let foreign = format!("{}-of-somebody", place.environment);
    make(&foreign, 1000, "[]");
    assert_eq!(runs().await, newest);
    deployer.record(cx, target, &entry(&place, "r23", 23, DeploymentOutcome::Deployed)).await.unwrap();
    assert_eq!(runs().await.last().map(String::as_str), Some("r23"));
    let left = volumes(&place);
    assert_eq!((left.len(), left.contains(&foreign)), (2, true), "what is not its own stays: {left:?}");

    // Another process is faster: its entry is not overwritten, and ours is told as not kept.
    let now = left.iter().find(|v| **v != foreign).unwrap();
    let number: u64 = now.rsplit_once('-').unwrap().1.parse().unwrap();
    let raced = format!("{stem}-{}", number + 1);
    docker(&["volume", "create", &raced]);
    let error: Error =
        deployer.record(cx, target, &entry(&place, "r24", 24, DeploymentOutcome::Deployed)).await.unwrap_err();
    docker(&["volume", "rm", &raced]);
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(runs().await.last().map(String::as_str), Some("r23"));

    // What another version of towpath has kept is passed over, and stays.
    make(&raced, number + 1, r#"[{"later":"version"}]"#);
    assert_eq!(runs().await, [""; 0]);
    deployer.record(cx, target, &entry(&place, "r25", 25, DeploymentOutcome::Deployed)).await.unwrap();
    assert_eq!(runs().await, ["r25"]);
    let now = volumes(&place).into_iter().find(|v| *v != foreign).unwrap();
    let labels = docker(&["volume", "inspect", "-f", "{{json .Labels}}", &now]);
    assert!(labels.contains("later"), "{labels}");
}
