//! Development environments from a typed spec.

use std::sync::Arc;

use serde_json::json;
use towpath_core::testkit::provisioner::ProvisionerFixture;
use towpath_core::{
    Action, Certainty, Connector as _, Context, Environment, ErrorKind, Event, EventKind, Exec, Plan, Provisioner as _,
    Secret, SecretRef,
};
use towpath_docker::{
    ContainerSpec, DependsOn, DockerConnector, DockerEnvironment, DockerEnvironmentConfig, Healthcheck, NetworkSpec,
};

use crate::{BASE, docker, engine, unique};

/// A container that does nothing, and ends at once when it is asked to.
pub(crate) fn sleeper() -> ContainerSpec {
    ContainerSpec { init: true, ..ContainerSpec::new(BASE).command(["sleep", "1000"]) }
}

pub(crate) fn environment(name: &str) -> Context {
    Context::builder().environment(unique(name)).build()
}

fn make(config: DockerEnvironmentConfig) -> DockerEnvironment {
    DockerEnvironment::new(config).unwrap()
}

fn one(name: &str, spec: ContainerSpec) -> DockerEnvironmentConfig {
    DockerEnvironmentConfig::default().container(name, spec)
}

/// What a plan would do to something, and why.
pub(crate) fn planned(plan: &Plan, subject: &str) -> (Action, String) {
    let change = plan.changes.iter().find(|c| c.subject == subject).unwrap_or_else(|| panic!("{subject} in {plan:?}"));
    match change.certainty {
        Certainty::WillNot => (Action::None, String::new()),
        _ => (change.action, change.reason.clone().unwrap_or_default()),
    }
}

async fn fixture() -> Option<ProvisionerFixture> {
    if !engine() {
        return None;
    }
    let config = DockerEnvironmentConfig::default()
        .volume("data")
        .container("db", sleeper().volume("data", "/data"))
        .container("web", sleeper().port("80").after("db", DependsOn::Started));
    let disturb = |e: Environment| {
        let web = e.resources.iter().find(|r| r.address == "container web").unwrap().id.clone();
        docker(&["rm", "-f", &web]);
        Box::pin(async {}) as _
    };
    Some(ProvisionerFixture {
        provider: Arc::new(make(config)),
        cx: environment("suite"),
        disturb: Box::new(disturb),
        keep: Box::new(()),
    })
}

