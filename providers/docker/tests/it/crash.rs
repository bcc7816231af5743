//! Builds and environments that are killed at every point of their journal, and go on in another process.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use towpath_core::{
    Applied, Context, Entry, FaultPoint, Faults, ImageBuilder as _, Journal, MemoryStore, Provisioner as _, Record,
    RunId, Timestamp,
};
use towpath_docker::{DependsOn, DockerEnvironment, DockerEnvironmentConfig, DockerImageConfig};

use crate::environment::sleeper;
use crate::image::{builder, image};
use crate::script::Script;
use crate::{docker, engine, unique};

/// Where the child finds what to do: the journal's file, then the point at which it dies.
const JOURNAL: &str = "TOWPATH_DOCKER_CRASH_JOURNAL";
const POINT: &str = "TOWPATH_DOCKER_CRASH_POINT";
const NAME: &str = "TOWPATH_DOCKER_CRASH_NAME";
const LAYERS: &str = "TOWPATH_DOCKER_CRASH_LAYERS";

fn entries(file: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let records = text.lines().map(|l| serde_json::from_str::<Record>(l).unwrap());
    records.zip(1..).map(|(record, seq)| Entry { seq, at: Timestamp::now(), record }).collect()
}

/// Instead of a number of layers: an environment is made.
const ENVIRONMENT: usize = usize::MAX;

fn provisioner() -> DockerEnvironment {
    let config = DockerEnvironmentConfig::default()
        .volume("data")
        .container("db", sleeper().volume("data", "/data"))
        .container("web", sleeper().after("db", DependsOn::Started));
    DockerEnvironment::new(config).unwrap()
}

fn definition(name: &str, layers: usize) -> towpath_core::ImageDefinition {
    let scripts = [format!("echo {name} >>/etc/first"), "cat /etc/first >>/etc/second".into()];
    image(name, scripts.into_iter().take(layers).map(|s| Script::new(s) as _).collect())
}

/// What the child does: the same build, in the same run, until it dies.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(file) = std::env::var_os(JOURNAL).map(PathBuf::from) else { return };
    let point: usize = std::env::var(POINT).unwrap().parse().unwrap();
    let name = std::env::var(NAME).unwrap();
    let layers = std::env::var(LAYERS).unwrap().parse().unwrap();
    let reached = AtomicUsize::new(0);
    let log = file.clone();
    let faults = Faults::at_every_point(move |at| {
        if let FaultPoint::AfterAppend(record) = at {
            let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
            writeln!(file, "{}", serde_json::to_string(record).unwrap()).unwrap();
        }
        // Before a record is written the world is as it was after what came before.
        let counts = !matches!(at, FaultPoint::BeforeAppend(_));
        if counts && reached.fetch_add(1, Ordering::Relaxed) == point {
            std::process::abort();
        }
    });
    let run = RunId::new();
    let journal = Journal::in_store(Arc::new(MemoryStore::new()), run.clone(), None, &entries(&file), faults);
    let cx = Context::builder().environment(&name).journal(run, journal).build().for_step("step");
    if layers == ENVIRONMENT {
        let applied = provisioner().apply(&cx).await.unwrap();
        return std::fs::write(file.with_extension("done"), json!(applied).to_string()).unwrap();
    }
    let built = builder(DockerImageConfig::default()).build(&cx, &definition(&name, layers)).await.unwrap();
    std::fs::write(file.with_extension("done"), json!(built).to_string()).unwrap();
}

fn run_child(file: &Path, name: &str, layers: usize, point: usize) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(JOURNAL, file)
        .env(POINT, point.to_string())
        .env(NAME, name)
        .env(LAYERS, layers.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.success()
}

