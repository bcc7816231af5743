//! Containers that run once, that were never started, and data that no volume is named for.

use std::time::Duration;

use serde_json::json;
use towpath_core::{Action, Context, ErrorKind, Provisioner as _};
use towpath_docker::{ContainerSpec, DependsOn, DockerEnvironment, DockerEnvironmentConfig};

use crate::environment::{environment, planned, sleeper};
use crate::{BASE, docker, engine, unique, until};

fn make(config: DockerEnvironmentConfig) -> DockerEnvironment {
    DockerEnvironment::new(config).unwrap()
}

fn job(script: &str) -> ContainerSpec {
    let spec = ContainerSpec::new(BASE).command(["sh", "-c", script]);
    ContainerSpec { once: true, init: true, ..spec }.volume("data", "/data")
}

fn with(job: ContainerSpec) -> DockerEnvironmentConfig {
    DockerEnvironmentConfig::default().volume("data").container("migrate", job)
}

/// Writes each start and each end.
const MIGRATION: &str =
    "echo start >>/data/log; while [ ! -e /data/go ]; do sleep 0.1; done; echo end >>/data/log; rm /data/go";

fn full(cx: &Context, name: &str) -> String {
    format!("towpath-{}-{name}", cx.environment())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_runs_is_waited_for_and_never_interrupted() {
    if !engine() {
        return;
    }
    let cx = environment("migration");
    let log = || {
        let volume = format!("{}:/data", full(&cx, "data"));
        docker(&["run", "--rm", "-v", &volume, BASE, "cat", "/data/log"])
    };
    let let_go = || docker(&["exec", &full(&cx, "migrate"), "touch", "/data/go"]);
    let mut config = with(job(MIGRATION));
    config.health_timeout_s = Some(1);
    let first = make(config.clone());
    let error = first.apply(&cx).await.expect_err("it takes longer");
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let runs = docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &full(&cx, "migrate")]);
    assert!(first.plan(&cx).await.unwrap().is_empty(), "there is nothing to do but to wait");
    // A second apply waits, too.
    first.apply(&cx).await.expect_err("it still runs");
    assert_eq!(docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &full(&cx, "migrate")]), runs);

    // Another spec, or none any more: it comes to its end first.
    let mut changed = with(job(&format!("{MIGRATION}; echo changed >>/data/log")));
    changed.health_timeout_s = Some(1);
    let gone = DockerEnvironmentConfig { health_timeout_s: Some(1), ..DockerEnvironmentConfig::default() };
    let gone = gone.volume("data").container("web", sleeper());
    for config in [changed.clone(), gone] {
        let other = make(config);
        let plan = other.plan(&cx).await.unwrap();
        assert!(plan.warnings.iter().any(|w| w.contains("`migrate`") && w.contains("waited for")), "{plan:?}");
        let error = other.apply(&cx).await.expect_err("it runs");
        assert_eq!((error.kind(), error.get("container")), (ErrorKind::Conflict, Some("migrate")), "{error:?}");
    }
    assert_eq!(docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &full(&cx, "migrate")]), runs);
    changed.health_timeout_s = None;
    let applying = tokio::spawn({
        let (other, cx) = (make(changed), cx.clone());
        async move { other.apply(&cx).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let_go();
    until("the new one runs", || log() == "start\nend\nstart").await;
    let_go();
    assert_eq!(applying.await.unwrap().unwrap().changed, 1);
    assert_eq!(log(), "start\nend\nstart\nend\nchanged", "neither was interrupted or run twice");
    first.destroy(&cx).await.unwrap();
}

/// Who waits for its start does not miss it.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_to_its_end_at_once_has_started() {
    if !engine() {
        return;
    }
    let cx = environment("quick");
    let quick = ContainerSpec { once: true, ..ContainerSpec::new(BASE).command(["true"]) };
    let slow = ContainerSpec::new(BASE).command(["sh", "-c", "sleep 1"]);
    let config = DockerEnvironmentConfig::default()
        .container("quick", quick)
        // One level between them, so that the first has ended when the last one looks.
        .container("between", ContainerSpec { once: true, ..slow }.after("quick", DependsOn::Started))
        .container("web", sleeper().after("quick", DependsOn::Started).after("between", DependsOn::Completed))
        .container("last", sleeper().after("quick", DependsOn::Started).after("web", DependsOn::Started));
    let provider = make(config);
    provider.apply(&cx).await.unwrap();
    assert!(provider.plan(&cx).await.unwrap().is_empty());
    provider.destroy(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_a_compose_file_runs_once() {
    if !engine() {
        return;
    }
    let (cx, dir) = (environment("compose-once"), tempfile::tempdir().unwrap());
    let text = format!(
        "name: {}\nservices:\n  migrate:\n    image: {BASE}\n    command: ['true']\n    healthcheck: {{disable: true, test: 'false'}}\n    \
         x-towpath: {{once: true}}\n",
        unique("once")
    );
    std::fs::write(dir.path().join("compose.yml"), text).unwrap();
    let provider = make(DockerEnvironmentConfig::compose(dir.path().join("compose.yml")));
    let there = provider.apply(&cx).await.unwrap().environment;
    let id = &there.resources.iter().find(|r| r.address == "container migrate").unwrap().id;
    assert_eq!(docker(&["inspect", "-f", "{{json .Config.Healthcheck.Test}}", id]), "[\"NONE\"]");
    assert!(provider.plan(&cx).await.unwrap().is_empty(), "that it has ended is as it should be");
    provider.destroy(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_goes_on_and_is_not_started_again() {
    if !engine() {
        return;
    }
    let cx = environment("paused");
    let provider = make(DockerEnvironmentConfig::default().container("web", sleeper()));
    provider.apply(&cx).await.unwrap();
    let started = || docker(&["inspect", "-f", "{{.State.StartedAt}} {{.State.Status}}", &full(&cx, "web")]);
    let before = started();
    docker(&["pause", &full(&cx, "web")]);
    assert_eq!(planned(&provider.plan(&cx).await.unwrap(), "container web"), (Action::Update, "it is paused".into()));
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 1);
    assert_eq!(started(), before);
    provider.destroy(&cx).await.unwrap();
}

/// As Compose: what a container wrote where no volume is named is there in the one that replaces it.
#[tokio::test(flavor = "multi_thread")]
async fn data_without_a_named_volume_is_kept_when_a_container_is_replaced() {
    if !engine() {
        return;
    }
    let cx = environment("unnamed");
    let source = crate::Container::start();
    let base = unique("towpath-test/declares");
    docker(&["exec", &source.id, "sh", "-c", "mkdir -p /declared /given && echo from-image >/declared/first"]);
    docker(&["commit", "--change", "VOLUME /declared /covered", &source.id, &base]);
    let mut web = ContainerSpec { image: base.clone(), ..sleeper() };
    web.mounts = serde_json::from_value(json!([
        {"type": "volume", "target": "/given/"}, {"type": "tmpfs", "target": "/covered"},
    ]))
    .unwrap();
    let provider =
        |version: &str| make(DockerEnvironmentConfig::default().container("web", web.clone().env("V", version)));
    let run = |script: &str| docker(&["exec", &full(&cx, "web"), "sh", "-c", script]);
    provider("1").apply(&cx).await.unwrap();
    run("echo kept >>/declared/own; echo kept >/given/own; echo lost >/covered/own; echo lost >/root/own");
    assert_eq!(provider("2").apply(&cx).await.unwrap().changed, 1);
    assert_eq!(
        run("cat /declared/first /declared/own /given/own; ls -A /covered /root | grep own || :"),
        "from-image\nkept\nkept"
    );
    // Also when it was away for a while.
    docker(&["rm", "-fv", &full(&cx, "web")]);
    provider("2").apply(&cx).await.unwrap();
    assert_eq!(run("cat /given/own"), "kept");
    let aside = make(DockerEnvironmentConfig::default().container("db", sleeper()));
    let plan = aside.plan(&cx).await.unwrap();
    assert_eq!(plan.warnings.iter().filter(|w| w.contains("`web`") && w.contains("kept")).count(), 2, "{plan:?}");
    assert_eq!(provider("2").destroy(&cx).await.unwrap().changed, 4, "container, network, two volumes");
    let filter = format!("label=towpath.environment={}", cx.environment());
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &filter]), "");
    docker(&["rmi", &base]);
}
