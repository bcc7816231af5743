//! Two groups of containers take turns behind a balancer, under load: a release goes to the group that gets no requests, is checked, and
//! everything is sent there. Going back is a switch and starts nothing.
//!
//! ```text
//! cargo run --release -p towpath-examples --features docker --example blue_green_docker
//! ```
//!
//! Needs a Docker Engine, and a local image with Python (`IMAGE`; the one that `.ci/sshd-image` makes by default). The containers are on
//! this machine's engine; with hosts of an inventory they are on theirs, each reached through the host's own connection.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../rolling_haproxy/load.rs"]
mod load;

use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use towpath::docker::{DockerDeploy, DockerDeployConfig};
use towpath::local::{
    BalancerMode, LocalBalancer, LocalBalancerConfig, LocalConnector, LocalMonitor, LocalMonitorConfig,
};
use towpath::rollout::{BlueGreen, Rolling, Rollout, RolloutOutcome};
use towpath::{
    Artifact, ArtifactKind, Check, CheckProbe, ConnectionSpec, Context, Error, ErrorKind, Gate, Group, Host, Inventory,
    Release, Result, Target, Targets,
};

use load::Load;

const ENVIRONMENT: &str = "blue-green";

/// Answers with its version, and with 500 if the release is bad; asked to end, it finishes what it has.
const SERVER: &str = r#"
import http.server, os, signal, threading
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"; disable_nagle_algorithm = True
    def do_GET(s):
        bad = os.environ.get("FAULT") == "500" or os.environ.get("FAULT") == "load" and s.path == "/"
        b = os.environ["VERSION"].encode()
        s.send_response(500 if bad else 200); s.send_header("content-length", str(len(b))); s.end_headers(); s.wfile.write(b)
    def log_message(s, *a): pass
class S(http.server.ThreadingHTTPServer):
    daemon_threads = False; request_queue_size = 128
server = S(("", 80), H)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
server.serve_forever(); os._exit(0)
"#;

fn failed(what: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::ToolFailed, "blue_green_docker", "start", what).caused_by(why)
}

fn docker(args: &[&str]) -> Result<String> {
    let out =
        Command::new("docker").args(args).output().map_err(|e| failed("docker can't be run: is it installed?", e))?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
        false => Err(failed("docker refused it", String::from_utf8_lossy(&out.stderr).into_owned())),
    }
}

/// Four places for a container, two of each colour.
fn inventory() -> Result<Inventory> {
    let mut inventory = Inventory::default();
    for colour in ["blue", "green"] {
        let mut group = Group::default();
        for n in 1..=2 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            let port = free.map_err(|e| failed("there is no free port", e))?.port();
            let mut host = Host { name: format!("{colour}-{n}"), ..Host::default() };
            host.connection =
                ConnectionSpec { kind: "local".into(), address: Some("127.0.0.1".into()), ..ConnectionSpec::default() };
            host.vars.insert("web_port".into(), port.into());
            group.hosts.push(host.name.clone());
            inventory.hosts.push(host);
        }
        inventory.groups.insert(colour.to_owned(), group);
    }
    Ok(inventory)
}

fn healthy(path: &str) -> Gate {
    let contains = Some("{{ release_version }}".to_owned());
    let probe = CheckProbe::Http { port: "{{ web_port }}".into(), path: path.into(), status: 200, contains };
    let gate = Gate::of(vec![Check { name: path.into(), probe, timeout_s: 2.0 }]);
    Gate { interval_s: 0.05, deadline_s: 20.0, ..gate }
}

fn release(image: &str, version: &str, fault: &str) -> Release {
    let artifact = Artifact {
        name: "web".into(),
        kind: ArtifactKind::DockerImage,
        id: image.into(),
        digest: image.into(),
        provenance: Default::default(),
    };
    let env = [("VERSION", version), ("FAULT", fault)].map(|(k, v)| (k.to_owned(), v.to_owned()));
    Release { service: "web".into(), version: version.into(), artifact: Some(artifact), env: env.into() }
}

fn deployer() -> Result<DockerDeploy> {
    let mut config = DockerDeployConfig::new("web").port("{{ web_port }}:80").ready_at(80, "/healthz");
    config.ready.timeout_s = 5;
    config.container.command = Some(["python3", "-u", "-c", SERVER].map(str::to_owned).into());
    DockerDeploy::new(config)
}