/// Temporary containers of this test, by the host name that they have from their image.
fn temporary(name: &str) -> Vec<String> {
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", "label=towpath.build"]);
    let mut found = Vec::new();
    for id in ids.lines() {
        let out =
            Command::new("docker").args(["inspect", "-f", "{{.Config.Hostname}} {{.Name}}", id]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        found.extend(text.strip_prefix(&format!("{name} /")).map(str::to_owned));
    }
    found
}

/// Each crash is one point later than the one before, counted in the process that it ends; what the one before had done stays done.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_again_and_again_comes_to_its_end() {
    if !engine() {
        return;
    }
    let name = unique("crash");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    let mut crashes = 0;
    while !run_child(&file, &name, 2, crashes * 3) {
        crashes += 1;
        assert!(crashes < 60, "it never comes to its end");
        assert!(temporary(&name).len() <= 1, "each process first removes what the one before has left");
    }
    assert!(crashes >= 4, "it was killed only {crashes} times");
    assert_eq!(temporary(&name), Vec::<String>::new(), "nothing is left");
    let built: towpath_core::Built =
        serde_json::from_str(&std::fs::read_to_string(file.with_extension("done")).unwrap()).unwrap();
    let id = &built.artifacts[0].id;
    assert_eq!(
        docker(&["run", "--rm", id, "cat", "/etc/first", "/etc/second"]),
        format!("{name}\n{name}"),
        "done once"
    );
    assert!(builder(DockerImageConfig::default()).remove(&Context::new(), &built.artifacts[0]).await.unwrap());
}

/// Nobody resumes the run: the next build, or a sweep, of anybody on this machine cleans up.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_build_left_is_swept_at_every_point() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cx, builder) = (Context::new(), builder(DockerImageConfig::default()));
    let (mut left, mut point) = (0, 0);
    loop {
        // A name of its own, so that nothing is kept of the one before.
        let name = unique("sweep");
        let file = dir.path().join(format!("journal-{point}"));
        let whole = run_child(&file, &name, 1, point);
        let found = temporary(&name);
        left += found.len();
        let swept = builder.sweep(&cx).await.unwrap();
        for container in &found {
            assert!(!swept.left.contains(container), "its maker is dead: {swept:?}");
        }
        assert_eq!(temporary(&name), Vec::<String>::new(), "after a crash at point {point}");
        let built = builder.build(&cx, &definition(&name, 1)).await.unwrap();
        assert!(!whole || built.changed == 0, "what came to its end is not built again");
        assert!(builder.remove(&cx, &built.artifacts[0]).await.unwrap());
        if whole {
            break;
        }
        point += 1;
        assert!(point < 60, "it never comes to its end");
    }
    assert!(point > 10 && left > 0, "{point} points, {left} containers were left");
}

/// Every process goes on where the one before was killed, and in the end nothing is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_killed_again_and_again_is_whole_in_the_end() {
    if !engine() {
        return;
    }
    let name = unique("killed");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    let mut crashes = 0;
    while !run_child(&file, &name, ENVIRONMENT, crashes) {
        crashes += 1;
        assert!(crashes < 40, "it never comes to its end");
    }
    assert!(crashes >= 4, "it was killed only {crashes} times");
    let applied: Applied =
        serde_json::from_str(&std::fs::read_to_string(file.with_extension("done")).unwrap()).unwrap();
    let addresses: Vec<&str> = applied.environment.resources.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(addresses, ["container db", "container web", "network default", "volume data"]);
    let cx = Context::builder().environment(&name).build();
    assert!(provisioner().plan(&cx).await.unwrap().is_empty(), "nothing is left to do");
    let count = |what: &[&str]| {
        let filter = format!("label=towpath.environment={name}");
        docker(&[what, &["-q", "--filter", &filter]].concat()).lines().count()
    };
    assert_eq!((count(&["ps", "-a"]), count(&["network", "ls"]), count(&["volume", "ls"])), (2, 1, 1));
    assert_eq!(provisioner().destroy(&cx).await.unwrap().changed, 4);
    assert_eq!((count(&["ps", "-a"]), count(&["network", "ls"]), count(&["volume", "ls"])), (0, 0, 0));
}
