//! Runs that nobody waits for any more: what becomes of them, and of what they made.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use towpath_core::{Artifact, Context, Error, ErrorKind, ImageBuilder, ImageDefinition};
use towpath_packer::{Packer, PackerConfig};

use crate::support::{Seen, containers, docker, image, packer_and_docker, runs_left, stub, write};

/// Drops a build when it has said this.
async fn dropped(builder: &Packer, image: &ImageDefinition, when: &str) {
    let seen = Seen::default();
    let cx = seen.context().build();
    tokio::select! {
        result = builder.build(&cx, image) => panic!("it has ended by itself: {result:?}"),
        () = seen.wait_for(when) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_dropped_is_cleaned_up_by_the_next() {
    if !packer_and_docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let label = format!("dropped-{}", std::process::id());
    let builder = |inline: &[&str]| {
        let definition = json!({"sources": [docker(&label)], "provisioners": [{"type": "shell", "inline": inline}]});
        let mut source = definition;
        source["sources"][0].as_object_mut().unwrap().remove("commit");
        source["sources"][0]["discard"] = json!(true);
        let config = PackerConfig::definition(serde_json::from_value(source).unwrap());
        Packer::new(config.working_dir(dir.path()).state_dir(&state).var("word", "x")).unwrap()
    };
    let web = image("web", &[]);
    dropped(&builder(&["echo it has started", "sleep 600"]), &web, "it has started").await;
    let left = runs_left(&state);
    assert_eq!(left.len(), 1, "nobody has seen its end");
    assert!(!state.join("web").join(&left[0]).join("vars.json").exists());

    let seen = Seen::default();
    builder(&["true"]).build(&seen.context().build(), &web).await.unwrap();
    assert_eq!(containers(&label), "", "{}", seen.text());
    assert!(runs_left(&state).is_empty());
    assert!(seen.text().contains("towpath was gone while packer was building"), "{}", seen.text());
}

/// Does not hear an interrupt, makes `<n>.txt` of a template with this `n` when `go` is there, and counts its builds.
fn deaf(dir: &Path) -> PathBuf {
    let script = r#"case $1 in
version) echo '1,,version,1.6.6' ;;
build)
  trap '' INT
  for last; do :; done
  n=$(sed -n 's/.*"n": "\([a-z]*\)".*/\1/p' "$last")
  echo "$n" >>built
  echo '1,,ui,say,deaf'
  while [ ! -e go ]; do sleep 0.05; done
  if [ "$n" = bad ]; then echo '1,x,error,bad'; exit 1; fi
  echo "$n" >"$n.txt"
  printf '%s\n' '1,x,artifact-count,1' '1,x,artifact,0,builder-id,packer.file' '1,x,artifact,0,id,File' \
    "1,x,artifact,0,string,Stored file: $n.txt" '1,x,artifact,0,files-count,1' "1,x,artifact,0,file,0,$n.txt" \
    '1,x,artifact,0,end'
  echo end >>ended ;;
esac"#;
    stub(dir, script)
}

struct Deaf {
    dir: tempfile::TempDir,
}

impl Deaf {
    fn new() -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        deaf(this.path());
        this
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Builds a template with this `n`.
    fn of(&self, n: &str) -> Packer {
        let template = write(self.path(), "t.json", &format!("{{\"builders\": [], \"n\": \"{n}\"}}\n"));
        let config = PackerConfig {
            program: self.path().join("bin/packer"),
            cancel_grace_s: 60,
            ..PackerConfig::template(template).working_dir(self.path()).state_dir(self.state())
        };
        Packer::new(config).unwrap()
    }

    fn go(&self) {
        write(self.path(), "go", "");
    }