async fn run(
    cx: &Context,
    balancer: &LocalBalancer,
    settings: &LocalBalancerConfig,
    (deployer, targets): (&DockerDeploy, &Targets),
) -> Result<bool> {
    let image = std::env::var("IMAGE").unwrap_or_else(|_| "towpath/debian:bookworm-5".to_owned());
    let image = docker(&["image", "inspect", "-f", "{{.Id}}", &image])?;
    let strategy = Rolling::blue_green(BlueGreen::groups("blue", "green"))
        .behind(settings.clone())
        .backend_port("{{ web_port }}".into())
        .monitor(LocalMonitorConfig::default())
        .health(Gate { start_period_s: 2.0, ..healthy("/healthz") })
        .watch(Gate { hold_s: 1.0, fall: 2, ..healthy("/") });
    let rollout = Rollout::new(Arc::new(deployer.clone()), strategy)
        .balancer(Arc::new(balancer.clone()))
        .monitor(Arc::new(LocalMonitor::new(LocalMonitorConfig::default())));

    let first = rollout.run(cx, &release(&image, "v1", ""), targets).await?;
    println!("v1: {:?}, on blue", first.outcome);
    let load = Load::start(&balancer.address(cx).await?, 300);
    let mut well = first.outcome == RolloutOutcome::Deployed;
    for (version, fault, what, wanted) in [
        ("v2", "", "a good release", RolloutOutcome::Deployed),
        ("v3", "500", "one that is ill, and never served", RolloutOutcome::RolledBack),
        ("v4", "load", "one that is ill under load, and switched back", RolloutOutcome::RolledBack),
        ("v5", "", "a good release", RolloutOutcome::Deployed),
    ] {
        let before = load.count();
        let report = rollout.run(cx, &release(&image, version, fault), targets).await?;
        let (count, seconds) = (load.count() - before, report.seconds.get("total").copied().unwrap_or_default());
        let serves: Vec<&str> =
            report.targets.iter().filter(|t| t.in_service == Some(true)).map(|t| t.host.as_str()).collect();
        println!(
            "{version}: {:?} in {seconds:.1} s, {} requests, {} failed; {} serve; {what}",
            report.outcome,
            count.sent,
            count.failed,
            serves.join(" ")
        );
        // Only a release that is ill under load is ever asked anything.
        well &= report.outcome == wanted && (count.failed == 0 || fault == "load");
    }
    let before = load.count();
    let back = rollout.undo(cx, &release(&image, "v5", ""), targets, "somebody changed their mind").await?;
    let (count, seconds) = (load.count() - before, back.seconds.get("total").copied().unwrap_or_default());
    println!("back to v2: {:?} in {seconds:.1} s, {} requests, {} failed", back.outcome, count.sent, count.failed);
    for (why, times) in load.reasons() {
        println!("  failed {times} times: {why}");
    }
    println!("{:.0} requests a second", load.per_second());
    load.end().await;
    Ok(well && back.outcome == RolloutOutcome::RolledBack && count.failed == 0)
}

async fn whole() -> Result<bool> {
    let home = std::env::temp_dir().join(format!("blue_green_docker-{}", std::process::id()));
    let store = towpath::open_store(&format!("sqlite:{}", home.join("store.db").display())).await?;
    let cx = Context::builder().environment(ENVIRONMENT).store(store).build();
    let settings = LocalBalancerConfig {
        mode: BalancerMode::Http,
        state_dir: Some(home.join("local")),
        ..LocalBalancerConfig::default()
    };
    let balancer = LocalBalancer::new(settings.clone())?;
    let (deployer, targets) = (deployer()?, Targets::new(inventory()?, Arc::new(LocalConnector)));
    let done = run(&cx, &balancer, &settings, (&deployer, &targets)).await;
    balancer.stop(&cx).await?;
    for host in targets.inventory.hosts {
        deployer.forget(&cx, &Target { host, connector: Arc::clone(&targets.connector) }).await?;
    }
    let _ = std::fs::remove_dir_all(home);
    done
}

fn main() -> ExitCode {
    // The balancer is this program, started again.
    towpath::init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(whole()) {
        Ok(well) => ExitCode::from(u8::from(!well)),
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
