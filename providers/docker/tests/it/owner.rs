//! Whose things are whose: projects, steps, and what others call alike.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value as Json, json};
use towpath_core::{Action, Context, Environment, ErrorKind, Provisioner as _};
use towpath_docker::{DockerEnvironment, DockerEnvironmentConfig};

use crate::environment::{environment, planned, sleeper};
use crate::{docker, engine};

fn config(project: Option<&str>) -> DockerEnvironmentConfig {
    let config = DockerEnvironmentConfig::default().volume("data").container("web", sleeper().volume("data", "/data"));
    DockerEnvironmentConfig { project: project.map(str::to_owned), ..config }
}

fn make(project: Option<&str>) -> DockerEnvironment {
    DockerEnvironment::new(config(project)).unwrap()
}

fn web(there: &Environment) -> String {
    there.resources.iter().find(|r| r.address == "container web").unwrap().id.clone()
}

/// Asks the engine as its command line can't.
fn post(path: &str, body: &Json) -> Json {
    let told = std::env::var("DOCKER_HOST").unwrap_or_default();
    let mut to = UnixStream::connect(told.strip_prefix("unix://").unwrap_or("/var/run/docker.sock")).unwrap();
    let body = body.to_string();
    let head =
        format!("POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    to.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    to.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.split(' ').nth(1).is_some_and(|code| code.starts_with('2')), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_and_steps_with_the_same_names_share_nothing() {
    if !engine() {
        return;
    }
    let plain = environment("owner");
    let owners: Vec<(Option<&str>, Context)> = vec![
        (None, plain.clone()),
        (Some("shop"), plain.clone()),
        (Some("blog"), plain.clone()),
        (Some("shop"), plain.for_step("first")),
        (Some("shop"), plain.for_step("second")),
    ];
    let mut made = Vec::new();
    for (project, cx) in &owners {
        let applied = make(*project).apply(cx).await.unwrap();
        assert_eq!(applied.changed, 3, "{project:?}: it adopts nothing of the others");
        let id = web(&applied.environment);
        docker(&["exec", &id, "sh", "-c", &format!("echo '{project:?}' >>/data/who")]);
        assert!(!made.contains(&id), "it has a container of its own");
        made.push(id);
    }
    for ((project, cx), id) in owners.iter().zip(&made) {
        assert!(make(*project).plan(cx).await.unwrap().is_empty(), "{project:?}: nobody disturbed it");
        assert_eq!(docker(&["exec", id, "cat", "/data/who"]), format!("{project:?}"), "its volume is its own");
    }
    let label = docker(&[
        "ps",
        "-q",
        "--no-trunc",
        "--filter",
        "label=towpath.project=blog",
        "--filter",
        &format!("id={}", made[2]),
    ]);
    assert_eq!(label, made[2]);
    // Each destroys its own things only.
    for (n, (project, cx)) in owners.iter().enumerate() {
        assert_eq!(make(*project).destroy(cx).await.unwrap().changed, 3, "{project:?}");
        for id in &made[n + 1..] {
            assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", id]), "true", "{project:?} left it");
        }
    }
    let filter = format!("label=towpath.environment={}", plain.environment());
    assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_called_alike_is_not_taken() {
    if !engine() {
        return;
    }
    let cx = environment("alike");
    let full = |name: &str| format!("towpath-{}-{name}", cx.environment());
    let network = docker(&["network", "create", &full("default")]);
    let error = make(None).apply(&cx).await.expect_err("another one's network");
    assert_eq!(
        (error.kind(), error.get("network")),
        (ErrorKind::AlreadyExists, Some(full("default").as_str())),
        "{error:?}"
    );
    docker(&["network", "rm", &network]);
    docker(&["volume", "create", &full("data")]);
    let error = make(None).apply(&cx).await.expect_err("another one's volume");
    assert_eq!(
        (error.kind(), error.get("volume")),
        (ErrorKind::AlreadyExists, Some(full("data").as_str())),
        "{error:?}"
    );
    docker(&["volume", "rm", &full("data")]);
    let container = docker(&["create", "--name", &full("web"), crate::BASE]);
    let error = make(None).apply(&cx).await.expect_err("another one's container");
    assert_eq!((error.kind(), error.get("container")), (ErrorKind::Conflict, Some("web")), "{error:?}");
    make(None).destroy(&cx).await.unwrap();
    docker(&["rm", &container]);
}

/// Engines take the same name for two networks.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_network_of_the_same_name_is_found_and_removed() {
    if !engine() {
        return;
    }
    let (cx, provider) = (environment("double"), make(None));
    let there = provider.apply(&cx).await.unwrap().environment;
    let full = format!("towpath-{}-default", cx.environment());
    let labels = docker(&["network", "inspect", "-f", "{{json .Labels}}", &full]);
    let labels: Json = serde_json::from_str(&labels).unwrap();
    let twin = || post("/networks/create", &json!({"Name": full, "Labels": labels}))["Id"].as_str().unwrap().to_owned();
    let ids = || docker(&["network", "ls", "-q", "--no-trunc", "--filter", &format!("name={full}")]);
    let before = ids();
    let second = twin();
    assert_eq!(ids().lines().count(), 2, "the engine has both");
    let plan = provider.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, &format!("network default ({second})")).0, Action::Delete, "{plan}");
    assert_eq!(planned(&plan, "network default").0, Action::None);
    assert_eq!(planned(&plan, "container web").0, Action::None, "it is in the one that stays");
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 1);
    assert_eq!(ids(), before);
    assert!(provider.plan(&cx).await.unwrap().is_empty());

    // Without any container the older one stays, and no third one is made.
    docker(&["rm", "-f", &web(&there)]);
    twin();
    let again = provider.apply(&cx).await.unwrap();
    assert_eq!((ids(), again.changed), (before, 2));
    // To destroy takes all of them.
    twin();
    assert_eq!(provider.destroy(&cx).await.unwrap().changed, 4);
    assert_eq!(ids(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_lost_a_network_is_made_anew() {
    if !engine() {
        return;
    }
    let (cx, provider) = (environment("lost"), make(None));
    let there = provider.apply(&cx).await.unwrap().environment;
    docker(&["network", "disconnect", &format!("towpath-{}-default", cx.environment()), &web(&there)]);
    let plan = provider.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "container web"), (Action::Replace, "it is not in all of its networks".into()));
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 1);
    assert!(provider.plan(&cx).await.unwrap().is_empty());
    provider.destroy(&cx).await.unwrap();
}
