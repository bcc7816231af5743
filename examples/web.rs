//! The README's pipeline: `cargo run --release --example web`, from this folder.
#![allow(clippy::print_stdout)]

use towpath::pipeline::Pipeline;
use towpath::prelude::*;
use towpath::{local::*, playbook::Playbook, ssh::ReleaseDirs};

/// The same as `web.yml` and `web.py`.
pub(crate) fn pipeline() -> Result<Pipeline> {
    let p = PipelineBuilder::new("web");
    let fleet = p.provision("fleet", LocalConfig::hosts(3).name("web").port("http_port"));
    let site = p.configure("site", Playbook::file("quickstart/site.yml"), fleet.inventory());
    let image = ImageSpec::of_first_host("web", fleet.inventory()).artifact(ArtifactKind::Archive);
    let image = p.build_image("image", LocalArchiveConfig::default(), image).after(&site);
    let webctl = |verb: &str| ["/opt/web/webctl".to_owned(), verb.to_owned()];
    let release = ReleaseSpec::new("web", "v1").artifact(Artifact::of_file("web", "quickstart/serve.py")?);
    let to = ReleaseDirs::to("/srv/web").file_name("web").restart(webctl("restart")).running(webctl("status"));
    let roll = p.deploy("roll out", to, release, fleet.inventory()).after(&image).rollout(Rolling::batches_of(1));
    let well = Gate::of(vec![Check::http("{{ http_port }}", "/healthz")]);
    p.gate("well", LocalMonitorConfig::default(), well, fleet.inventory()).after(&roll).on_fail(rollback(&roll));
    Ok(p.finish())
}

async fn run() -> Result<()> {
    let p = pipeline()?;
    let engine = Engine::new(towpath::registry().into(), towpath::open_store("sqlite:.towpath/store.db").await?);
    println!("{}", engine.plan(&p, RunOptions::default()).await?);
    engine.run(&p, RunOptions::default()).await?; // run it again after a crash: it goes on
    Ok(())
}

fn main() -> Result<()> {
    // Hosts of `local` are this program, started again: before there are threads.
    towpath::init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run())
}
