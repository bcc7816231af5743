//! No request is lost: behind a rollout that drains, and beside a proxy of the host that is told.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use towpath::docker::{Beside, DockerDeploy, DockerDeployConfig, OnSwitch, SwitchFile};
use towpath::local::{Launcher, LocalBalancer, LocalConnector};
use towpath::pipeline::ProviderRef;
use towpath::rollout::{Rolling, Rollout, RolloutOutcome};
use towpath::{ConnectionSpec, Deployer as _, Host, Inventory, MemoryStore, Store, Target, Targets};

use crate::load::{Load, ask};
use crate::{Environment, docker, engine, free_port, not_run, release};

fn host(name: &str, port: u16) -> Host {
    Host {
        name: name.into(),
        connection: ConnectionSpec {
            kind: "local".into(),
            address: Some("127.0.0.1".into()),
            ..ConnectionSpec::default()
        },
        vars: [("web_port".to_owned(), port.into())].into_iter().collect(),
        ..Host::default()
    }
}

/// Three containers of one engine behind the balancer, one after the other, there and back again.
#[tokio::test(flavor = "multi_thread")]
async fn three_containers_are_replaced_behind_a_balancer_and_no_request_is_lost() {
    if !engine() {
        return;
    }
    static LAUNCHER: OnceLock<()> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        Launcher::with_args(std::env::current_exe().unwrap(), ["--exact", "launched", "--nocapture"]).install();
    });
    let (environment, dir) = (Environment::new(), tempfile::tempdir().unwrap());
    let hosts: Vec<Host> = ["web1", "web2", "web3"].map(|n| host(n, free_port())).into();
    let targets = Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::new(LocalConnector));
    let config = DockerDeployConfig::new("web").port("{{ web_port }}:80").ready_at(80, "/");
    let front = free_port();
    let settings = json!({"port": front, "state_dir": dir.path().join("state")});
    let balancer = LocalBalancer::new(serde_json::from_value(settings.clone()).unwrap()).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let rollout = |config: DockerDeployConfig| {
        let strategy = Rolling {
            balancer: Some(ProviderRef { provider: "local".into(), config: settings.clone() }),
            backend_port: Some("{{ web_port }}".into()),
            ..Rolling::default()
        };
        let deployer = Arc::new(DockerDeploy::new(config).unwrap());
        Rollout::new(deployer, strategy).balancer(Arc::new(balancer.clone())).store(Arc::clone(&store))
    };
    let first = rollout(config.clone()).run(&environment.cx, &release("v1"), &targets).await.unwrap();
    assert_eq!(first.outcome, RolloutOutcome::Deployed, "{first:?}");
    assert_eq!(ask("127.0.0.1", front, "/").as_deref(), Ok("v1"));

    let load = Load::start(front);
    let there = rollout(config.clone()).run(&environment.cx, &release("v2"), &targets).await.unwrap();
    // One that ends at once comes to the first target only, and that goes back.
    let mut broken = release("v3");
    broken.env.insert("PYTHONHOME".into(), "/no/such/folder".into());
    let back = rollout(config).run(&environment.cx, &broken, &targets).await.unwrap();
    let got = load.stop();
    balancer.stop(&environment.cx).await.unwrap();
    assert_eq!(there.outcome, RolloutOutcome::Deployed, "{there:?}");
    assert_eq!(back.outcome, RolloutOutcome::RolledBack, "{back:?}");
    assert!(back.reason.as_deref().is_some_and(|r| r.contains("started_again=v2")), "{back:?}");
    assert_eq!(got.failures, Vec::<String>::new(), "of {} requests", got.count());
    assert!(got.answers.len() == 2 && got.answers.contains_key("v2"), "both versions answered: {:?}", got.answers);
    let running = environment.containers().iter().filter(|c| c.ends_with(" running")).count();
    assert_eq!(running, 3, "{:?}", environment.containers());
    eprintln!("{} requests during two rollouts, none failed: {:?}", got.count(), got.answers);
}

/// A proxy of the host, ended on drop.
struct Nginx {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Nginx {
    fn conf(&self) -> PathBuf {
        self.dir.path().join("nginx.conf")
    }

