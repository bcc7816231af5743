//! Images from a Dockerfile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bollard::Docker;
use bollard::models::ContainerConfig;
use bollard::query_parameters::{CommitContainerOptions, RemoveImageOptions};
use towpath_core::{Base, Context, ErrorKind, Event, ImageBuilder as _};
use towpath_docker::{DockerImageConfig, DockerfileConfig};

use crate::image::{builder, image};
use crate::script::Script;
use crate::{docker, engine, unique, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_is_built_once_and_again_after_a_change() {
    if !engine() {
        return;
    }
    let (name, dir) = (unique("file"), tempfile::tempdir().unwrap());
    let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
    std::fs::create_dir(dir.path().join("docs")).unwrap();
    write(
        "Dockerfile",
        "ARG BASE\nFROM ${BASE} AS made\nARG WORD=none\nRUN echo \"$WORD\" >/etc/word\nCOPY . /srv/\nCMD [\"ls\", \"/srv\"]\n\
                         FROM made AS other\nRUN exit 9\n",
    );
    write(".dockerignore", "docs\n*.log\n");
    write("docs/big", "left out");
    write("a.log", "left out");
    write("page", "first");
    let file = DockerfileConfig {
        context: dir.path().into(),
        args: [("WORD".to_owned(), name.clone())].into(),
        target: Some("made".into()),
        ..DockerfileConfig::default()
    };
    let output = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&output);
    let listener = move |e: &Event| seen.lock().unwrap().push_str(&serde_json::to_string(e).unwrap());
    let cx = Context::builder().listener(Arc::new(listener)).build();
    let config = DockerImageConfig::default().dockerfile(file.clone());
    let builder_of = |config: &DockerImageConfig| builder(config.clone());
    let definition = image(&name, Vec::new());
    let first = builder_of(&config).build(&cx, &definition).await.unwrap();
    assert_eq!(first.changed, 1);
    assert!(output.lock().unwrap().contains("COPY . /srv/"), "the build's output is shown");
    let id = &first.artifacts[0].id;
    assert_eq!(docker(&["run", "--rm", id]), "Dockerfile\npage");
    assert_eq!(docker(&["run", "--rm", id, "cat", "/etc/word", "/srv/page"]), format!("{name}\nfirst"));
    let label = docker(&["inspect", "-f", "{{index .Config.Labels \"towpath.base\"}}", id]);
    assert_eq!(label, crate::BASE);
    assert_eq!(builder_of(&config).build(&cx, &definition).await.unwrap().changed, 0);
    write("docs/big", "another, left out as well");
    assert!(builder_of(&config).plan(&cx, &definition).await.unwrap().is_empty(), "it is no part of the context");
    write("page", "second");
    let second = builder_of(&config).build(&cx, &definition).await.unwrap();
    assert_eq!(second.changed, 1);
    assert_eq!(docker(&["run", "--rm", &second.artifacts[0].id, "cat", "/srv/page"]), "second");

    // The last stage fails.
    let failing = DockerImageConfig::default().dockerfile(DockerfileConfig { target: None, ..file.clone() });
    let error = builder_of(&failing).build(&cx, &definition).await.expect_err("RUN exit 9");
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert!(error.report().contains("exit 9"), "{error:?}");
    let both = image(&name, vec![Script::new(":")]);
    let error = builder_of(&config).build(&cx, &both).await.expect_err("both ways at once");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let mut scratch = definition.clone();
    scratch.base = Base::Image("scratch".into());
    write("Dockerfile", "FROM scratch\nCOPY page /page\n");
    let plain = DockerImageConfig::default().dockerfile(DockerfileConfig { target: None, ..file });
    let third = builder_of(&plain).build(&cx, &scratch).await.unwrap();
    assert_eq!(third.artifacts[0].provenance.base, "scratch");
    for made in [&first, &second, &third] {
        assert!(builder_of(&config).remove(&cx, &made.artifacts[0]).await.unwrap());
    }
}

