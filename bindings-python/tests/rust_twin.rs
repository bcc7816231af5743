//! Calls every verb of every trait on this machine and prints what came of it as JSON, for `test_twins.py`, which does the same
//! in Python: `rust_twin FOLDER`. The folder holds `site.yml` and `app.sh`.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, json};
use towpath::local::{LocalBalancerConfig, LocalConfig, LocalLogSinkConfig};
use towpath::pipeline::{
    BaseInput, Engine, ImageInput, In, OnFailure, OutputKind, Pipeline, PipelineBuilder, ProviderSpec, RetryPolicy,
    RunOptions, rollback,
};
use towpath::rollout::RolloutControl;
use towpath::{
    Artifact, ArtifactKind, Backend, Balancer, Base, Check, CheckProbe, Configurator, Context, Deployer, Deployment,
    Environment, Gate, GroupJob, ImageBuilder, ImageDefinition, Inventory, Json, LogRecord, LogSink, Metric, Monitor,
    Notice, Observation, Provenance, Provisioner, Registry, Release, Result, Setup, Severity, Silence, Target,
    TargetGroup, Targets, Timestamp,
};

/// What came of each call, in order.
#[derive(Default)]
struct Notes(Map<String, Json>);

impl Notes {
    fn take<T: Serialize>(&mut self, name: &str, result: Result<T>) -> Option<T> {
        let (note, value) = match result {
            Ok(value) => (json!({ "ok": serde_json::to_value(&value).expect("results are JSON") }), Some(value)),
            Err(e) => (json!({ "error": e.record() }), None),
        };
        assert!(self.0.insert(name.to_owned(), note).is_none(), "{name} twice");
        value
    }
}

struct Bench {
    dir: PathBuf,
    engine: Engine,
    setup: Setup,
    cx: Context,
    notes: Notes,
}

impl Bench {
    fn registry(&self) -> &Registry {
        self.engine.registry()
    }

    fn targets(&self, inventory: &Inventory) -> Targets {
        Targets::new(inventory.clone(), Arc::clone(&self.setup.connector))
    }
}

fn local(dir: &Path) -> LocalConfig {
    LocalConfig::hosts(2).name("web").port("http_port").state_dir(dir.join("state")).balancer(balancer(dir))
}

fn balancer(dir: &Path) -> LocalBalancerConfig {
    LocalBalancerConfig { state_dir: Some(dir.join("state")), ..LocalBalancerConfig::default() }
}

fn config(spec: impl Serialize) -> Json {
    serde_json::to_value(spec).expect("a config is JSON")
}

fn check(name: &str, argv: &[&str]) -> Check {
    let argv = argv.iter().map(|a| (*a).to_owned()).collect();
    Check { name: name.into(), probe: CheckProbe::Command { argv }, timeout_s: 2.0 }
}

fn gate(checks: Vec<Check>) -> Gate {
    Gate { fall: 1, ..Gate::of(checks) }
}

fn observations() -> Vec<Observation> {
    let metric = Metric { name: "requests".into(), value: 2.5, at: Timestamp(0), tags: Default::default() };
    let notice = Notice { title: "began".into(), text: String::new(), tags: Default::default() };
    vec![Observation::Metric(metric), Observation::Notice(notice)]
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        at: Timestamp(1),
        severity: Severity::Warning,
        host: None,
        source: "twin".into(),
        message: message.into(),
        fields: Default::default(),
    }
}

fn release(dir: &Path) -> Release {
    Release {
        service: "web".into(),
        version: "v1".into(),
        artifact: Some(Artifact {
            name: "app".into(),
            kind: ArtifactKind::Archive,
            id: dir.join("app.sh").display().to_string(),
            digest: String::new(),
            provenance: Provenance::default(),
        }),
        env: Default::default(),
    }
}

fn release_dirs() -> Json {
    json!({ "root": "/srv/web", "restart": ["true"], "stop": ["true"] })
}

async fn provisioner(b: &mut Bench) -> Environment {
    let p = b.registry().make::<dyn Provisioner>("local", &config(local(&b.dir)), &b.setup).expect("local");
    b.notes.take("provisioner.capabilities", Ok(p.capabilities()));
    b.notes.take("provisioner.preflight", p.preflight(&b.cx).await);
    b.notes.take("provisioner.plan", p.plan(&b.cx).await);
    let made = b.notes.take("provisioner.apply", p.apply(&b.cx).await).expect("hosts");
    b.notes.take("provisioner.plan again", p.plan(&b.cx).await);
    b.notes.take("provisioner.apply again", p.apply(&b.cx).await.map(|a| a.changed));
    b.notes.take("provisioner.probe", p.probe(&b.cx).await);
    made.environment
}

