//! towpath is killed in the middle of a build. The next run of the pipeline finds what goes on, and what was built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_core::pipeline::{Engine, ImageSpec, Pipeline, PipelineBuilder, ProviderSpec, RunOptions};
use towpath_core::testkit::SSHD_IMAGE;
use towpath_core::{Artifact, ArtifactKind, RunFilter, RunState};

use crate::support::{Images, Seen, containers, docker, output, packer_and_docker, runs_left, write};

const DIR: &str = "TOWPATH_PACKER_CRASH_DIR";

/// The provisioner counts its runs, and waits until it may go on.
fn pipeline(dir: &Path) -> Pipeline {
    pipeline_of(dir, "")
}

fn pipeline_of(dir: &Path, more: &str) -> Pipeline {
    let label = dir.file_name().unwrap().to_str().unwrap();
    let mut source = docker(label);
    source["volumes"] = json!({dir.join("shared").display().to_string(): "/shared"});
    let wait = format!("echo run >>/shared/count; while [ ! -e /shared/go ]; do sleep 0.1; done{more}");
    let config = json!({
        "definition": {"sources": [source], "provisioners": [{"type": "shell", "inline": [wait]}]},
        "secret_vars": {"token": {"file": dir.join("token")}},
        "working_dir": dir, "state_dir": dir.join("state"), "cancel_grace_s": 60,
    });
    let p = PipelineBuilder::new("bake");
    let image = ImageSpec::from_image("web", SSHD_IMAGE.to_owned()).artifact(ArtifactKind::DockerImage);
    let _ = p.build_image("image", ProviderSpec::new("packer", config), image);
    p.finish()
}

async fn engine(dir: &Path, seen: &Seen) -> Engine {
    let store = towpath::open_store(&format!("sqlite:{}", dir.join("store.db").display())).await.unwrap();
    Engine::new(Arc::new(towpath::registry()), store).listener(seen.listener())
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    if let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) {
        let engine = engine(&dir, &Seen::default()).await;
        engine.run(&pipeline(&dir), RunOptions::default()).await.unwrap();
    }
}

/// Starts the child, and kills it when the container is being provisioned.
async fn crash(dir: &Path) {
    std::fs::create_dir_all(dir.join("shared")).unwrap();
    write(dir, "token", "of-the-crash");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(DIR, dir)
        .spawn()
        .unwrap();
    for _ in 0..1200 {
        if dir.join("shared/count").exists() {
            child.kill().unwrap(); // SIGKILL
            child.wait().unwrap();
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    panic!("the container was never provisioned");
}

fn runs(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("shared/count")).unwrap().lines().count()
}

async fn resume(dir: &Path, seen: &Seen) -> (Vec<Artifact>, Images) {
    let engine = engine(dir, seen).await;
    let report = engine.run(&pipeline(dir), RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let all = engine.store().runs(&RunFilter::default(), 9).await.unwrap();
    assert_eq!(all.len(), 1, "the crash was continued, not started anew");
    let outputs = &report.step("image").unwrap().outputs;
    let artifacts: Vec<Artifact> = serde_json::from_value(outputs["artifacts"].clone()).unwrap();
    let images = Images(artifacts.iter().map(|a| a.id.clone()).collect());
    (artifacts, images)
}

/// Whether a process carries the token of the run with this folder.
pub(crate) fn is_running(folder: &str) -> bool {
    let token = folder.trim_start_matches("run-").split('~').next().unwrap();
    let carries = |environ: Vec<u8>| String::from_utf8_lossy(&environ).contains(token);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|p| std::fs::read(p.path().join("environ")).is_ok_and(carries))
}

fn folder() -> tempfile::TempDir {
    // A lower-case name, as a label.
    tempfile::Builder::new().prefix("packer-crash-").rand_bytes(0).suffix(&format!("{:x}", rand())).tempdir().unwrap()
}

fn rand() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_goes_on_is_ended_and_done_again() {
    if !packer_and_docker() {
        return;
    }
    let dir = folder();
    crash(dir.path()).await;
    let label = dir.path().file_name().unwrap().to_str().unwrap();
    assert_ne!(containers(label), "", "packer goes on without towpath");
    assert_eq!(runs_left(&dir.path().join("state")).len(), 1);

    // The next run interrupts it before it starts its own, which may then go on.
    let seen = Seen::default();
    let go = async {
        seen.wait_for("cleaned up after its running builds").await;
        write(dir.path(), "shared/go", "");
    };
    let ((artifacts, _images), ()) = tokio::join!(resume(dir.path(), &seen), go);
    assert_eq!(runs(dir.path()), 2);
    assert_eq!(containers(label), "", "neither run left a container");
    assert_eq!(artifacts.len(), 1);
    assert_eq!(output("docker", &["image", "inspect", "-f", "{{.Id}}", &artifacts[0].id]), artifacts[0].digest);
    assert!(runs_left(&dir.path().join("state")).is_empty(), "and no file with variables");
}

/// Crashes, and lets Packer go on to its end: its output is a file, so that it can write.
async fn finished_without_towpath(dir: &Path) {
    crash(dir).await;
    let label = dir.file_name().unwrap().to_str().unwrap();
    write(dir, "shared/go", "");
    let run = runs_left(&dir.join("state")).pop().unwrap();
    for _ in 0..600 {
        if !is_running(&run) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(containers(label), "", "packer has ended, and cleaned up as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_finished_without_towpath_is_kept_for_its_definition() {
    if !packer_and_docker() {
        return;
    }
    let dir = folder();
    finished_without_towpath(dir.path()).await;
    // Somebody else builds another definition of the image first.
    let store = towpath::open_store(&format!("sqlite:{}", dir.path().join("other.db").display())).await.unwrap();
    let seen = Seen::default();
    let other = Engine::new(Arc::new(towpath::registry()), store).listener(seen.listener());
    let report = other.run(&pipeline_of(dir.path(), "; echo changed"), RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let changed: Vec<Artifact> =
        serde_json::from_value(report.step("image").unwrap().outputs["artifacts"].clone()).unwrap();
    let _changed = Images(changed.iter().map(|a| a.id.clone()).collect());
    assert!(seen.text().contains("is kept for when its definition comes back"), "{}", seen.text());
    assert_eq!(runs(dir.path()), 2);

    // The run that was killed goes on: its image is there.
    let seen = Seen::default();
    let (artifacts, _images) = resume(dir.path(), &seen).await;
    assert_eq!(runs(dir.path()), 2, "it was not built a second time");
    assert_ne!(artifacts[0].id, changed[0].id);
    assert_ne!(artifacts[0].provenance.content_key, changed[0].provenance.content_key);
    assert!(seen.text().contains(&format!("docker_image {}", artifacts[0].id)), "it is told: {}", seen.text());
    assert_eq!(output("docker", &["image", "inspect", "-f", "{{.Id}}", &artifacts[0].id]), artifacts[0].digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_finished_without_towpath_is_taken() {
    if !packer_and_docker() {
        return;
    }
    let dir = folder();
    finished_without_towpath(dir.path()).await;
    let seen = Seen::default();
    let (artifacts, _images) = resume(dir.path(), &seen).await;
    assert_eq!(runs(dir.path()), 1, "it was not built a second time");
    assert!(seen.text().contains("what it built is taken"), "{}", seen.text());
    assert_eq!(output("docker", &["image", "inspect", "-f", "{{.Id}}", &artifacts[0].id]), artifacts[0].digest);
    assert!(runs_left(&dir.path().join("state")).is_empty());
}
