//! Images from a Dockerfile.

use std::sync::{Arc, Mutex};

use towpath_core::{Base, Context, ErrorKind, Event, ImageBuilder as _};
use towpath_docker::{DockerImageConfig, DockerfileConfig};

use crate::image::{builder, image};
use crate::script::Script;
use crate::{docker, engine, unique};

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