async fn configurator(b: &mut Bench, inventory: &Inventory) {
    let c =
        b.registry().make::<dyn Configurator>("playbook", &json!({ "file": "site.yml" }), &b.setup).expect("playbook");
    let targets = b.targets(inventory);
    let (one, none) = (Some("web-1".to_owned()), Some("nobody".to_owned()));
    b.notes.take("configurator.capabilities", Ok(c.capabilities()));
    b.notes.take("configurator.preflight", c.preflight(&b.cx).await);
    b.notes.take("configurator.plan", c.plan(&b.cx, &targets).await);
    b.notes.take("configurator.apply", c.apply(&b.cx, &Targets { limit: one, ..targets.clone() }).await);
    let mut vars = targets.clone();
    vars.extra_vars.insert("greeting".into(), json!("hello"));
    b.notes.take("configurator.apply with vars", c.apply(&b.cx, &vars).await);
    b.notes.take("configurator.apply to nobody", c.apply(&b.cx, &Targets { limit: none, ..targets }).await);
    b.notes.take("configurator.digest", c.digest(&b.cx).await);
}

async fn image_builder(b: &mut Bench, inventory: &Inventory) {
    let found = b.registry().make::<dyn ImageBuilder>("local-archive", &json!({}), &b.setup);
    let builder = match found {
        Ok(builder) => builder,
        Err(e) => {
            b.notes.take::<()>("image_builder", Err(e));
            return;
        }
    };
    let image = ImageDefinition {
        name: "web".into(),
        base: Base::Host(Box::new(inventory.hosts.first().expect("a host").clone())),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Archive],
        connector: Arc::clone(&b.setup.connector),
        labels: Default::default(),
    };
    b.notes.take("image_builder.capabilities", Ok(builder.capabilities()));
    b.notes.take("image_builder.preflight", builder.preflight(&b.cx).await);
    b.notes.take("image_builder.plan", builder.plan(&b.cx, &image).await);
    let built = b.notes.take("image_builder.build", builder.build(&b.cx, &image).await);
    if let Some(artifact) = built.and_then(|built| built.artifacts.first().cloned()) {
        b.notes.take("image_builder.probe", builder.probe(&b.cx, &artifact).await);
        b.notes.take("image_builder.contents", builder.contents(&b.cx, &artifact, &image.connector).await);
        b.notes.take("image_builder.remove", builder.remove(&b.cx, &artifact).await);
        b.notes.take("image_builder.remove again", builder.remove(&b.cx, &artifact).await);
    }
}

async fn deployer(b: &mut Bench, inventory: &Inventory) {
    let d = b.registry().make::<dyn Deployer>("release-dirs", &release_dirs(), &b.setup).expect("release-dirs");
    let host = inventory.hosts.first().expect("a host").clone();
    let target = Target { host, connector: Arc::clone(&b.setup.connector) };
    let (connector, release) = (Arc::clone(&b.setup.connector), release(&b.dir));
    let group = TargetGroup { name: "web".into(), inventory: inventory.clone(), connector };
    let job = GroupJob { id: "1".into(), detail: Json::Null };
    b.notes.take("deployer.capabilities", Ok(d.capabilities()));
    b.notes.take("deployer.preflight", d.preflight(&b.cx).await);
    b.notes.take("deployer.stage", d.stage(&b.cx, &target, &release).await);
    b.notes.take("deployer.stage again", d.stage(&b.cx, &target, &release).await);
    b.notes.take("deployer.activate", d.activate(&b.cx, &target, &release).await);
    b.notes.take("deployer.probe", d.probe(&b.cx, &target).await);
    b.notes.take("deployer.deactivate", d.deactivate(&b.cx, &target).await);
    b.notes.take("deployer.start", d.start(&b.cx, &group, &release).await);
    b.notes.take("deployer.follow", d.follow(&b.cx, &job).await);
    b.notes.take("deployer.cancel", d.cancel(&b.cx, &job).await);
    b.notes.take("deployer.probe_group", d.probe_group(&b.cx, &group).await);
    b.notes.take("deployer.suspend", d.suspend(&b.cx, "web").await);
    b.notes.take("deployer.resume", d.resume(&b.cx, "web").await);
    let entry: Deployment = serde_json::from_value(json!({
        "environment": "default",
        "release": { "service": "web", "version": "v1" },
        "outcome": "deployed",
        "seen_healthy": true,
        "run": "r1",
        "started_at": 1,
    }))
    .expect("an entry");
    b.notes.take("deployer.record", d.record(&b.cx, &target, &entry).await);
    b.notes.take("deployer.recorded", d.recorded(&b.cx, &target, "web").await);
}

