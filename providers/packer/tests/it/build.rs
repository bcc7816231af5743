//! Files: several builds, records, reuse, what is left of a build that failed.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{
    ArtifactKind, Context, ErrorKind, EventKind, ImageBuilder, Journal, MemoryStore, Record, RunId, Store,
};
use towpath_packer::{Checksum, Definition, File, Manifest, Packer, PackerConfig, PostProcessor, Reuse, Source};

use crate::support::{Seen, image, packer, runs_left, write};

const TWO: &str = r#"{"builders": [
  {"type": "file", "name": "good", "content": "ok", "target": "out/good.txt"},
  {"type": "null", "name": "bad", "communicator": "none"},
  {"type": "null", "name": "worse", "communicator": "none"}],
 "provisioners": [
  {"type": "shell-local", "only": ["bad"], "inline": ["echo one, two", "exit 3"]},
  {"type": "shell-local", "only": ["worse"], "inline": ["exit 4"]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_run_has_built_is_not_lost() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let template = write(dir.path(), "two.json", TWO);
    let config = PackerConfig::template(&template).working_dir(dir.path()).state_dir(dir.path().join("state"));
    let builder = Packer::new(config.clone()).unwrap();
    let seen = Seen::default();
    let store = Arc::new(MemoryStore::new());
    let cx = seen.context().store(Arc::clone(&store) as Arc<dyn Store>).build();
    let error = builder.build(&cx, &image("two", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert!(error.message().starts_with("2 builds failed: `"), "{error:?}");
    assert_eq!(error.get("exit_status"), Some("1"));
    let good = dir.path().join("out/good.txt").display().to_string();
    assert_eq!(error.get("built"), Some(format!("file {good}").as_str()));
    let report = error.report();
    assert!(report.contains("exit status: 3") && report.contains("exit status: 4"), "{report}");
    assert_eq!(report.matches("bad: ").count(), 1, "each error once: {report}");
    let line = EventKind::Output { stream: "stdout".into(), line: "    bad: one, two".into() };
    assert!(seen.events().contains(&line), "{}", seen.text());

    let recorded = builder.recorded(&cx, "two").await.unwrap();
    assert_eq!(recorded.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), [good.as_str()]);
    assert_eq!(store.documents("packer").await.unwrap().len(), 1);
    assert!(runs_left(&dir.path().join("state")).is_empty());
    // It is not taken for the whole image.
    assert_eq!(builder.build(&cx, &image("two", &[])).await.unwrap_err().kind(), ErrorKind::ToolFailed);
    // With the failing builds left out it is another image.
    let only = PackerConfig { only: vec!["good".into()], ..config };
    let built = Packer::new(only).unwrap().build(&cx, &image("two", &[ArtifactKind::File])).await.unwrap();
    assert_eq!((built.changed, built.artifacts[0].id.as_str()), (1, good.as_str()));
    assert!(builder.remove(&cx, &built.artifacts[0]).await.unwrap());
    assert!(builder.recorded(&cx, "two").await.unwrap().is_empty());
    assert!(store.documents("packer").await.unwrap().is_empty());
}

fn two_files() -> Definition {
    let file = |name: &str| {
        Source::File(File {
            name: Some(name.into()),
            target: format!("out/{name}.txt"),
            content: Some("{{user `text`}}, 1\n".into()),
            ..File::default()
        })
    };
    Definition::new([file("a"), file("b")]).post_process([
        PostProcessor::Checksum(Checksum {
            checksum_types: vec!["sha256".into()],
            output: Some("out/{{.BuildName}}.sum".into()),
            ..Checksum::default()
        }),
        PostProcessor::Manifest(Manifest { output: Some("out/manifest.json".into()), ..Manifest::default() }),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn several_artifacts_of_one_run_each_once() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = PackerConfig::definition(two_files())
        .var("text", "hello")
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config.clone()).unwrap();
    let store = Arc::new(MemoryStore::new());
    let cx = Context::builder().store(Arc::clone(&store) as Arc<dyn Store>).build();
    let web = image("web", &[ArtifactKind::File]);
    let built = builder.build(&cx, &web).await.unwrap();
    let mut names: Vec<String> = built.artifacts.iter().map(|a| a.id.rsplit('/').next().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["a.sum", "a.txt", "b.sum", "b.txt"]);
    assert_eq!(built.changed, 4);
    assert_eq!(std::fs::read_to_string(dir.path().join("out/a.txt")).unwrap(), "hello, 1\n");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["builds"].as_array().unwrap().len(), 2);

    // The sums that Packer wrote are ours, too.
    let a = built.artifacts.iter().find(|a| a.id.ends_with("a.txt")).unwrap();
    let sum = std::fs::read_to_string(dir.path().join("out/a.sum")).unwrap();
    assert!(sum.starts_with(a.digest.trim_start_matches("sha256:")), "{sum}");
    // Beside each file is where it came from.
    let beside = std::fs::read(format!("{}.towpath.json", a.id)).unwrap();
    assert_eq!(serde_json::from_slice::<towpath_core::Artifact>(&beside).unwrap(), *a);

    // Another machine's state folder, the same store: it is known there as well.
    let elsewhere = Packer::new(config.clone().state_dir(dir.path().join("other"))).unwrap();
    assert_eq!(elsewhere.build(&cx, &web).await.unwrap().changed, 0);
    let clear = || std::fs::remove_dir_all(dir.path().join("out")).unwrap();
    clear();
    assert_eq!(elsewhere.build(&Context::new(), &web).await.unwrap().changed, 4, "without a store it is not");
    // One file of four torn: all of it is built again. Of checksums Packer 1.6.6 lists only files that are new.
    std::fs::write(dir.path().join("out/b.txt"), "torn").unwrap();
    assert!(!builder.plan(&cx, &web).await.unwrap().is_empty());
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 2);
    assert_eq!(builder.recorded(&cx, "web").await.unwrap().len(), 4, "the others are still known");
    let other = Packer::new(config.clone().var("text", "bye")).unwrap();
    let plan = other.plan(&cx, &web).await.unwrap();
    assert_eq!(plan.changes.len(), 1);
    assert!(!plan.is_empty(), "another variable is another content");
    clear();
    let never = Packer::new(PackerConfig { reuse: Reuse::Never, ..config }).unwrap();
    assert_eq!(never.build(&cx, &web).await.unwrap().changed, 4);

    // A file removed takes the image along, and what is left is still known.
    assert!(builder.remove(&cx, a).await.unwrap());
    assert!(!builder.plan(&cx, &web).await.unwrap().is_empty());
    let left = builder.recorded(&Context::new(), "web").await.unwrap();
    assert!(left.len() == 3 && !left.contains(a), "{left:?}");
    // Somebody else's file is not ours to remove.
    let mut foreign = a.clone();
    foreign.id = write(dir.path(), "foreign.txt", "mine").display().to_string();
    assert_eq!(builder.remove(&cx, &foreign).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(dir.path().join("foreign.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hcl_folder_with_typed_variables() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    write(
        &template,
        "web.pkr.hcl",
        r#"
variable "words" {
  type = list(string)
}
variable "image" {
  type = string
}
variable "base" {
  type = string
}
variable "n" {
  type = number
}
source "file" "web" {
  content = "${var.image} of ${var.base}: ${join("+", var.words)} ${var.n + 1}"
  target  = "out.txt"
}
source "file" "copy" {
  source = "${path.root}/in.txt"
  target = "copy.txt"
}
build {
  sources = ["source.file.web", "source.file.copy"]
}
"#,
    );
    write(&template, "in.txt", "copied");
    let vars = write(dir.path(), "vars.json", r#"{"n": 1, "words": ["from file"]}"#);
    let config = PackerConfig {
        name_var: Some("image".into()),
        base_var: Some("base".into()),
        ..PackerConfig::template(&template)
            .working_dir(dir.path())
            .state_dir(dir.path().join("state"))
            .var_file(&vars)
            .var("words", json!(["a", "${b}"]))
    };
    let builder = Packer::new(config).unwrap();
    let cx = Context::new();
    let web = image("web", &[]);
    let built = builder.build(&cx, &web).await.unwrap();
    assert_eq!(built.artifacts.len(), 2);
    let text = std::fs::read_to_string(dir.path().join("out.txt")).unwrap();
    assert_eq!(text, "web of towpath/debian:bookworm-5: a+${b} 2", "`vars` win over files, and are never templates");
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 0);
    write(&template, "in.txt", "changed");
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 2, "a file that the template names");
    let error = builder.build(&cx, &image("web", &[ArtifactKind::Ami])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("makes no `ami`") && error.to_string().contains("copy.txt"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_later_build_has_written_is_not_removed() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let builder = |text: &str| {
        let file = File { target: "out.txt".into(), content: Some("{{user `text`}}".into()), ..File::default() };
        let config = PackerConfig::definition(Definition::new([Source::File(file)])).var("text", text);
        Packer::new(config.working_dir(dir.path()).state_dir(dir.path().join("state"))).unwrap()
    };
    let cx = Context::new();
    let web = image("web", &[ArtifactKind::File]);
    let beside = dir.path().join("out.txt.towpath.json");
    for with_file_beside in [true, false] {
        let one = builder("one").build(&cx, &web).await.unwrap().artifacts.remove(0);
        let two = builder("two").build(&cx, &web).await.unwrap().artifacts.remove(0);
        assert_eq!(one.id, two.id);
        if !with_file_beside {
            std::fs::remove_file(&beside).unwrap();
        }
        assert!(!builder("one").remove(&cx, &one).await.unwrap(), "it is gone already");
        assert_eq!(std::fs::read_to_string(&two.id).unwrap(), "two");
        assert_eq!(builder("one").recorded(&cx, "web").await.unwrap(), std::slice::from_ref(&two));
        assert_eq!(builder("two").build(&cx, &web).await.unwrap().changed, 0);
        assert!(builder("one").remove(&cx, &two).await.unwrap());
        assert!(!beside.exists() && builder("one").recorded(&cx, "web").await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_of_files_that_changed_meanwhile_is_not_taken_again() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/a", "1");
    let template = r#"{"builders": [{"type": "file", "content": "x", "target": "out.txt"}],
        "provisioners": [{"type": "shell-local", "inline": ["echo 2 >in/a"]}]}"#;
    let template = write(dir.path(), "t.json", template);
    let mut config = PackerConfig::template(template).working_dir(dir.path()).state_dir(dir.path().join(".towpath"));
    config.key_files.push("in".into());
    let builder = Packer::new(config).unwrap();
    let seen = Seen::default();
    let cx = seen.context().build();
    let web = image("web", &[ArtifactKind::File]);
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 1);
    assert!(seen.text().contains("were changed while it was built"), "{}", seen.text());
    // Of the second one it is known what it was made of: nothing has changed.
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 1);
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 0);
    // Nor did the first one come back with its content.
    write(dir.path(), "in/a", "1");
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 1);
}

/// A run that was killed after its build had been written down, and before its journal or its listeners knew.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_says_what_it_had_made() {
    if !packer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = PackerConfig::definition(two_files())
        .var("text", "hello")
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let web = image("web", &[ArtifactKind::File]);
    let run = RunId::new();
    let made = |seen: &Seen| {
        let subject = |e: EventKind| match e {
            EventKind::Change { change, made: true } => Some(change.subject),
            _ => None,
        };
        let mut all: Vec<String> = seen.events().into_iter().filter_map(subject).collect();
        all.sort();
        all
    };
    let first = Seen::default();
    let built = builder.build(&first.context().journal(run.clone(), Journal::in_memory()).build(), &web).await.unwrap();
    assert_eq!((built.changed, made(&first).len()), (4, 4));

    let key = &built.artifacts[0].provenance.content_key;
    let intent = Record::EffectIntent { path: format!("build/{key}"), intent: json!({}) };
    let done = Record::EffectDone {
        path: format!("build/{key}"),
        result: json!({"artifacts": built.artifacts, "built": true}),
    };
    for records in [vec![intent.clone()], vec![intent, done]] {
        let journal = Journal::in_memory();
        journal.append(records.clone()).await.unwrap();
        let again = Seen::default();
        let found = builder.build(&again.context().journal(run.clone(), journal).build(), &web).await.unwrap();
        assert_eq!(found, built, "{records:?}");
        assert_eq!(made(&again), made(&first), "{records:?}");
    }
    // What another run has made is reused, and no news.
    let other = Seen::default();
    let cx = other.context().journal(RunId::new(), Journal::in_memory()).build();
    let reused = builder.build(&cx, &web).await.unwrap();
    assert_eq!((reused.changed, made(&other)), (0, Vec::new()));
    // So it is in another step of the same run.
    let step = Seen::default();
    let cx = step.context().journal(run, Journal::in_memory()).build().for_step("again");
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 0);
    assert_eq!(made(&step), Vec::<String>::new());
}
