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
use towpath_docker::{
    ContainerSpec, DependsOn, DockerEnvironment, DockerEnvironmentConfig, DockerImageConfig, NetworkSpec,
};

use crate::environment::sleeper;
use crate::image::{builder, image};
use crate::script::Script;
use crate::{docker, engine, unique};

/// Where the child finds what to do: the journal's file, then the point at which it dies.
const JOURNAL: &str = "TOWPATH_DOCKER_CRASH_JOURNAL";
const POINT: &str = "TOWPATH_DOCKER_CRASH_POINT";
const NOTE: &str = "TOWPATH_DOCKER_CRASH_NOTE";
const NAME: &str = "TOWPATH_DOCKER_CRASH_NAME";
const LAYERS: &str = "TOWPATH_DOCKER_CRASH_LAYERS";

fn entries(file: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let records = text.lines().map(|l| serde_json::from_str::<Record>(l).unwrap());
    records.zip(1..).map(|(record, seq)| Entry { seq, at: Timestamp::now(), record }).collect()
}

/// Instead of a number of layers: an environment is made.
const ENVIRONMENT: usize = usize::MAX;

/// Instead of a number of layers: one that comes to no end.
const ENDLESS: usize = usize::MAX - 1;

fn provisioner() -> DockerEnvironment {
    let both = ContainerSpec { networks: vec!["default".into(), "back".into()], ..sleeper() };
    let mut config = DockerEnvironmentConfig::default()
        .volume("data")
        .container("db", sleeper().volume("data", "/data"))
        .container("web", both.after("db", DependsOn::Started));
    config.networks.insert("back".into(), NetworkSpec::default());
    DockerEnvironment::new(config).unwrap()
}

fn definition(name: &str, layers: usize) -> towpath_core::ImageDefinition {
    if layers == ENDLESS {
        return image(name, vec![Script::new(format!("echo {name}; sleep 300"))]);
    }
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
    let last_note = std::env::var(NOTE).ok();
    let faults = Faults::at_every_point(move |at| {
        if let FaultPoint::AfterAppend(record) = at {
            let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
            writeln!(file, "{}", serde_json::to_string(record).unwrap()).unwrap();
        }
        if let FaultPoint::AfterAppend(Record::EffectNote { path, name, .. }) = at
            && path.contains("container/web/")
            && last_note.as_deref() == Some(name)
        {
            std::process::abort();
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
    succeeds(&mut run(file, name, layers, point))
}

/// It dies when it has noted this about making the container `web`.
fn run_child_until(file: &Path, name: &str, note: &str) -> bool {
    succeeds(run(file, name, ENVIRONMENT, usize::MAX).env(NOTE, note))
}

fn succeeds(child: &mut Command) -> bool {
    child.status().unwrap().success()
}

fn run(file: &Path, name: &str, layers: usize, point: usize) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "crash::child", "--nocapture"])
        .env(JOURNAL, file)
        .env(POINT, point.to_string())
        .env(NAME, name)
        .env(LAYERS, layers.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child
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

/// What a process id means is known in its own namespace only: in another one it is taken for another process, or for none.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_in_another_pid_namespace_is_not_taken_for_dead() {
    if !engine() {
        return;
    }
    let quiet = |c: &mut Command| c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !quiet(Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"])) {
        let what = "NOT RUN: another PID namespace: unshare(1) of util-linux, and the rights of root";
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return;
    }
    let (name, dir) = (unique("namespace"), tempfile::tempdir().unwrap());
    let child = run(&dir.path().join("journal"), &name, ENDLESS, usize::MAX);
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(child.get_program()).args(child.get_args());
    inside.envs(child.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdout(Stdio::null()).stderr(Stdio::null());
    let mut inside = inside.spawn().unwrap();
    let runs =
        || docker(&["ps", "-q", "--filter", "label=towpath.build"]).lines().count() > 0 && temporary(&name).len() == 1;
    crate::until("it is built there", runs).await;
    let container = temporary(&name).remove(0);
    // Also one that does not run: it is not started yet, or committed just now. The builder is held up, or it would clean up itself.
    let unshare = inside.id();
    let builds = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
    assert!(Command::new("kill").args(["-STOP", builds.trim()]).status().unwrap().success());
    docker(&["stop", "-t", "1", &container]);
    let swept = builder(DockerImageConfig::default()).sweep(&Context::new()).await.unwrap();
    inside.kill().unwrap();
    inside.wait().unwrap();
    let left = temporary(&name);
    docker(&["rm", "-f", &container]);
    assert!(swept.left.contains(&container) && !swept.removed.contains(&container), "{swept:?}");
    assert_eq!(left, [container]);
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
    // First between making a container and joining its second network, then between that and starting it.
    for note in ["made", "joined"] {
        assert!(!run_child_until(&file, &name, note), "it was not killed");
        let made = ["ps", "-aq", "--filter", "status=created", "--filter", &format!("name=towpath-{name}-web")];
        assert_eq!(docker(&made).lines().count(), 1, "{note}: it is made and not started");
    }
    while !run_child(&file, &name, ENVIRONMENT, crashes) {
        crashes += 1;
        assert!(crashes < 40, "it never comes to its end");
    }
    assert!(crashes >= 2, "it was killed only {crashes} times");
    let applied: Applied =
        serde_json::from_str(&std::fs::read_to_string(file.with_extension("done")).unwrap()).unwrap();
    let addresses: Vec<&str> = applied.environment.resources.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(addresses, ["container db", "container web", "network back", "network default", "volume data"]);
    let cx = Context::builder().environment(&name).build().for_step("step");
    let plan = provisioner().plan(&cx).await.unwrap();
    assert!(plan.is_empty(), "nothing is left to do: {plan}");
    let count = |what: &[&str]| {
        let filter = format!("label=towpath.environment={name}");
        docker(&[what, &["-q", "--filter", &filter]].concat()).lines().count()
    };
    assert_eq!((count(&["ps", "-a"]), count(&["network", "ls"]), count(&["volume", "ls"])), (2, 2, 1));
    let web = applied.environment.inventory.host("web").unwrap().connection.address.clone().unwrap();
    assert_eq!(docker(&["exec", &web, "sh", "-c", "hostname -I | wc -w"]), "2", "it is in both of its networks");
    assert_eq!(provisioner().destroy(&cx).await.unwrap().changed, 5);
    assert_eq!((count(&["ps", "-a"]), count(&["network", "ls"]), count(&["volume", "ls"])), (0, 0, 0));
}