async fn monitor(b: &mut Bench, inventory: &Inventory) {
    let m = b.registry().make::<dyn Monitor>("local", &json!({}), &b.setup).expect("local");
    let targets = b.targets(inventory);
    let silence = Silence { scope: Default::default(), reason: "twin".into(), for_s: 60 };
    let low = CheckProbe::Metric { name: "requests".into(), max: Some(3.0), min: None };
    let low = Check { name: "requests".into(), probe: low, timeout_s: 2.0 };
    b.notes.take("monitor.capabilities", Ok(m.capabilities()));
    b.notes.take("monitor.preflight", m.preflight(&b.cx).await);
    b.notes.take("monitor.record", m.record(&b.cx, &observations()).await);
    b.notes.take("monitor.assess", m.assess(&b.cx, &gate(vec![check("up", &["true"]), low]), &targets).await);
    b.notes.take("monitor.assess fails", m.assess(&b.cx, &gate(vec![check("down", &["false"])]), &targets).await);
    if let Some(handle) = b.notes.take("monitor.silence", m.silence(&b.cx, &silence).await) {
        b.notes.take("monitor.unsilence", m.unsilence(&b.cx, &handle).await);
    }
}

async fn log_sink(b: &mut Bench) {
    let config = config(LocalLogSinkConfig::new("log.jsonl"));
    let sink = b.registry().make::<dyn LogSink>("jsonl", &config, &b.setup).expect("jsonl");
    b.notes.take("log_sink.capabilities", Ok(sink.capabilities()));
    b.notes.take("log_sink.preflight", sink.preflight(&b.cx).await);
    b.notes.take("log_sink.append", sink.append(&b.cx, &[record("one"), record("two")]).await);
    b.notes.take("log_sink.flush", sink.flush(&b.cx).await);
    b.notes.take("log_sink.close", sink.close(&b.cx).await);
    b.notes.take("log_sink.append after close", sink.append(&b.cx, &[record("three")]).await);
    b.notes.take("log_sink file", Ok(std::fs::read_to_string(b.dir.join("log.jsonl")).expect("the log")));
}

async fn balancing(b: &mut Bench) {
    let balancer = b.registry().make::<dyn Balancer>("local", &config(balancer(&b.dir)), &b.setup).expect("local");
    let backend = Backend { name: "web-1".into(), address: "127.0.0.1".into(), port: 9 };
    b.notes.take("balancer.capabilities", Ok(balancer.capabilities()));
    b.notes.take("balancer.preflight", balancer.preflight(&b.cx).await);
    b.notes.take("balancer.add", balancer.add(&b.cx, &backend).await);
    b.notes.take("balancer.drain", balancer.drain(&b.cx, "web-1").await);
    b.notes.take("balancer.drain unknown", balancer.drain(&b.cx, "web-9").await);
    b.notes.take("balancer.wait_idle", balancer.wait_idle(&b.cx, "web-1", Duration::from_secs(5)).await);
    b.notes.take("balancer.backends", balancer.backends(&b.cx).await);
    b.notes.take("balancer.remove", balancer.remove(&b.cx, "web-1").await);
}

// What follows says only what is given, as YAML and Python do. The configs' own types write their defaults, too.

fn given_local(dir: &Path) -> ProviderSpec<dyn Provisioner> {
    let state = dir.join("state");
    let config = json!({ "hosts": 2, "name": "web", "ports": ["http_port"], "state_dir": state,
        "balancer": { "state_dir": state } });
    ProviderSpec::new("local", config)
}

fn site() -> ProviderSpec<dyn Configurator> {
    ProviderSpec::new("playbook", json!({ "file": "site.yml" }))
}

fn watch() -> ProviderSpec<dyn Monitor> {
    ProviderSpec::new("local", json!({}))
}

fn log() -> ProviderSpec<dyn LogSink> {
    ProviderSpec::new("jsonl", json!({ "path": "log.jsonl" }))
}

fn up() -> In<Gate> {
    let probe = json!({ "command": { "argv": ["true"] } });
    In::template(json!({ "checks": [{ "name": "up", "probe": probe, "timeout_s": 2.0 }], "fall": 1 }))
}

fn seen() -> In<Vec<Observation>> {
    In::template(json!([{ "metric": { "name": "requests", "value": 2.5 } }, { "notice": { "title": "began" } }]))
}

