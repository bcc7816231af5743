//! Versions that take turns beside each other, killed at every point: whatever the proxy was told last, answers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use towpath::docker::{Beside, DockerDeploy, DockerDeployConfig, OnSwitch, SwitchFile};
use towpath::local::LocalConnector;
use towpath::{ConnectionSpec, Context, Deployer as _, Faults, Host, Journal, MemoryStore, RunId, Target};

use crate::load::ask;
use crate::{Environment, engine, free_port, release};

/// Where the child finds what to do: the config, the environment and the point at which it dies.
const CONFIG: &str = "TOWPATH_BESIDE_CRASH_CONFIG";
const ENVIRONMENT: &str = "TOWPATH_BESIDE_CRASH_ENVIRONMENT";
const POINT: &str = "TOWPATH_BESIDE_CRASH_POINT";
const VERSION: &str = "TOWPATH_BESIDE_CRASH_VERSION";

fn target() -> Target {
    let connection = ConnectionSpec { kind: "local".into(), ..ConnectionSpec::default() };
    let host = Host { name: "web1".into(), connection, ..Host::default() };
    Target { host, connector: Arc::new(LocalConnector) }
}

#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let point: usize = std::env::var(POINT).unwrap().parse().unwrap();
    let reached = AtomicUsize::new(0);
    let faults = Faults::at_every_point(move |_| {
        if reached.fetch_add(1, Ordering::Relaxed) == point {
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::process::abort();
        }
    });
    let run = RunId::new();
    let journal = Journal::in_store(Arc::new(MemoryStore::new()), run.clone(), None, &[], faults);
    let cx = Context::builder().environment(std::env::var(ENVIRONMENT).unwrap()).journal(run, journal).build();
    let deployer = DockerDeploy::new(serde_json::from_str(&config).unwrap()).unwrap();
    let release = release(&std::env::var(VERSION).unwrap());
    deployer.activate(&cx, &target(), &release).await.unwrap();
}

/// Gives whether it came to its end.
fn run_child(environment: &Environment, config: &DockerDeployConfig, version: &str, point: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CONFIG, serde_json::to_string(config).unwrap())
        .env(ENVIRONMENT, &environment.name)
        .env(POINT, point.to_string())
        .env(VERSION, version)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child.status().unwrap().success()
}

/// What a proxy that reads the file would get.
fn told(file: &Path) -> Result<String, String> {
    let port = std::fs::read_to_string(file).unwrap().parse().unwrap();
    ask("127.0.0.1", port, "/")
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_point_of_a_kill_what_the_proxy_was_told_answers() {
    if !engine() {
        return;
    }
    let (environment, dir) = (Environment::new(), tempfile::tempdir().unwrap());
    let file: PathBuf = dir.path().join("port");
    let content = "{{ towpath_port }}".to_owned();
    let beside = Beside {
        port: 80,
        host_ports: [free_port(), free_port()],
        address: "127.0.0.1".into(),
        on_switch: OnSwitch { file: Some(SwitchFile { path: file.display().to_string(), content }), command: None },
        linger_s: 0,
    };
    let config = DockerDeployConfig::new("web").ready_at(80, "/").beside(beside);
    let deployer = DockerDeploy::new(config.clone()).unwrap();
    let (cx, target) = (&environment.cx, target());
    for version in ["v1", "v2"] {
        deployer.stage(cx, &target, &release(version)).await.unwrap();
    }
    // All of them take two minutes.
    let step = if std::env::var_os("TOWPATH_TEST_FULL").is_some() { 1 } else { 4 };
    let (mut point, mut done) = (0, false);
    for round in 0.. {
        let (old, new) = if round % 2 == 0 { ("v1", "v2") } else { ("v2", "v1") };
        deployer.activate(cx, &target, &release(old)).await.unwrap();
        assert_eq!(told(&file).as_deref(), Ok(old));
        done = run_child(&environment, &config, new, point) || done;
        let now = told(&file)
            .unwrap_or_else(|e| panic!("after a kill at point {point}: {e}, {:?}", environment.containers()));
        assert!([old, new].contains(&now.as_str()), "{now}");
        // Forward or back, by turns of two.
        let next = if round % 4 < 2 { new } else { old };
        deployer.activate(cx, &target, &release(next)).await.unwrap();
        assert_eq!(told(&file).as_deref(), Ok(next));
        let running = environment.containers().iter().filter(|c| c.ends_with(" running")).count();
        assert_eq!(running, 1, "{:?}", environment.containers());
        if done {
            break;
        }
        point += step;
        assert!(point < 80, "it never comes to its end");
    }
    assert!(point >= 12, "only {point} points");
}