    /// Waits until the dropped build has gone on to its end.
    async fn ended(&self) {
        for _ in 0..1200 {
            if self.path().join("ended").exists() && !locked(&self.output()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not end");
    }

    fn output(&self) -> PathBuf {
        self.state().join("web").join(runs_left(&self.state()).pop().unwrap()).join("stdout")
    }

    fn built(&self) -> Vec<String> {
        std::fs::read_to_string(self.path().join("built")).unwrap().lines().map(str::to_owned).collect()
    }

    async fn recorded(&self) -> Vec<String> {
        let all = self.of("one").recorded(&Context::new(), "web").await.unwrap();
        all.iter().map(|a| a.id.rsplit('/').next().unwrap().to_owned()).collect()
    }

    async fn build(&self, n: &str) -> Result<(Vec<Artifact>, usize), Error> {
        let built = self.of(n).build(&Context::new(), &image("web", &[])).await?;
        Ok((built.artifacts, built.changed))
    }
}

/// Says so without a lock of its own, which somebody could take for the owner's.
fn is_held(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let inode = format!(":{} ", path.metadata().unwrap().ino());
    std::fs::read_to_string("/proc/locks").unwrap().contains(&inode)
}

fn locked(path: &Path) -> bool {
    File::open(path).unwrap().try_lock().is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finished_without_us_is_kept_for_its_own_definition() {
    let deaf = Deaf::new();
    dropped(&deaf.of("one"), &image("web", &[]), "deaf").await;
    deaf.go();
    deaf.ended().await;

    // The definition has changed since.
    let (two, changed) = deaf.build("two").await.unwrap();
    assert_eq!((two.len(), changed), (1, 1));
    assert!(two[0].id.ends_with("/two.txt"), "{two:?}");
    assert!(deaf.path().join("one.txt").exists(), "what had finished is not destroyed");
    assert!(runs_left(&deaf.state()).is_empty());
    // And has come back.
    let (one, changed) = deaf.build("one").await.unwrap();
    assert!(one.len() == 1 && changed == 0 && one[0].id.ends_with("/one.txt"), "{one:?}");
    assert_ne!(one[0].provenance.content_key, two[0].provenance.content_key);
    assert_eq!(deaf.built(), ["one", "two"], "each was built once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_loses_nothing_that_it_took_over() {
    let deaf = Deaf::new();
    dropped(&deaf.of("one"), &image("web", &[]), "deaf").await;
    deaf.go();
    deaf.ended().await;
    let error = deaf.build("bad").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert_eq!(deaf.recorded().await, ["one.txt"]);
    assert_eq!(deaf.build("one").await.unwrap().1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_since_is_not_taken() {
    let deaf = Deaf::new();
    dropped(&deaf.of("one"), &image("web", &[]), "deaf").await;
    deaf.go();
    deaf.ended().await;
    let plan = deaf.of("one").plan(&Context::new(), &image("web", &[])).await.unwrap();
    assert!(plan.warnings.iter().any(|w| w.contains("whose towpath is gone is left")), "{plan:?}");
    write(deaf.path(), "one.txt", "somebody else's");
    let (one, changed) = deaf.build("one").await.unwrap();
    assert_eq!(changed, 1);
    assert_eq!(std::fs::read_to_string(&one[0].id).unwrap(), "one\n");
    assert_eq!(deaf.built(), ["one", "one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_the_middle_of_taking_over_loses_nothing() {
    let deaf = Deaf::new();
    let web = image("web", &[]);
    dropped(&deaf.of("one"), &web, "deaf").await;
    let (cx, token) = Context::new().child();
    let two = deaf.of("two");
    let cancel = async {
        // The first is waited for as soon as its folder is somebody's.
        let folder = deaf.output().with_file_name("lock");
        while !is_held(&folder) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        token.cancel();
    };
    let (result, ()) = tokio::join!(two.build(&cx, &web), cancel);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(error.get("still_running").is_some_and(|s| s.contains("process")), "{error:?}");
    assert_eq!(runs_left(&deaf.state()).len(), 1, "it is known still");
    deaf.go();
    deaf.ended().await;
    assert_eq!(deaf.build("two").await.unwrap().1, 1);
    assert_eq!(deaf.build("one").await.unwrap().1, 0, "it had finished in the meantime");
    assert_eq!(deaf.built(), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_can_not_be_ended_is_not_forgotten() {
    let deaf = Deaf::new();
    dropped(&deaf.of("one"), &image("web", &[]), "deaf").await;
    deaf.go();
    deaf.ended().await;
    // As if it ran on another machine that has the same folder.
    let elsewhere = File::open(deaf.output()).unwrap();
    elsewhere.try_lock().unwrap();
    for _ in 0..2 {
        let error = deaf.build("two").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert!(error.get("still_running").unwrap().contains("another machine"), "{error:?}");
        assert_eq!(runs_left(&deaf.state()).len(), 1);
    }
    assert_eq!(deaf.recorded().await, ["one.txt"]);
    drop(elsewhere);
    assert_eq!(deaf.build("two").await.unwrap().1, 1);
    assert!(runs_left(&deaf.state()).is_empty());
    assert_eq!(deaf.build("one").await.unwrap().1, 0);
}