mod behaviour {
    towpath_core::provisioner_behaviour!(super::fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_find_each_other_and_are_hosts() {
    if !engine() {
        return;
    }
    let cx = environment("hosts");
    let db = ContainerSpec { groups: vec!["data".into()], not_a_host: false, ..ContainerSpec::new(BASE) }
        .healthy_if("pgrep sshd");
    let mut web = sleeper().port("22").env("PLAIN", "it's $HOME").after("db", DependsOn::Healthy);
    web.groups = vec!["web".into()];
    web.vars.insert("port".into(), 80.into());
    web.secret_env.insert("TOKEN".into(), SecretRef::Given("token".into()));
    web.mounts
        .push(serde_json::from_value(json!({"type": "tmpfs", "target": "/scratch", "options": "size=1m"})).unwrap());
    web.networks = vec!["default".into(), "second".into()];
    let mut config =
        one("web", web).container("db", db).container("aside", ContainerSpec { not_a_host: true, ..sleeper() });
    config.networks.insert("second".into(), NetworkSpec { internal: true, ..NetworkSpec::default() });
    let cx = Context::builder().environment(cx.environment()).secret("token", Secret::new("hidden-token")).build();
    let provider = make(config);
    let there = provider.apply(&cx).await.unwrap().environment;
    let names: Vec<&str> = there.inventory.hosts.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["web", "db"]);
    assert_eq!(there.inventory.groups["web"].hosts, ["web"]);
    assert_eq!(there.inventory.host("web").unwrap().vars["port"], json!(80));
    let connector = DockerConnector::default();
    let c = connector.connect(&cx, there.inventory.host("web").unwrap()).await.unwrap();
    let script = "getent hosts db >/dev/null && echo found; echo \"$PLAIN|$TOKEN\"; hostname; stat -f -c %T /scratch; hostname -I | wc -w";
    let out = c.exec(&cx, &Exec::script(script)).await.unwrap();
    assert_eq!(out.stdout_text(), "found\nit's $HOME|hidden-token\nweb\ntmpfs\n2", "{out:?}");
    // Its port answers on loopback only.
    let at = there.outputs["ports"]["web"]["22/tcp"].as_str().unwrap().to_owned();
    assert!(at.starts_with("127.0.0.1:"), "{at}");
    let stored = serde_json::to_string(&there).unwrap();
    assert!(!stored.contains("hidden-token"), "{stored}");
    let label = docker(&[
        "inspect",
        "-f",
        "{{index .Config.Labels \"towpath.environment\"}}",
        &format!("towpath-{}-web", cx.environment()),
    ]);
    assert_eq!(label, cx.environment());
    provider.destroy(&cx).await.unwrap();
    for what in ["ps -aq", "network ls -q", "volume ls -q"] {
        let mut words: Vec<&str> = what.split(' ').collect();
        let filter = format!("label=towpath.environment={}", cx.environment());
        words.extend(["--filter", &filter]);
        assert_eq!(docker(&words), "", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_replaces_what_it_concerns_and_keeps_data() {
    if !engine() {
        return;
    }
    let cx = environment("change");
    let config = |web: ContainerSpec| {
        DockerEnvironmentConfig::default()
            .volume("data")
            .container("db", sleeper().volume("data", "/data"))
            .container("web", web.after("db", DependsOn::Started))
    };
    let first = make(config(sleeper()));
    let there = first.apply(&cx).await.unwrap().environment;
    let full = |n: &str| format!("towpath-{}-{n}", cx.environment());
    docker(&["exec", &full("db"), "sh", "-c", "echo kept >/data/file"]);
    let id = |e: &Environment, address: &str| e.resources.iter().find(|r| r.address == address).unwrap().id.clone();

    let second = make(config(sleeper().env("NEW", "1")));
    let plan = second.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "container web"), (Action::Replace, "its spec has changed".into()));
    assert_eq!(planned(&plan, "container db").0, Action::None);
    let applied = second.apply(&cx).await.unwrap();
    assert_eq!(applied.changed, 1);
    assert_eq!(id(&there, "container db"), id(&applied.environment, "container db"), "what did not change stays");
    assert_ne!(id(&there, "container web"), id(&applied.environment, "container web"));

    // Stopped by somebody, and its neighbour replaced: the volume keeps what is in it.
    docker(&["kill", &full("web")]);
    let other = DockerEnvironmentConfig::default()
        .volume("data")
        .container("db", sleeper().volume("data", "/data").env("V", "2"))
        .container("web", sleeper().env("NEW", "1").after("db", DependsOn::Started));
    let third = make(other);
    let plan = third.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "container web"), (Action::Update, "it does not run".into()));
    assert_eq!(third.apply(&cx).await.unwrap().changed, 2);
    assert_eq!(docker(&["exec", &full("db"), "cat", "/data/file"]), "kept");

    // Out of the spec: the container goes, the volume stays and is told of.
    let last = make(one("web", sleeper().env("NEW", "1")));
    let plan = last.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "container db").0, Action::Delete);
    assert_eq!(planned(&plan, "volume data").0, Action::None);
    assert!(plan.warnings.iter().any(|w| w.contains("`data`")), "{plan:?}");
    assert_eq!(last.apply(&cx).await.unwrap().changed, 1);
    assert!(last.plan(&cx).await.unwrap().is_empty());

    // Another spec of the volume would lose its data.
    let mut lossy = one("web", sleeper());
    lossy.volumes.insert("data".into(), serde_json::from_value(json!({"labels": {"a": "b"}})).unwrap());
    let lossy = make(lossy);
    assert_eq!(planned(&lossy.plan(&cx).await.unwrap(), "volume data").0, Action::Replace);
    let error = lossy.apply(&cx).await.expect_err("data would be lost");
    assert_eq!((error.kind(), error.get("volume")), (ErrorKind::Conflict, Some("data")), "{error:?}");
    assert!(last.destroy(&cx).await.unwrap().changed >= 3);
}