    fn start() -> Option<Self> {
        let there = Command::new("nginx").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !there.is_ok_and(|s| s.success()) {
            not_run("nginx: apt-get install nginx-light");
            return None;
        }
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {at}/{what};\n"))
            .concat();
        // It tries no other server and nothing twice: what fails is seen to fail.
        let conf = format!(
            "daemon off; pid {at}/nginx.pid; error_log {at}/error.log; worker_processes 2;\nevents {{}}\nhttp {{ access_log off;\n\
             {temporary}include {at}/upstream.conf;\nserver {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://web; \
             proxy_next_upstream off; }} }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), conf).unwrap();
        std::fs::write(dir.path().join("upstream.conf"), "upstream web { server 127.0.0.1:9; }").unwrap();
        let process = Command::new("nginx")
            .args(["-p", &at.to_string(), "-c"])
            .arg(dir.path().join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { process, dir, port };
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(this);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!(
            "nginx does not listen: {}",
            std::fs::read_to_string(this.dir.path().join("error.log")).unwrap_or_default()
        );
    }

    fn on_switch(&self) -> OnSwitch {
        let (at, conf) = (self.dir.path().display().to_string(), self.conf().display().to_string());
        let command = ["nginx", "-p", &at, "-c", &conf, "-s", "reload"].map(str::to_owned);
        let content = "upstream web { server 127.0.0.1:{{ towpath_port }}; }".to_owned();
        OnSwitch {
            file: Some(SwitchFile { path: format!("{at}/upstream.conf"), content }),
            command: Some(command.into()),
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// On one host, without a balancer before it: forth, back to the kept container, and a version that does not work.
#[tokio::test(flavor = "multi_thread")]
async fn versions_take_turns_beside_each_other_behind_a_proxy_and_no_request_is_lost() {
    if !engine() {
        return;
    }
    let Some(nginx) = Nginx::start() else { return };
    let (environment, ports) = (Environment::new(), [free_port(), free_port()]);
    let target = Target { host: host("web1", ports[0]), connector: Arc::new(LocalConnector) };
    let beside =
        Beside { port: 80, host_ports: ports, address: "127.0.0.1".into(), on_switch: nginx.on_switch(), linger_s: 2 };
    let config = DockerDeployConfig { keep: 2, ..DockerDeployConfig::new("web").ready_at(80, "/").beside(beside) };
    let deployer = DockerDeploy::new(config.clone()).unwrap();
    let run = async |deployer: &DockerDeploy, version: &str| {
        deployer.stage(&environment.cx, &target, &release(version)).await.unwrap();
        deployer.activate(&environment.cx, &target, &release(version)).await
    };
    run(&deployer, "v1").await.unwrap();
    // The proxy's reload is over when a worker that has read the new file answers.
    while ask("127.0.0.1", nginx.port, "/") != Ok("v1".into()) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let load = Load::start(nginx.port);
    run(&deployer, "v2").await.unwrap();
    run(&deployer, "v1").await.unwrap();
    run(&deployer, "v2").await.unwrap();
    let kept = environment.containers();
    let mut broken = config.clone();
    broken.container.command = Some(vec!["false".into()]);
    let error = run(&DockerDeploy::new(broken).unwrap(), "v3").await.expect_err("it ends at once");
    let mut deaf = config;
    deaf.container.command = Some(vec!["sleep".into(), "1000".into()]);
    deaf.ready.timeout_s = 3;
    let late = run(&DockerDeploy::new(deaf).unwrap(), "v3").await.expect_err("it never listens");
    let got = load.stop();
    for error in [error, late] {
        assert_eq!(error.get("serves_on"), Some("v2"), "{error:?}");
    }
    assert_eq!(got.failures, Vec::<String>::new(), "of {} requests", got.count());
    assert!(got.answers.len() == 2 && got.answers.contains_key("v2"), "both versions answered: {:?}", got.answers);
    assert_eq!(ask("127.0.0.1", nginx.port, "/").as_deref(), Ok("v2"));
    assert_eq!(environment.containers(), kept, "what did not work is gone");
    assert_eq!(kept.len(), 2, "back and forth makes no new containers: {kept:?}");
    eprintln!("{} requests during five activates, none failed: {:?}", got.count(), got.answers);

    // One slot is taken by somebody else: told before anything is touched.
    let free = ports.into_iter().find(|p| std::net::TcpStream::connect(("127.0.0.1", *p)).is_err()).unwrap();
    let other = docker(&[
        "run",
        "-d",
        "-p",
        &format!("127.0.0.1:{free}:80"),
        towpath_core::testkit::SSHD_IMAGE,
        "sleep",
        "1000",
    ]);
    let error = run(&deployer, "v4").await;
    docker(&["rm", "-f", &other]);
    let error = error.expect_err("the port is taken");
    assert!(error.message().contains("taken by the container"), "{error:?}");
    assert_eq!(environment.containers(), kept);
}
