//! A cancel is awaited, and leaves nothing.

use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use towpath_core::{Context, ErrorKind, ImageBuilder, ImageDefinition};
use towpath_packer::{Packer, PackerConfig};

use crate::support::{Seen, containers, docker, image, output, packer, packer_and_docker, runs_left, stub, write};

async fn cancelled(builder: &Packer, image: &ImageDefinition, seen: &Seen, when: &str) -> towpath_core::Error {
    let (cx, token) = seen.context().build().child();
    let cancel = async {
        seen.wait_for(when).await;
        token.cancel();
    };
    let (result, ()) = tokio::join!(builder.build(&cx, image), cancel);
    result.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_leaves_no_container() {
    if !packer_and_docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let label = format!("cancel-{}", std::process::id());
    let definition = json!({
        "sources": [docker(&label)],
        "provisioners": [{"type": "shell", "inline": ["echo it has started", "sleep 600"]}],
    });
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let seen = Seen::default();
    let web = image("web", &[]);
    let error = cancelled(&builder, &web, &seen, "it has started").await;
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert_eq!(error.get("still_running"), Some("nothing"), "{error:?}");
    assert!(error.message().contains("cleaned up after its running builds"), "{error:?}");
    assert_eq!(containers(&label), "", "{}", seen.text());
    assert!(runs_left(&dir.path().join("state")).is_empty());
    assert!(builder.recorded(&Context::new(), "web").await.unwrap().is_empty());

    // Whoever wants a look at what is left gets it, and is told.
    let abort = PackerConfig { on_error: towpath_packer::OnError::Abort, ..builder.config().clone() };
    let seen = Seen::default();
    let error = cancelled(&Packer::new(abort).unwrap(), &web, &seen, "it has started").await;
    assert!(error.message().contains("as `on_error` says"), "{error:?}");
    let left = containers(&label);
    assert_ne!(left, "", "{}", seen.text());
    output("docker", &["rm", "-f", &left]);
}

/// A stub, since the real one may need longer than the deadline only to start. Like the real one, and unlike a shell, it hears an interrupt
/// that whoever runs the tests ignores.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_is_a_cancel_too() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"case $1 in
version) echo '1,,version,1.6.6' ;;
build) exec perl -e '$| = 1; $SIG{INT} = sub { print "1,,ui,say,cleaned\n"; exit 1 }; sleep 600' ;;
esac"#;
    let template = write(dir.path(), "t.json", r#"{"builders": []}"#);
    let config = PackerConfig {
        program: stub(dir.path(), script),
        ..PackerConfig::template(template).working_dir(dir.path()).state_dir(dir.path().join("state"))
    };
    let seen = Seen::default();
    let cx = seen.context().build().with_timeout(Duration::from_secs(5));
    let error = Packer::new(config).unwrap().build(&cx, &image("web", &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, towpath_core::Retry::Later), "{error:?}");
    assert_eq!(error.get("still_running"), Some("nothing"), "{error:?}");
    assert!(seen.text().contains("cleaned"), "it was interrupted and waited for: {}", seen.text());
}

/// A packer that does not hear.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!(
        r#"case $1 in
version) echo '1,,version,1.6.6' ;;
build)
  trap '' INT TERM
  sh -c 'echo $$ >>{pids}; trap "" INT; while :; do sleep 1; done' &
  echo $$ >>{pids}
  while [ "$(wc -l <{pids})" -lt 2 ]; do sleep 0.1; done
  echo '1,,ui,say,deaf'
  while :; do sleep 1; done ;;
esac"#,
        pids = pids.display()
    );
    let template = write(dir.path(), "t.json", r#"{"builders": []}"#);
    let config = PackerConfig {
        program: stub(dir.path(), &script),
        cancel_grace_s: 1,
        ..PackerConfig::template(template).working_dir(dir.path()).state_dir(dir.path().join("state"))
    };
    let error = cancelled(&Packer::new(config).unwrap(), &image("web", &[]), &Seen::default(), "deaf").await;
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.message().contains("had to be killed") && error.message().contains("may be left"), "{error:?}");
    assert_eq!(error.get("still_running"), Some("nothing"), "{error:?}");
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        let alive = Command::new("kill").args(["-0", pid]).output().await.unwrap().status.success();
        let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z"));
        assert!(!alive || zombie, "process {pid} is alive");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_of_one_image_take_turns() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let template = r#"{"builders": [{"type": "file", "content": "x", "target": "out.txt"}],
        "provisioners": [{"type": "shell-local", "inline": ["echo once >>count", "sleep 1"]}]}"#;
    let template = write(dir.path(), "t.json", template);
    let config = PackerConfig::template(template).working_dir(dir.path()).state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let (cx, web) = (Context::new(), image("web", &[]));
    let (one, other) = tokio::join!(builder.build(&cx, &web), builder.build(&cx, &web));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.artifacts, other.artifacts);
    assert_eq!(one.changed + other.changed, 1, "the second one found what the first had built");
}