#[tokio::test]
async fn a_dockerfile_outside_its_context_is_refused() {
    for path in ["/etc/passwd", "../Dockerfile", ""] {
        let file = DockerfileConfig { path: path.into(), ..DockerfileConfig::default() };
        let config = DockerImageConfig::default().dockerfile(file);
        let error = towpath_docker::DockerImageBuilder::new(config).expect_err(path);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
}

fn dockerfile(text: &str) -> (tempfile::TempDir, DockerImageConfig) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), text).unwrap();
    let file = DockerfileConfig { context: dir.path().into(), ..DockerfileConfig::default() };
    (dir, DockerImageConfig::default().dockerfile(file))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_and_pruned_since_is_built_again() {
    if !engine() {
        return;
    }
    let (cx, name) = (crate::registry::in_a_run(), unique("rebuilt"));
    let (_dir, config) = dockerfile(&format!("ARG BASE\nFROM ${{BASE}}\nRUN echo {name} >/etc/word\n"));
    let definition = image(&name, Vec::new());
    for _ in 0..3 {
        let made = builder(config.clone()).build(&cx, &definition).await.unwrap().artifacts.remove(0);
        assert_eq!(docker(&["run", "--rm", &made.id, "cat", "/etc/word"]), name);
        // The image, and all that it was made from, which the journal says was built.
        assert!(builder(config.clone()).remove(&Context::new(), &made).await.unwrap());
    }
}

/// Makes images of the base, and removes them one after the other, until it is told to stop.
async fn make_and_remove(container: &str, stop: &AtomicBool) {
    let engine = Docker::connect_with_socket_defaults().unwrap();
    while !stop.load(Ordering::Relaxed) {
        let mut made = Vec::new();
        for _ in 0..40 {
            let labels = [("towpath-test".to_owned(), unique("beside"))].into();
            let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
            let options = CommitContainerOptions { container: Some(container.into()), ..Default::default() };
            made.push(engine.commit_container(options, config).await.unwrap().id);
        }
        for id in made {
            engine.remove_image(&id, None::<RemoveImageOptions>, None).await.unwrap();
        }
    }
}

/// The engine looks for a step among all images of the base, and fails if one of them is removed while it does, which not every build
/// meets. As many are built as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_beside_removals_of_images_of_its_base_starts_again() {
    if !engine() || std::env::var_os("TOWPATH_TEST_FULL").is_none() {
        return;
    }
    let lost = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&lost);
    let listener = move |e: &Event| {
        let text = serde_json::to_string(e).unwrap();
        seen.fetch_or(text.contains("the build starts again"), Ordering::Relaxed);
    };
    let cx = Context::builder().listener(Arc::new(listener)).build();
    let base = crate::Container { id: docker(&["create", "--label", "towpath-test", crate::BASE]) };
    let build = async {
        let name = unique("crowded");
        for n in 0..5000 {
            let (_dir, config) = dockerfile(&format!("ARG BASE\nFROM ${{BASE}}\nLABEL n={n}\n"));
            let made = builder(config.clone()).build(&cx, &image(&name, Vec::new())).await.unwrap().artifacts.remove(0);
            assert!(builder(config).remove(&cx, &made).await.unwrap());
            if lost.load(Ordering::Relaxed) {
                return;
            }
        }
        panic!("the engine lost no image in 5000 builds");
    };
    tokio::join!(build, make_and_remove(&base.id, &lost), make_and_remove(&base.id, &lost));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_is_ended_by_the_engine_as_the_error_says() {
    if !engine() {
        return;
    }
    let (cx, name) = (Context::new(), unique("slow"));
    let (_dir, config) = dockerfile(&format!("ARG BASE\nFROM ${{BASE}}\nRUN sleep 300; echo {name}\n"));
    let definition = image(&name, Vec::new());
    let (child, token) = cx.child();
    let building = tokio::spawn(async move { builder(config).build(&child, &definition).await });
    let runs = || docker(&["ps", "--no-trunc", "--format", "{{.Command}}"]).contains(&name);
    until("its step runs", runs).await;
    token.cancel();
    let error = building.await.unwrap().expect_err("cancelled");
    assert_eq!((error.kind(), error.get("file")), (ErrorKind::Cancelled, Some("Dockerfile")), "{error:?}");
    assert!(error.message().contains("end the build") && !error.message().contains("nothing is running"), "{error:?}");
    until("the engine has ended its step", || !runs()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_none_is_told_before_anything_is_pulled() {
    if !engine() {
        return;
    }
    // Nobody listens there: to pull the base would fail in another way.
    let (_dir, config) = dockerfile("ARG BASE\nFROM ${BASE}\nFROM Not/A/Reference\n");
    let mut definition = image("web", Vec::new());
    definition.base = Base::Image("127.0.0.1:9/Base".into());
    for wrong in ["a base", "a FROM"] {
        let error = builder(config.clone()).build(&Context::new(), &definition).await.expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}: {error:?}");
        assert!(error.message().contains("lower-case"), "{wrong}: {error:?}");
        definition.base = Base::Image(crate::BASE.into());
    }
}
