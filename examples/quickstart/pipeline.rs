//! The pipeline: the same shape as `examples/quickstart.yml` and `examples/quickstart.py`, with traffic on top.

use std::path::Path;
use std::time::Duration;

use towpath::local::{
    BalancerMode, LocalArchiveConfig, LocalBalancerConfig, LocalConfig, LocalLogSinkConfig, LocalMonitorConfig,
};
use towpath::pipeline::{
    ImageSpec, In, OnFailure, Output, Pipeline, PipelineBuilder, ProvisionStep, ReleaseSpec, StepHandle,
};
use towpath::playbook::PlaybookConfig;
use towpath::rollout::{Rolling, Superseded};
use towpath::ssh::ReleaseDirsConfig;
use towpath::{Artifact, ArtifactKind, Check, CheckProbe, Gate, Inventory, PortSpec};

/// The step whose end is the end of the traffic.
pub(crate) const LAST_RELEASE: &str = "release v3";

/// What differs from run to run.
pub(crate) struct Wanted<'a> {
    /// This program, which is also the service.
    pub(crate) program: Artifact,
    /// Where everything is kept.
    pub(crate) home: &'a Path,
    /// Hosts that exist already, with where this machine reaches the balancer in front of them.
    pub(crate) given: Option<(Inventory, String)>,
}

fn port() -> PortSpec {
    PortSpec::Variable("{{ http_port }}".into())
}

fn healthy(version: &str) -> Gate {
    let contains = Some(version.to_owned());
    let probe = CheckProbe::Http { port: port(), path: "/healthz".into(), status: 200, contains };
    let gate = Gate::of(vec![Check { name: "healthz".into(), probe, timeout_s: 2.0 }]);
    // The service takes a moment to listen; after that a failure counts.
    Gate { interval_s: 0.05, start_period_s: 0.3, deadline_s: 15.0, ..gate }
}

pub(crate) fn balancer(home: &Path) -> LocalBalancerConfig {
    LocalBalancerConfig {
        mode: BalancerMode::Http,
        state_dir: Some(home.join("local")),
        ..LocalBalancerConfig::default()
    }
}

pub(crate) fn fleet(home: &Path) -> LocalConfig {
    LocalConfig::hosts(3).name("web").port("http_port").state_dir(home.join("local")).balancer(balancer(home))
}

pub(crate) fn build(wanted: &Wanted<'_>) -> Pipeline {
    let home = wanted.home;
    let p = PipelineBuilder::new("quickstart");

    let fleet: Option<ProvisionStep> = wanted.given.is_none().then(|| p.provision("fleet", fleet(home)));
    let (hosts, front): (In<Inventory>, In<String>) = match (&fleet, &wanted.given) {
        (Some(fleet), _) => ((&fleet.inventory()).into(), (&fleet.output::<String>("balancer")).into()),
        (None, Some((inventory, address))) => (inventory.clone().into(), address.clone().into()),
        (None, None) => unreachable!("a fleet is made where no hosts are given"),
    };

    let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstart/site.yml");
    let site = p.configure("site", PlaybookConfig::new(playbook), hosts.clone());
    // What a new host would start from; releases come on top of it.
    let archive = LocalArchiveConfig::new(home.join("images")).exclude("/srv/web");
    let image = p
        .build_image("image", archive, ImageSpec::of_first_host("web", hosts.clone()).artifact(ArtifactKind::Archive))
        .after(&site);

    let release = |version: &str, health: &str| {
        let what = ReleaseSpec::new("web", version)
            .artifact(wanted.program.clone())
            .env("VERSION", version)
            .env("HEALTH", health);
        let webctl = |verb: &str| ["{{ towpath_root }}/opt/web/webctl".to_owned(), verb.to_owned()];
        let deployer = ReleaseDirsConfig {
            file_name: Some("web".into()),
            ..ReleaseDirsConfig::new("{{ towpath_root }}/srv/web")
                .restart(webctl("restart"))
                .stop(webctl("stop"))
                .running(webctl("status"))
        };
        let mut how = Rolling::batches_of(1)
            .behind(balancer(home))
            .monitor(LocalMonitorConfig::default())
            .health(healthy("{{ release_version }}"))
            .drain_limit(Duration::from_secs(5))
            .superseded(Superseded::Skip);
        if wanted.given.is_none() {
            how = how.backend_port(port());
        }
        p.deploy(&format!("release {version}"), deployer, what, hosts.clone()).rollout(how)
    };
    let v1 = release("v1", "ok").after(&image);

    // From here on somebody uses the service, all the time.
    let traffic = p.call("traffic", "traffic/v1").input("balancer", front).after(&v1);
    let loaded = p.call("under load", "under-load/v1").after(&v1);

    let v2 = release("v2", "ok").after(&loaded);
    // v3 can't become healthy: every host goes back to v2, and the pipeline goes on.
    let v3 = release("v3", "broken").after(&v2).on_fail(OnFailure::Continue);

    let well = p.gate("v2 is well", LocalMonitorConfig::default(), healthy("v2"), hosts.clone()).after(&v3);
    observe(&p, home, &hosts, &traffic, &well);
    p.finish()
}

/// Numbers to the monitor, logs to the sink.
fn observe<T, G>(
    p: &PipelineBuilder,
    home: &Path,
    hosts: &In<Inventory>,
    traffic: &StepHandle<T>,
    well: &StepHandle<G>,
) {
    let metric = |name: &str, value: Output<f64>| serde_json::json!({ "metric": { "name": name, "value": { "from": value.reference() } } });
    let numbers = serde_json::json!([
        metric("requests.sent", Output::of(traffic.name(), "sent")),
        metric("requests.failed", Output::of(traffic.name(), "failed")),
        { "notice": { "title": "web: v2 serves, v3 was rolled back" } },
    ]);
    p.record("metrics", LocalMonitorConfig::default(), In::template(numbers)).after(well);
    let log = serde_json::json!([{ "path": "{{ towpath_root }}/var/log/web/web.log", "source": "web" }]);
    let sink = LocalLogSinkConfig::new(home.join("logs.jsonl"));
    p.ship_logs("logs", sink, In::template(log), hosts.clone()).after(well);
}
