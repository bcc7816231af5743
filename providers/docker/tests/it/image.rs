//! Images that configurators make.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use towpath_core::testkit::build_image;
use towpath_core::testkit::image_builder::ImageBuilderFixture;
use towpath_core::{
    ArtifactKind, Base, Certainty, Configurator, Context, ErrorKind, Event, ImageBuilder as _, ImageDefinition, Json,
};
use towpath_docker::{DockerConnector, DockerImageBuilder, DockerImageConfig, Pull};

use crate::script::Script;
use crate::{BASE, docker, engine, unique, until};

pub(crate) fn image(name: &str, configure: Vec<Arc<dyn Configurator>>) -> ImageDefinition {
    ImageDefinition {
        name: name.into(),
        base: Base::Image(BASE.into()),
        configure,
        artifacts: vec![ArtifactKind::DockerImage],
        connector: Arc::new(DockerConnector::default()),
        labels: BTreeMap::from([("commit".to_owned(), "c0ffee".to_owned())]),
    }
}

pub(crate) fn builder(config: DockerImageConfig) -> DockerImageBuilder {
    DockerImageBuilder::new(config).unwrap()
}

fn inspect(id: &str) -> Json {
    let all: Json = serde_json::from_str(&docker(&["image", "inspect", id])).unwrap();
    all[0].clone()
}

async fn fixture() -> Option<ImageBuilderFixture> {
    if !engine() {
        return None;
    }
    let name = unique("web");
    let script = Script::new(format!("echo {name} >/etc/motd"));
    let other = Script::new(format!("echo other {name} >/etc/motd"));
    Some(ImageBuilderFixture {
        provider: Arc::new(builder(DockerImageConfig::default())),
        image: image(&name, vec![script]),
        other: image(&name, vec![other]),
        cx: Context::new(),
        corrupt: None,
        keep: Box::new(()),
    })
}

