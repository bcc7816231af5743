//! Containers made by Terraform, configured by a playbook in the next step, destroyed: no file in between.
//!
//! ```text
//! cargo run --release -p towpath-examples --features terraform,docker --example terraform_fleet
//! ```
//!
//! Needs `terraform`, a Docker Engine, and a local image with `/bin/sh` (`--image`; the one that `.ci/sshd-image` makes by default).
//! `--keep` leaves the containers; the next run finds them, and changes nothing.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use towpath::docker::DockerConnector;
use towpath::listen::Progress;
use towpath::pipeline::{Engine, Output, Pipeline, PipelineBuilder, RunOptions};
use towpath::playbook::PlaybookConfig;
use towpath::terraform::{HostsFrom, Terraform};
use towpath::{
    ConnectionSpec, Connector as _, Context, Error, ErrorKind, Host, Inventory, Result, RunState, StepState,
};

/// Containers made by Terraform, configured by a playbook, destroyed.
#[derive(Debug, Parser)]
struct Options {
    /// A local image with /bin/sh.
    #[arg(long, default_value = "towpath/debian:bookworm-5")]
    image: String,
    /// How many hosts.
    #[arg(long, default_value_t = 3)]
    hosts: u32,
    /// Leaves the containers when it is done.
    #[arg(long)]
    keep: bool,
    /// Where the state of Terraform and of towpath lives.
    #[arg(long, default_value = "target/terraform_fleet")]
    store: PathBuf,
}

fn pipeline(options: &Options, home: &Path) -> Pipeline {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform_fleet");
    let docker = ConnectionSpec { kind: "docker".into(), ..ConnectionSpec::default() };
    let mut infra = Terraform::module(here.join("infra"))
        .var("image", options.image.as_str())
        .var("hosts", options.hosts)
        .var("prefix", "towpath-fleet")
        .env("TF_DATA_DIR", home.join("terraform").to_string_lossy())
        .hosts(HostsFrom::output("web").connection(docker));
    infra.backend.insert("path".into(), home.join("terraform.tfstate").to_string_lossy().into_owned());

    let p = PipelineBuilder::new("terraform_fleet");
    let fleet = p.provision("fleet", infra);
    p.configure("site", PlaybookConfig::new(here.join("site.yml")), fleet.inventory());
    p.finish()
}

async fn run(options: &Options) -> Result<bool> {
    let home = std::path::absolute(&options.store).unwrap_or_else(|_| options.store.clone());
    let _ = std::fs::create_dir_all(&home);
    let store = towpath::open_store(&format!("sqlite:{}", home.join("store.db").display())).await?;
    let engine = Engine::new(towpath::registry().into(), store).listener(Arc::new(Progress::stderr()));
    let pipeline = pipeline(options, &home);

    println!("{}", engine.plan(&pipeline, RunOptions::default()).await?);
    let report = engine.run(&pipeline, RunOptions::default()).await?;
    for step in &report.steps {
        let state = match step.state {
            Some(StepState::Done) => "done",
            Some(StepState::Unchanged) => "unchanged",
            _ => "not done",
        };
        println!("{:<6} {state:<10} {:.2} s", step.name, step.seconds);
    }
    if report.state != RunState::Done {
        return Ok(false);
    }
    let inventory = report.output(&Output::<Inventory>::of("fleet", "inventory"))?;
    for host in &inventory.hosts {
        println!("{}: {}", host.name, page(host).await?);
    }
    if !options.keep {
        engine.destroy(&pipeline, RunOptions::default()).await?;
        println!("destroyed; {} containers left", left()?);
    }
    Ok(true)
}

/// What the playbook has written there, read through the Docker Engine.
async fn page(host: &Host) -> Result<String> {
    let cx = Context::new();
    let connection = DockerConnector::default().connect(&cx, host).await?;
    let page = connection.get(&cx, "/srv/web/index.html", 1000).await?;
    Ok(String::from_utf8_lossy(&page).trim_end().to_owned())
}

/// Asks Docker's own client, which knows nothing of this program.
fn left() -> Result<usize> {
    let listed = std::process::Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter", "label=towpath.example=terraform_fleet"])
        .output();
    let listed = listed.map_err(|e| {
        Error::new(ErrorKind::ToolMissing, "terraform_fleet", "look", "`docker` can't be run: install Docker's client")
            .caused_by(e)
    })?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().count())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run(&options)) {
        Ok(well) => ExitCode::from(u8::from(!well)),
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