/// The same name for another image is another container.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_behind_the_same_name_replaces_the_container() {
    if !engine() {
        return;
    }
    let (cx, tag) = (environment("image"), unique("towpath-test/moving"));
    docker(&["tag", BASE, &tag]);
    let provider = make(one("web", ContainerSpec { image: tag.clone(), ..sleeper() }));
    provider.apply(&cx).await.unwrap();
    let full = format!("towpath-{}-web", cx.environment());
    docker(&["commit", "--change", "LABEL new=1", &full, &tag]);
    let plan = provider.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "container web").0, Action::Replace, "{plan:?}");
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 1);
    assert!(provider.plan(&cx).await.unwrap().is_empty());
    provider.destroy(&cx).await.unwrap();
    docker(&["rmi", &tag]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_work_is_told_with_its_last_words() {
    if !engine() {
        return;
    }
    let test = |c: &str| Healthcheck {
        test: vec!["CMD-SHELL".into(), c.into()],
        interval_ms: Some(100),
        retries: Some(2),
        ..Healthcheck::default()
    };
    let talks = |script: &str| ContainerSpec { init: true, ..ContainerSpec::new(BASE).command(["sh", "-c", script]) };
    let sick = ContainerSpec { healthcheck: Some(test("echo no answer; false")), ..talks("echo I am up; sleep 1000") };
    let ends = talks("echo the port is taken >&2; exit 4");
    let never = ContainerSpec {
        healthcheck: Some(Healthcheck { retries: Some(1000), ..test("false") }),
        ..talks("sleep 1000")
    };
    for (spec, words) in [
        (sick, vec!["unhealthy", "no answer", "I am up"]),
        (ends, vec!["exit code 4", "the port is taken"]),
        (never, vec!["not healthy yet after 1 s", "logged nothing"]),
    ] {
        let cx = environment("sick");
        let mut config = one("web", spec);
        config.health_timeout_s = Some(if words[0].contains("1 s") { 1 } else { 60 });
        let provider = make(config);
        let error = provider.apply(&cx).await.expect_err("it does not work");
        assert_eq!((error.kind(), error.get("container")), (ErrorKind::Unhealthy, Some("web")), "{error:?}");
        for word in words {
            assert!(error.report().contains(word), "{word}: {error:?}");
        }
        assert!(provider.destroy(&cx).await.unwrap().changed > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_once_comes_to_its_end_before_others_start() {
    if !engine() {
        return;
    }
    let cx = environment("once");
    let migrate = ContainerSpec {
        once: true,
        ..ContainerSpec::new(BASE).command(["sh", "-c", "sleep 1; echo migrated >/data/done"])
    };
    let web =
        ContainerSpec { init: true, ..ContainerSpec::new(BASE).command(["sh", "-c", "cat /data/done && sleep 1000"]) };
    let config = DockerEnvironmentConfig::default()
        .volume("data")
        .container("web", web.volume("data", "/data").after("migrate", DependsOn::Completed))
        .container("migrate", migrate.volume("data", "/data"));
    let provider = make(config);
    provider.apply(&cx).await.unwrap();
    assert_eq!(provider.logs(&cx, "web", 10).await.unwrap(), ["migrated"]);
    assert_eq!(provider.logs(&cx, "wbe", 10).await.expect_err("no such one").kind(), ErrorKind::NotFound);
    assert!(provider.plan(&cx).await.unwrap().is_empty(), "that it has ended is as it should be");
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 0);
    provider.destroy(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_apply_is_gone_on_with() {
    if !engine() {
        return;
    }
    let cx = environment("cancel");
    let slow = ContainerSpec {
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".into(), "test".into(), "-e".into(), "/ready".into()],
            interval_ms: Some(100),
            retries: Some(10_000),
            ..Healthcheck::default()
        }),
        ..sleeper()
    };
    let config = one("db", slow).container("web", sleeper().after("db", DependsOn::Healthy));
    let provider = make(config);
    let (child, token) = cx.child();
    let running = tokio::spawn({
        let provider = provider.clone();
        async move { provider.apply(&child).await }
    });
    let full = format!("towpath-{}-db", cx.environment());
    let runs = || docker(&["ps", "-q", "--filter", &format!("name={full}")]);
    crate::until("the first one runs", || !runs().is_empty()).await;
    token.cancel();
    let error = running.await.unwrap().expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    let plan = provider.plan(&cx).await.unwrap();
    assert_eq!((planned(&plan, "container db").0, planned(&plan, "container web").0), (Action::None, Action::Create));
    docker(&["exec", &full, "touch", "/ready"]);
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 1);
    provider.destroy(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_container_logs_is_masked() {
    if !engine() {
        return;
    }
    let name = unique("leak");
    let cx = Context::builder().environment(&name).secret("token", Secret::new("s3cr3t-token")).build();
    let mut spec = ContainerSpec::new(BASE).command(["sh", "-c", "echo \"token is $TOKEN\"; exit 3"]);
    spec.secret_env.insert("TOKEN".into(), SecretRef::Given("token".into()));
    let provider = make(one("web", spec));
    let error = provider.apply(&cx).await.expect_err("it ends");
    assert!(error.report().contains("token is ***"), "{error:?}");
    assert!(!error.report().contains("s3cr3t"), "{error:?}");
    assert_eq!(provider.logs(&cx, "web", 5).await.unwrap(), ["token is ***"]);
    provider.destroy(&cx).await.unwrap();
}

/// What is in it comes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_network_is_made_anew_with_its_containers() {
    if !engine() {
        return;
    }
    let cx = environment("network");
    let config = |internal| {
        let mut back = sleeper();
        back.networks = vec!["back".into()];
        let mut config = one("web", sleeper()).container("db", back);
        config.networks.insert("back".into(), NetworkSpec { internal, ..NetworkSpec::default() });
        config
    };
    make(config(false)).apply(&cx).await.unwrap();
    let changed = make(config(true));
    let plan = changed.plan(&cx).await.unwrap();
    assert_eq!(planned(&plan, "network back").0, Action::Replace);
    assert_eq!(planned(&plan, "container db"), (Action::Replace, "a network of it is made anew".into()));
    assert_eq!(planned(&plan, "container web").0, Action::None);
    assert_eq!(changed.apply(&cx).await.unwrap().changed, 2);
    let internal =
        docker(&["network", "inspect", "-f", "{{.Internal}}", &format!("towpath-{}-back", cx.environment())]);
    assert_eq!(internal, "true");
    assert!(changed.plan(&cx).await.unwrap().is_empty());
    assert_eq!(changed.destroy(&cx).await.unwrap().changed, 4);
}

/// A laptop's copy of a machine: systemd as process 1, which playbooks may ask for services.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_have_a_real_init_system() {
    let image = "towpath/debian:systemd-2";
    if !crate::image_is_there(image, ".ci/systemd-image") {
        return;
    }
    let cx = environment("systemd");
    let spec = json!({"containers": {"web": {
        "image": image, "env": {"container": "docker"}, "cap_add": ["SYS_ADMIN"],
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "mounts": [
            {"type": "bind", "source": "/sys/fs/cgroup", "target": "/sys/fs/cgroup", "read_only": true},
            {"type": "tmpfs", "target": "/run"}, {"type": "tmpfs", "target": "/run/lock"},
            {"type": "tmpfs", "target": "/tmp", "options": "exec"},
        ],
        "healthcheck": {"test": ["CMD-SHELL", "systemctl is-system-running"], "retries": 60},
    }}});
    let provider = make(serde_json::from_value(spec).unwrap());
    let there = provider.apply(&cx).await.unwrap().environment;
    let c = DockerConnector::default().connect(&cx, &there.inventory.hosts[0]).await.unwrap();
    let out = c.exec(&cx, &Exec::script("ps -o comm= -p 1; systemctl is-active ssh")).await.unwrap();
    assert_eq!(out.stdout_text(), "systemd\nactive", "{out:?}");
    provider.destroy(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_until_the_end_or_a_cancel() {
    if !engine() {
        return;
    }
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let listener = move |e: &Event| {
        if let EventKind::Output { line, .. } = &e.kind {
            told.lock().unwrap().push(format!("{}: {line}", e.host.as_deref().unwrap_or_default()));
        }
    };
    let cx = Context::builder().environment(unique("logs")).listener(Arc::new(listener)).build();
    let script = "while [ ! -e /go ]; do sleep 0.1; done; for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 0.1; done";
    let talks = ContainerSpec { init: true, ..ContainerSpec::new(BASE).command(["sh", "-c", script]) };
    let provider = make(one("web", talks).container("db", sleeper()));
    provider.apply(&cx).await.unwrap();
    let following = tokio::spawn({
        let (provider, cx) = (provider.clone(), cx.clone());
        async move { provider.follow_logs(&cx, &["web"], 100).await }
    });
    docker(&["exec", &format!("towpath-{}-web", cx.environment()), "touch", "/go"]);
    following.await.unwrap().unwrap();
    let wanted: Vec<String> = (1..=8).map(|n| format!("web: line {n}")).collect();
    assert_eq!(*seen.lock().unwrap(), wanted, "all of it, in order, and then it ends by itself");
    let (child, token) = cx.child();
    let following = tokio::spawn({
        let provider = provider.clone();
        async move { provider.follow_logs(&child, &["db", "web"], 1).await }
    });
    crate::until("it follows", || seen.lock().unwrap().len() > wanted.len()).await;
    token.cancel();
    assert_eq!(following.await.unwrap().expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(provider.follow_logs(&cx, &["wbe"], 1).await.expect_err("no such one").kind(), ErrorKind::NotFound);
    provider.destroy(&cx).await.unwrap();
}
