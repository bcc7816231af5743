//! towpath dies at every point of its journal, and at moments spread over a build. The next run of the pipeline ends well each
//! time, and nothing is left.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use towpath_core::pipeline::{Engine, ImageSpec, Pipeline, PipelineBuilder, ProviderSpec, RunOptions};
use towpath_core::{Artifact, ArtifactKind, EventKind, FaultPoint, Faults, RunFilter, RunState, StepState};

use crate::crash::is_running;
use crate::support::{Seen, packer, runs_left, write};

const DIR: &str = "TOWPATH_PACKER_POINTS_DIR";
const AT: &str = "TOWPATH_PACKER_POINTS_AT";

const TEMPLATE: &str = r#"{"builders": [{"type": "file", "content": "x", "target": "out.txt"}],
 "provisioners": [{"type": "shell-local", "inline": ["echo run >>count", "sleep 0.3"]}],
 "post-processors": [{"type": "checksum", "output": "out.sum"}]}"#;

fn pipeline(dir: &Path) -> Pipeline {
    let config = json!({"template": dir.join("t.json"), "working_dir": dir, "state_dir": dir.join("state")});
    let p = PipelineBuilder::new("bake");
    let image = ImageSpec::from_image("web", "none".to_owned()).artifact(ArtifactKind::File);
    let _ = p.build_image("image", ProviderSpec::new("packer", config), image);
    p.finish()
}

async fn engine(dir: &Path) -> Engine {
    let store = towpath::open_store(&format!("sqlite:{}", dir.join("store.db").display())).await.unwrap();
    Engine::new(Arc::new(towpath::registry()), store)
}

/// Not a test of its own: the process that dies.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let at: usize = std::env::var(AT).unwrap().parse().unwrap();
    let count = AtomicUsize::new(0);
    let faults = Faults::at_every_point(move |_: &FaultPoint<'_>| {
        if count.fetch_add(1, Ordering::SeqCst) + 1 == at {
            std::process::abort();
        }
    });
    engine(&dir).await.faults(faults).run(&pipeline(&dir), RunOptions::default()).await.unwrap();
}

fn start(dir: &Path, at: usize) -> std::process::Child {
    write(dir, "t.json", TEMPLATE);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash_points::child", "--nocapture"]).env(DIR, dir).env(AT, at.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn ends_well(dir: &Path, when: &str) {
    let seen = Seen::default();
    let engine = engine(dir).await.listener(seen.listener());
    let tokens = runs_left(&dir.join("state"));
    let report = engine.run(&pipeline(dir), RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done, "{when}: {report:?}");
    let runs = engine.store().runs(&RunFilter::default(), 9).await.unwrap();
    assert!(runs.iter().all(|r| r.state == RunState::Done), "{when}: {runs:?}");
    assert!(engine.store().leases().await.unwrap().is_empty(), "{when}: a lease is left");
    let outputs = &report.step("image").unwrap().outputs;
    let file: Artifact = serde_json::from_value(outputs["file"].clone()).unwrap();
    assert!(file.id.ends_with("/out.txt"), "{when}: the file comes before its checksum: {file:?}");
    assert_eq!(Artifact::of_file("web", &file.id).unwrap().digest, file.digest, "{when}");
    assert!(runs_left(&dir.join("state")).is_empty(), "{when}: a folder of a run is left");
    for token in tokens {
        assert!(!is_running(&token), "{when}: a process is left");
    }
    if runs.len() == 1 {
        // Whoever watches this process only is told what the run has made, if its step was not finished before.
        let events = seen.events();
        let step_went_on = events.iter().any(|e| matches!(e, EventKind::StepStarted { .. }));
        let told = |e: &EventKind| matches!(e, EventKind::Change { change, made: true } if change.subject == format!("file {}", file.id));
        assert_eq!(events.iter().any(told), step_went_on, "{when}: {}", seen.text());
        let state = report.step("image").unwrap().state;
        assert_eq!(state, Some(StepState::Done), "{when}: the run has built it, whichever process did");
    }
    let built = std::fs::read_to_string(dir.join("count")).unwrap().lines().count();
    assert!((1..=2).contains(&built), "{when}: built {built} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_point_of_the_journal() {
    if !packer() {
        return;
    }
    let mut crashes = 0;
    for at in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let status: ExitStatus = start(dir.path(), at).wait().unwrap();
        if status.success() {
            break;
        }
        crashes += 1;
        ends_well(dir.path(), &format!("at point {at}")).await;
    }
    assert!(crashes >= 10, "only {crashes} points were reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_any_moment_of_a_build() {
    if !packer() {
        return;
    }
    // The whole takes about a second and a half; a step that is no divisor of anything in it.
    let step = if std::env::var_os("TOWPATH_TEST_FULL").is_some() { 37 } else { 230 };
    for after in (step..1700).step_by(step) {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(dir.path(), 0);
        tokio::time::sleep(Duration::from_millis(after as u64)).await;
        let _ = child.kill(); // SIGKILL; it may have ended by itself
        child.wait().unwrap();
        ends_well(dir.path(), &format!("after {after} ms")).await;
    }
}
