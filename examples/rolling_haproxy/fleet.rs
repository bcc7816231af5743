//! Six hosts of this machine behind a real HAProxy, and how releases move over them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use towpath::haproxy::{HaProxy, HaProxyConfig};
use towpath::local::{Local, LocalConfig, LocalMonitor, LocalMonitorConfig};
use towpath::pipeline::{Engine, Pipeline, PipelineBuilder, RunOptions};
use towpath::playbook::PlaybookConfig;
use towpath::rollout::{BlueGreen, Rolling, Rollout, RolloutReport};
use towpath::ssh::{ReleaseDirs, ReleaseDirsConfig};
use towpath::{
    Artifact, BackendMode, Balancer as _, Check, CheckProbe, Connector, Context, Error, ErrorKind, Gate, Group,
    Inventory, Provisioner as _, PutOptions, Release, Result, RunState, Source, Store, Targets,
};

pub(crate) const ENVIRONMENT: &str = "rolling";
pub(crate) const HOSTS: u32 = 6;

pub(crate) struct Fleet {
    pub(crate) home: PathBuf,
    pub(crate) inventory: Inventory,
    pub(crate) store: Arc<dyn Store>,
    front: u16,
    connector: Arc<dyn Connector>,
    haproxy: Option<Child>,
}

pub(crate) fn failed(message: &str) -> Error {
    Error::new(ErrorKind::ToolFailed, "rolling_haproxy", "start", message)
}

fn local(home: &Path) -> LocalConfig {
    LocalConfig::hosts(HOSTS).name("web").port("http_port").state_dir(home.join("local"))
}

impl Fleet {
    /// Makes what is not there yet: hosts, what a web host needs, HAProxy.
    pub(crate) async fn start(home: &Path) -> Result<Self> {
        // Before anything is made.
        if !Command::new("haproxy").arg("-v").output().is_ok_and(|out| out.status.success()) {
            let what = "HAProxy is missing: `apt-get install haproxy`";
            return Err(Error::new(ErrorKind::ToolMissing, "rolling_haproxy", "start", what));
        }
        std::fs::create_dir_all(home).map_err(|e| failed("the folder can't be made").caused_by(e))?;
        let mut fleet = Self::open(home).await?;
        install(&fleet.cx(), &fleet.inventory, fleet.connector.as_ref()).await?;
        fleet.haproxy = Some(start_haproxy(home, fleet.front)?);
        let socket = home.join("admin.sock");
        for _ in 0..100 {
            if socket.exists() && fleet.balancer()?.backends(&fleet.cx()).await.is_ok() {
                return Ok(fleet);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(failed("HAProxy does not answer").with("socket", socket.display()))
    }

    /// The fleet of another process of this program, which runs its HAProxy.
    pub(crate) async fn open(home: &Path) -> Result<Self> {
        let store = towpath::open_store(&Self::store_url(home)).await?;
        let registry = Arc::new(towpath::registry());
        let engine = Engine::new(Arc::clone(&registry), Arc::clone(&store)).environment(ENVIRONMENT);
        let p = PipelineBuilder::new("hosts");
        let made = p.provision("fleet", local(home));
        let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart/site.yml");
        p.configure("site", PlaybookConfig::new(playbook), made.inventory());
        let inventory = made.inventory();
        let report = engine.run(&p.finish(), RunOptions::default()).await?;
        if report.state != RunState::Done {
            return Err(failed("the hosts could not be made").with("state", format!("{:?}", report.state)));
        }
        let mut inventory: Inventory = report.output(&inventory)?;
        for (n, name) in ["blue", "green"].into_iter().enumerate() {
            let hosts = inventory.hosts.iter().skip(n * 3).take(3).map(|h| h.name.clone()).collect();
            inventory.groups.insert(name.to_owned(), Group { hosts, ..Group::default() });
        }
        let connector = engine.setup(&Pipeline::default()).connector;
        let front = front_port(home)?;
        Ok(Self { home: home.to_owned(), inventory, store, front, connector, haproxy: None })
    }

    pub(crate) fn store_url(home: &Path) -> String {
        format!("sqlite:{}", home.join("store.db").display())
    }

    pub(crate) async fn destroy(home: &Path) -> Result<()> {
        Local::new(local(home))?.destroy(&Context::builder().environment(ENVIRONMENT).build()).await?;
        std::fs::remove_dir_all(home).map_err(|e| failed("the folder can't be removed").caused_by(e))
    }

    pub(crate) fn cx(&self) -> Context {
        Context::builder().environment(ENVIRONMENT).store(Arc::clone(&self.store)).build()
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.front)
    }

    pub(crate) fn haproxy(&self) -> HaProxyConfig {
        HaProxyConfig { socket: self.home.join("admin.sock").display().to_string(), ..HaProxyConfig::new("web") }
    }

    pub(crate) fn balancer(&self) -> Result<HaProxy> {
        Ok(HaProxy::new(self.haproxy())?.through(Arc::clone(&self.connector)))
    }

    pub(crate) fn targets(&self) -> Targets {
        Targets::new(self.inventory.clone(), Arc::clone(&self.connector))
    }

    /// A release is a small program that starts this one; what is wrong with it stands in its environment.
    pub(crate) fn release(&self, version: &str, fault: &str) -> Result<Release> {
        let file = self.home.join("web");
        // `webctl` says `serve` to it.
        std::fs::write(&file, "#!/bin/sh\nhere=$(pwd -P)\nexec \"${here%/srv/web/*}/opt/web/service\" \"$@\"\n")
            .map_err(|e| failed("the release can't be written").caused_by(e))?;
        let mut release = Release {
            service: "web".into(),
            version: version.into(),
            artifact: Some(Artifact::of_file("web", &file)?),
            env: [("VERSION".to_owned(), version.to_owned())].into(),
        };
        if !fault.is_empty() {
            release.env.insert("FAULT".into(), fault.into());
        }
        Ok(release)
    }

    pub(crate) fn deployer() -> ReleaseDirsConfig {
        let webctl = |verb: &str| ["{{ towpath_root }}/opt/web/webctl".to_owned(), verb.to_owned()];
        ReleaseDirsConfig {
            file_name: Some("web".into()),
            ..ReleaseDirsConfig::new("{{ towpath_root }}/srv/web")
                .restart(webctl("restart"))
                .stop(webctl("stop"))
                .running(webctl("status"))
        }
    }

    /// One host at a time: drained, changed, checked, put back, and watched for a second and a half under real requests.
    pub(crate) fn rolling(&self) -> Rolling {
        let watch = Gate { hold_s: 1.5, fall: 2, ..healthy() };
        Rolling::batches_of(1)
            .behind(self.haproxy())
            .backend_port("{{ http_port }}".into())
            .monitor(LocalMonitorConfig::default())
            .health(Gate { start_period_s: 0.5, deadline_s: 10.0, ..healthy() })
            .watch(watch)
            .drain_limit(Duration::from_secs(5))
    }

    pub(crate) fn blue_green(&self) -> Rolling {
        Rolling { blue_green: Some(BlueGreen::groups("blue", "green")), ..self.rolling() }
    }

    pub(crate) fn rollout(&self, strategy: Rolling) -> Result<Rollout> {
        Ok(Rollout::new(Arc::new(ReleaseDirs::new(Self::deployer())), strategy)
            .balancer(Arc::new(self.balancer()?))
            .monitor(Arc::new(LocalMonitor::new(LocalMonitorConfig::default()))))
    }

    pub(crate) async fn deploy(&self, cx: &Context, strategy: Rolling, release: &Release) -> Result<RolloutReport> {
        self.rollout(strategy)?.run(cx, release, &self.targets()).await
    }

    /// The hosts that get requests.
    pub(crate) async fn serving(&self) -> Result<Vec<String>> {
        let all = self.balancer()?.backends(&self.cx()).await?;
        let serves = all.into_iter().filter(|b| b.mode == BackendMode::Serving);
        Ok(serves.map(|b| b.backend.name).collect())
    }
}

/// Every host gets this program once; a release is small, and says how it is started.
async fn install(cx: &Context, inventory: &Inventory, connector: &dyn Connector) -> Result<()> {
    let program = std::env::current_exe().map_err(|e| failed("this program has no path").caused_by(e))?;
    for host in &inventory.hosts {
        let host = inventory.effective(host);
        let path = host.fill("{{ towpath_root }}/opt/web/service")?;
        let connection = connector.connect(cx, &host).await?;
        let options = PutOptions { mode: Some(0o755), ..PutOptions::default() };
        connection.put(cx, Source::File(program.clone()), &path, &options).await?;
    }
    Ok(())
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(mut haproxy) = self.haproxy.take() {
            let _ = haproxy.kill();
            let _ = haproxy.wait();
        }
    }
}