mod behaviour {
    towpath_core::image_builder_behaviour!(super::fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_keeps_what_its_base_says_and_gets_what_the_config_says() {
    if !engine() {
        return;
    }
    let cx = Context::new();
    // A base with settings of its own, of another user, and with a check that must not run while it is configured.
    let base_name = unique("towpath-test/base").to_lowercase();
    let base_file = format!(
        "FROM {BASE}\nUSER deploy\nWORKDIR /srv\nENTRYPOINT [\"/bin/echo\", \"base\"]\nCMD [\"cmd\"]\nENV ONE=1 TWO=2\n\
         EXPOSE 22\nSTOPSIGNAL SIGINT\nLABEL of=base\nHEALTHCHECK --interval=3s CMD touch /tmp/checked\n"
    );
    build_image(&base_name, &base_file);
    let script = Script::new("id -u >/etc/who; hostname >/etc/called; sleep 4; test ! -e /tmp/checked");
    let mut plain = image(&unique("Web_Kept"), vec![script]);
    plain.base = Base::Image(base_name.clone());
    let kept = builder(DockerImageConfig::default()).build(&cx, &plain).await.unwrap().artifacts.remove(0);
    let config = inspect(&kept.id)["Config"].clone();
    let of_base = inspect(&base_name)["Config"].clone();
    for key in ["User", "WorkingDir", "Entrypoint", "Cmd", "Env", "ExposedPorts", "StopSignal", "Healthcheck"] {
        assert_eq!(config[key], of_base[key], "{key}");
    }
    let labels = config["Labels"].clone();
    assert_eq!(labels["of"], json!("base"));
    assert_eq!(labels["commit"], json!("c0ffee"));
    assert_eq!(labels["towpath.build"], json!(kept.provenance.content_key));
    assert_eq!(labels["towpath.base"], json!(base_name));
    assert_eq!(labels["towpath.base-digest"], inspect(&base_name)["Id"]);
    assert_eq!(labels["towpath.name"], json!(plain.name));
    let tag = inspect(&kept.id)["RepoTags"][0].as_str().unwrap().to_owned();
    assert_eq!(
        tag,
        format!("towpath/{}:{}", plain.name.to_lowercase().replace('_', "-"), &kept.provenance.content_key[..12])
    );
    assert_eq!(docker(&["run", "--rm", &tag]), "base cmd");
    let inside = docker(&["run", "--rm", "--entrypoint", "cat", &tag, "/etc/who", "/etc/called"]);
    assert_eq!(
        inside,
        format!("0\n{}", plain.name.to_lowercase().replace('_', "-")),
        "configured by root, always on the same host"
    );

    let config = DockerImageConfig {
        tags: vec![format!("{base_name}-a:1"), format!("{base_name}-b")],
        entrypoint: Some(vec!["/bin/sh".into(), "-c".into()]),
        cmd: Some(vec!["id -un; pwd; echo $ONE $TWO $THREE".into()]),
        env: BTreeMap::from([("TWO".into(), "zwei".into()), ("THREE".into(), "drei".into())]),
        expose: vec!["80".into(), "53/udp".into()],
        user: Some("asks".into()),
        workdir: Some("/opt".into()),
        ..DockerImageConfig::default()
    };
    let changed = builder(config.clone());
    let made = changed.build(&cx, &plain).await.unwrap();
    assert_eq!(made.changed, 1, "another config is another image");
    assert_eq!(docker(&["run", "--rm", &format!("{base_name}-b:latest")]), "asks\n/opt\n1 zwei drei");
    let ports = inspect(&made.artifacts[0].id)["Config"]["ExposedPorts"].clone();
    assert_eq!(ports, json!({"22/tcp": {}, "80/tcp": {}, "53/udp": {}}));

    // A name that somebody took away is given again, without a build.
    docker(&["rmi", &format!("{base_name}-a:1")]);
    let plan = changed.plan(&cx, &plain).await.unwrap();
    assert_eq!(plan.changes.iter().filter(|c| c.certainty == Certainty::Will).count(), 1, "{plan}");
    assert_eq!(changed.build(&cx, &plain).await.unwrap().changed, 0);
    assert!(changed.plan(&cx, &plain).await.unwrap().is_empty());

    for artifact in [&kept, &made.artifacts[0]] {
        assert!(changed.remove(&cx, artifact).await.unwrap());
    }
    docker(&["rmi", &base_name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_without_command_gives_an_image_without_one() {
    if !engine() {
        return;
    }
    let cx = Context::new();
    let source = crate::Container::start();
    let bare = unique("towpath-test/bare");
    let mut export = Command::new("docker").args(["export", &source.id]).stdout(Stdio::piped()).spawn().unwrap();
    let archive = export.stdout.take().unwrap();
    let import = Command::new("docker").args(["import", "-", &bare]).stdin(archive).output().unwrap();
    assert!(export.wait().unwrap().success());
    assert!(import.status.success(), "{import:?}");
    let mut image = image(&unique("bare"), vec![Script::new("touch /etc/baked")]);
    image.base = Base::Image(bare.clone());
    let builder = builder(DockerImageConfig::default());
    let made = builder.build(&cx, &image).await.unwrap().artifacts.remove(0);
    let config = inspect(&made.id)["Config"].clone();
    for key in ["Entrypoint", "Cmd"] {
        assert!(config[key].is_null() || config[key] == json!([]), "{key}: {}", config[key]);
    }
    assert!(builder.remove(&cx, &made).await.unwrap());
    docker(&["rmi", &bare]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_follows_a_change_is_done_again() {
    if !engine() {
        return;
    }
    let cx = Context::new();
    let name = unique("layers");
    let first = Script::new(format!("echo {name} >/etc/first; mkdir -p /run/x; sleep 300 >/dev/null 2>&1 &"));
    let second = Script::new("cat /etc/first >/etc/second; ! pgrep -x sleep -a | grep 300");
    let third = Script::new("cat /etc/second >/etc/third");
    let all = |last: &Arc<Script>| image(&name, vec![first.clone(), second.clone(), last.clone()]);
    let runs = |last: &Arc<Script>| (first.runs(), second.runs(), last.runs());
    let builder = builder(DockerImageConfig::default());
    let made = builder.build(&cx, &all(&third)).await.unwrap();
    assert_eq!((made.changed, runs(&third)), (1, (1, 1, 1)));
    assert_eq!(docker(&["run", "--rm", &made.artifacts[0].id, "cat", "/etc/third"]), name);

    let changed = Script::new("cat /etc/second >/etc/third; echo more >>/etc/third");
    let plan = builder.plan(&cx, &all(&changed)).await.unwrap();
    let after = plan.changes[0].after.clone().unwrap();
    assert_eq!((&after["layers"], &after["reused"]), (&json!(3), &json!(2)), "{plan:?}");
    let again = builder.build(&cx, &all(&changed)).await.unwrap();
    assert_eq!((again.changed, runs(&changed)), (1, (1, 1, 1)), "the first two did not run again");
    assert_eq!(docker(&["run", "--rm", &again.artifacts[0].id, "cat", "/etc/third"]), format!("{name}\nmore"));

    // Nothing changed: no container is made for it.
    let key = &again.artifacts[0].provenance.content_key;
    let before = docker(&["info", "--format", "{{.SystemTime}}"]);
    let same = builder.build(&cx, &all(&changed)).await.unwrap();
    assert_eq!((same.changed, runs(&changed)), (0, (1, 1, 1)));
    assert_eq!(same.artifacts, again.artifacts);
    let now = docker(&["info", "--format", "{{.SystemTime}}"]);
    let filter = format!("label=towpath.build={key}");
    let events =
        docker(&["events", "--since", &before, "--until", &now, "--filter", &filter, "--filter", "event=create"]);
    assert_eq!(events, "");

    // Another name is another host to a playbook.
    let mut renamed = all(&changed);
    renamed.name.push_str("-2");
    let other = builder.plan(&cx, &renamed).await.unwrap().changes[0].after.clone().unwrap();
    assert_ne!(other["content_key"], json!(key));
    for artifact in [&made.artifacts[0], &again.artifacts[0]] {
        assert!(builder.remove(&cx, artifact).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_or_cancelled_or_dropped_build_leaves_no_container() {
    if !engine() {
        return;
    }
    let (cx, name) = (Context::new(), unique("fails"));
    let builder = builder(DockerImageConfig::default());
    let good = Script::new(format!("echo {name} >/etc/good"));
    let bad = image(&name, vec![good.clone(), Script::new("echo broken >&2; exit 3")]);
    let error = builder.build(&cx, &bad).await.expect_err("a script that fails");
    assert_eq!((error.kind(), error.get("exit_status")), (ErrorKind::ToolFailed, Some("3")), "{error:?}");
    assert!(error.report().contains("broken"), "{error:?}");
    let slow = Script::new(format!("echo {name} >/etc/slow; sleep 300"));
    let plan = builder.plan(&cx, &image(&name, vec![good.clone(), slow.clone()])).await.unwrap();
    assert_eq!(plan.changes[0].after.as_ref().unwrap()["reused"], json!(1), "what went well was kept");
    let hosts = || docker(&["ps", "-q", "--filter", "label=towpath.build", "--filter", "status=running", "--no-trunc"]);
    let here = |hosts: &str| -> Vec<String> {
        let all = hosts.lines().map(str::to_owned);
        all.filter(|id| {
            let out = Command::new("docker").args(["inspect", "-f", "{{.Config.Hostname}}", id]).output().unwrap();
            String::from_utf8_lossy(&out.stdout).trim() == name
        })
        .collect()
    };
    for how in ["cancelled", "dropped"] {
        let (child, token) = cx.child();
        let (own, definition) = (builder.clone(), image(&name, vec![good.clone(), slow.clone()]));
        let running = tokio::spawn(async move { own.build(&child, &definition).await });
        until("it is configured", || !here(&hosts()).is_empty()).await;
        if how == "cancelled" {
            token.cancel();
            let error = running.await.unwrap().expect_err("cancelled");
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
            assert_eq!(here(&hosts()), Vec::<String>::new(), "it is gone when the call returns");
        } else {
            running.abort();
            until("its container is gone", || here(&hosts()).is_empty()).await;
        }
    }
    let made = builder.build(&cx, &image(&name, vec![good])).await.unwrap();
    assert!(builder.remove(&cx, &made.artifacts[0]).await.unwrap());
}

/// Labels are inherited, so they alone prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn labels_that_others_carry_deceive_nobody() {
    if !engine() {
        return;
    }
    let (cx, name) = (Context::new(), unique("label"));
    let builder = builder(DockerImageConfig::default());
    let definition = image(&name, vec![Script::new(format!("echo {name} >/etc/real"))]);
    let plan = builder.plan(&cx, &definition).await.unwrap();
    let key = plan.changes[0].after.as_ref().unwrap()["content_key"].as_str().unwrap().to_owned();
    // An image that only claims to be it.
    let source = crate::Container::start();
    let forged = format!("towpath-test/forged-{name}");
    docker(&["commit", "--change", &format!("LABEL towpath.build={key}"), &source.id, &forged]);
    let made = builder.build(&cx, &definition).await.unwrap();
    assert_eq!(made.changed, 1, "the forged one is not taken for it");
    assert_eq!(docker(&["run", "--rm", &made.artifacts[0].id, "cat", "/etc/real"]), name);
    let stranger = towpath_core::Artifact { id: forged.clone(), ..made.artifacts[0].clone() };
    let error = builder.remove(&cx, &stranger).await.expect_err("not its own");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    // A container of the finished image has its labels.
    let user = docker(&["run", "-d", "--init", &made.artifacts[0].id, "sleep", "300"]);
    let called = docker(&["inspect", "-f", "{{.Name}}", &user]);
    let called = called.trim_start_matches('/').to_owned();
    let swept = builder.sweep(&cx).await.unwrap();
    assert!(!called.is_empty() && !swept.removed.contains(&called) && !swept.left.contains(&called), "{swept:?}");
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &user]), "true", "no sweep touches it");
    let error = builder.remove(&cx, &made.artifacts[0]).await.expect_err("it is used");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    docker(&["rm", "-f", &user]);
    builder.build(&cx, &definition).await.unwrap();
    assert!(builder.remove(&cx, &made.artifacts[0]).await.unwrap());
    docker(&["rmi", &forged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_built_is_told_before_anything_is_made() {
    if !engine() {
        return;
    }
    let cx = Context::new();
    let never = builder(DockerImageConfig { pull: Pull::Never, ..DockerImageConfig::default() });
    let mut missing = image("web", Vec::new());
    missing.base = Base::Image("towpath-test/no-such:1".into());
    let error = never.build(&cx, &missing).await.expect_err("no such base");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    // Nobody listens there: pulled, and told whose words those are.
    missing.base = Base::Image("127.0.0.1:9/no-such:1".into());
    let puller = builder(DockerImageConfig::default());
    assert_eq!(puller.plan(&cx, &missing).await.unwrap().changes[0].certainty, Certainty::CannotKnow);
    let error = puller.build(&cx, &missing).await.expect_err("no registry");
    assert_eq!(error.get("image"), Some("127.0.0.1:9/no-such:1"), "{error:?}");
    missing.base = Base::Image("../containers".into());
    assert_eq!(puller.build(&cx, &missing).await.expect_err("no reference").kind(), ErrorKind::InvalidInput);
    let mut labelled = image("web", Vec::new());
    labelled.labels.insert("towpath.build".into(), "x".into());
    assert_eq!(puller.plan(&cx, &labelled).await.expect_err("a reserved label").kind(), ErrorKind::InvalidInput);
    for (config, word) in [
        (DockerImageConfig::default().tag("a b"), "`tags`"),
        (DockerImageConfig::default().tag("Web:1"), "lower-case"),
        (DockerImageConfig::default().tag("web:1+2"), "the tag `1+2`"),
        (DockerImageConfig { expose: vec!["x".into()], ..DockerImageConfig::default() }, "`expose`"),
        (DockerImageConfig { workdir: Some("srv".into()), ..DockerImageConfig::default() }, "`workdir`"),
        (DockerImageConfig { host: Some("ssh://x".into()), ..DockerImageConfig::default() }, "forward its socket"),
    ] {
        let error = DockerImageBuilder::new(config).expect_err(word);
        assert!(error.report().contains(word), "{error:?}");
    }
    let typo = serde_json::from_value::<DockerImageConfig>(json!({"tag": ["x"]})).expect_err("a typo");
    assert!(typo.to_string().contains("`tag`"), "{typo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_into_a_volume_of_the_base_is_warned_of() {
    if !engine() {
        return;
    }
    let source = crate::Container::start();
    let base = unique("towpath-test/volume");
    docker(&["commit", "--change", "VOLUME /data", &source.id, &base]);
    let warnings = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&warnings);
    let listener = move |e: &Event| seen.lock().unwrap().push(serde_json::to_string(e).unwrap());
    let cx = Context::builder().listener(Arc::new(listener)).build();
    let mut image = image(&unique("volume"), vec![Script::new("echo x >/data/lost; echo x >/etc/kept")]);
    image.base = Base::Image(base.clone());
    let builder = builder(DockerImageConfig::default());
    let made = builder.build(&cx, &image).await.unwrap().artifacts.remove(0);
    assert!(warnings.lock().unwrap().iter().any(|w| w.contains("\"warning\"") && w.contains("/data")));
    assert_eq!(docker(&["run", "--rm", &made.id, "sh", "-c", "ls /data; cat /etc/kept"]), "x");
    assert!(builder.remove(&cx, &made).await.unwrap());
    docker(&["rmi", &base]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_the_base_of_another_one() {
    if !engine() {
        return;
    }
    let (cx, name) = (Context::new(), unique("base"));
    let builder = builder(DockerImageConfig::default());
    let first = builder.build(&cx, &image(&name, vec![Script::new(format!("echo {name} >/etc/first"))])).await.unwrap();
    let mut second = image(&format!("{name}-2"), vec![Script::new("cat /etc/first >/etc/second")]);
    second.base = Base::Artifact(Box::new(first.artifacts[0].clone()));
    second.artifacts = vec![ArtifactKind::DockerImage; 2];
    let made = builder.build(&cx, &second).await.unwrap();
    assert_eq!((made.changed, made.artifacts.len()), (2, 2));
    assert_eq!(made.artifacts[0].provenance.base, first.artifacts[0].id);
    assert_eq!(docker(&["run", "--rm", &made.artifacts[0].id, "cat", "/etc/second"]), name);
    let error = builder.remove(&cx, &first.artifacts[0]).await.expect_err("another one is made from it");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(inspect(&first.artifacts[0].id)["RepoTags"][0].is_string(), "and it keeps its name");
    assert!(builder.remove(&cx, &made.artifacts[0]).await.unwrap());
    second.artifacts.clear();
    assert_eq!(builder.build(&cx, &second).await.unwrap().changed, 0, "nothing is wanted, so nothing is made");
    second.base =
        Base::Artifact(Box::new(towpath_core::Artifact { kind: ArtifactKind::Ami, ..first.artifacts[0].clone() }));
    second.artifacts = vec![ArtifactKind::DockerImage];
    assert_eq!(builder.build(&cx, &second).await.expect_err("no image").kind(), ErrorKind::Unsupported);
    assert!(builder.remove(&cx, &first.artifacts[0]).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_others_named_stays_when_it_is_removed() {
    if !engine() {
        return;
    }
    let name = unique("named");
    let warnings = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&warnings);
    let listener = move |e: &Event| seen.lock().unwrap().push(serde_json::to_string(e).unwrap());
    let cx = Context::builder().listener(Arc::new(listener)).build();
    let own = [format!("towpath-test/{name}:1"), format!("towpath-test/{name}-b")];
    let config = DockerImageConfig { tags: own.to_vec(), ..DockerImageConfig::default() };
    let made =
        builder(config.clone()).build(&cx, &image(&name, vec![Script::new(format!("echo {name} >/etc/x"))])).await;
    let artifact = made.unwrap().artifacts.remove(0);
    let release = format!("towpath-test/{name}-release:2");
    docker(&["tag", &artifact.id, &release]);
    // A name that was moved to another image is that one's.
    docker(&["tag", BASE, &own[1]]);
    let user = docker(&["run", "-d", "--init", &release, "sleep", "300"]);
    assert!(builder(config.clone()).remove(&cx, &artifact).await.unwrap(), "its own name is gone");
    assert_eq!(inspect(&artifact.id)["RepoTags"], json!([release]));
    assert!(warnings.lock().unwrap().iter().any(|w| w.contains("\"warning\"") && w.contains(&release)), "{warnings:?}");
    assert_eq!(inspect(&own[1])["Id"], inspect(BASE)["Id"]);
    docker(&["rm", "-f", &user]);
    docker(&["rmi", &own[1]]);
    docker(&["rmi", &release]);
    assert!(!builder(config).remove(&cx, &artifact).await.unwrap(), "with its last name it went");
}