/// Everything that a builder can write.
fn everything(dir: &Path) -> Pipeline {
    let p = PipelineBuilder::new("all");
    let version = p.parameter("version", "v1".to_owned());
    p.connector("ssh", json!({ "host_keys": "accept_new" }));
    let fleet = p.provision("fleet", given_local(dir)).timeout(Duration::from_secs(60));
    let site = p
        .configure("site", site(), fleet.inventory())
        .var("greeting", "hi")
        .limit("web-1")
        .retry(RetryPolicy::attempts(2))
        .lease("hosts");
    let image = ImageInput {
        name: "web".into(),
        base: BaseInput::Image("debian".into()),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Archive],
        labels: Default::default(),
    };
    let image = p.build_image("image", ProviderSpec::new("local-archive", json!({})), image).after(&site);
    let spec = towpath::pipeline::ReleaseSpec::new("web", &version).artifact(image.artifact(ArtifactKind::Archive));
    let deployer = ProviderSpec::new("release-dirs", release_dirs());
    let deploy = p.deploy("deploy", deployer, spec, fleet.inventory()).rollout(json!({ "batch": "50%" }));
    let bake =
        p.gate("bake", watch(), up(), fleet.inventory()).after(&deploy).on_fail(rollback(&deploy)).approval("sure?");
    let _ = p.record("tell", watch(), seen()).after(&bake).on_fail(OnFailure::Continue);
    let _ = p.ship_logs("logs", log(), Vec::new(), fleet.inventory()).after(&bake);
    let _ = p
        .call("own", "own/v1")
        .input("looks_like_a_reference", In::from(json!({ "from": "nowhere" })))
        .input("deep", json!([{ "from": "fleet.environment" }]))
        .declare("count", OutputKind::Number)
        .rerun_on_interrupt();
    p.finish()
}

async fn pipelines(b: &mut Bench) -> Result<()> {
    b.notes.take("pipeline.everything", Ok(everything(&b.dir)));
    let p = PipelineBuilder::new("small");
    let fleet = p.provision("fleet", given_local(&b.dir));
    p.configure("site", site(), fleet.inventory());
    p.gate("up", watch(), up(), fleet.inventory());
    let small = p.finish();
    let plan = b.notes.take("engine.plan", b.engine.plan(&small, RunOptions::default()).await).expect("a plan");
    let report = b.notes.take("engine.apply", b.engine.apply(&plan).await).expect("a report");
    b.notes.take("engine.run", b.engine.run(&small, RunOptions::default()).await);
    b.notes.take("engine.status", b.engine.status(Some(&report.run)).await);
    b.notes.take("engine.resume", b.engine.resume(Some(&report.run), Default::default()).await);
    let found = b.engine.preflight(&small).await?;
    let found = found.into_iter().map(|(step, found)| json!({ "step": step, "found": found.ok(), "error": null }));
    b.notes.take("engine.preflight", Ok(found.collect::<Json>()));
    b.notes.take("engine.sweep", b.engine.sweep().await.map(|s| s.len()));
    b.notes.take("engine.leases", b.engine.store().leases().await);
    let (store, environment) = (b.engine.store(), b.engine.context().environment().to_owned());
    let rollout = RolloutControl::new(Arc::clone(store), &environment, "web");
    b.notes.take("engine.rollout status", rollout.status().await);
    b.notes.take("engine.rollout waiting", towpath::waiting(store, &format!("deploy/{environment}/web")).await);
    b.notes.take("engine.rollout ledger", store.deployments(&environment, "web").await);
    b.notes.take("engine.rollout pause", rollout.pause("anna", "lunch").await);
    let destroyed = b.engine.destroy(&small, RunOptions::default()).await;
    let destroyed = destroyed.map(|d| d.into_iter().map(|(step, changed)| json!({ "step": step, "changed": changed })));
    b.notes.take("engine.destroy", destroyed.map(Iterator::collect::<Json>));
    let artifact = Artifact::of_file("app", b.dir.join("app.sh"));
    let artifact = artifact.map(|a| json!({ "name": a.name, "kind": a.kind, "id": a.id, "digest": a.digest }));
    b.notes.take("artifact", artifact);
    b.notes.take("engine.approve", b.engine.approve(&report.run, "nothing", true, "twin").await);
    Ok(())
}

fn main() -> Result<()> {
    // First of all, since this program is also the hosts.
    towpath::init();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run())
}

async fn run() -> Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).expect("a folder"));
    let store = towpath::open_store(&format!("sqlite:{}", dir.join("store.db").display())).await?;
    let engine = Engine::new(Arc::new(towpath::registry()), store).base_dir(&dir).environment("twin");
    let setup = engine.setup(&Pipeline::default());
    let cx = engine.context();
    let mut b = Bench { dir, engine, setup, cx, notes: Notes::default() };
    let environment = provisioner(&mut b).await;
    configurator(&mut b, &environment.inventory).await;
    image_builder(&mut b, &environment.inventory).await;
    deployer(&mut b, &environment.inventory).await;
    monitor(&mut b, &environment.inventory).await;
    log_sink(&mut b).await;
    balancing(&mut b).await;
    let p = b.registry().make::<dyn Provisioner>("local", &config(local(&b.dir)), &b.setup)?;
    b.notes.take("provisioner.destroy", p.destroy(&b.cx).await);
    b.notes.take("provisioner.destroy again", p.destroy(&b.cx).await);
    pipelines(&mut b).await?;
    println!("{}", Json::Object(b.notes.0));
    Ok(())
}