/// Health is the version that shall run, and a good answer to what users ask.
fn healthy() -> Gate {
    let http = |path: &str| CheckProbe::Http {
        port: "{{ http_port }}".into(),
        path: path.into(),
        status: 200,
        contains: Some("{{ release_version }}".into()),
    };
    let check = |path: &str| Check { name: path.into(), probe: http(path), timeout_s: 1.0 };
    Gate { interval_s: 0.05, rise: 3, ..Gate::of(vec![check("/healthz"), check("/")]) }
}

/// Kept, so that a second process finds the same HAProxy.
fn front_port(home: &Path) -> Result<u16> {
    let file = home.join("port");
    if let Some(port) = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok(port);
    }
    let fail = |e: std::io::Error| failed("no port could be taken").caused_by(e);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(fail)?.port();
    std::fs::write(file, port.to_string()).map_err(fail)?;
    Ok(port)
}

fn start_haproxy(home: &Path, port: u16) -> Result<Child> {
    let socket = home.join("admin.sock");
    let _ = std::fs::remove_file(&socket);
    let config = format!(
        "global\n    stats socket {} mode 600 level admin\n    maxconn 4000\n\
         defaults\n    mode http\n    timeout connect 2s\n    timeout client 30s\n    timeout server 10s\n    option redispatch\n\
         frontend front\n    bind 127.0.0.1:{port}\n    default_backend web\n\
         backend web\n    balance roundrobin\n",
        socket.display()
    );
    let file = home.join("haproxy.cfg");
    std::fs::write(&file, config).map_err(|e| failed("HAProxy's configuration can't be written").caused_by(e))?;
    let log = std::fs::File::create(home.join("haproxy.log")).map_err(|e| failed("no log").caused_by(e))?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log).spawn().map_err(|e| failed("HAProxy can't be started").caused_by(e))
}
