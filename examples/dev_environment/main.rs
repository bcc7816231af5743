//! A laptop's copy of an environment: containers from a Compose file, configured by the playbook that configures live hosts.
//!
//! ```text
//! cargo run --release -p towpath-examples --features docker --example dev_environment            # up
//! cargo run --release -p towpath-examples --features docker --example dev_environment -- --down
//! ```
//!
//! Needs a Docker Engine, and a local image with `/bin/sh` and Python (`IMAGE`; the one that `.ci/sshd-image` makes by default).
//! `dev_environment.py` beside this folder is the same in Python.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use towpath::docker::DockerEnvironmentConfig;
use towpath::listen::Progress;
use towpath::local::LocalMonitorConfig;
use towpath::pipeline::{Engine, Output, Pipeline, PipelineBuilder, RunOptions};
use towpath::playbook::PlaybookConfig;
use towpath::{Check, Gate, Json, Result, RunState};

/// A development environment: up, or down.
#[derive(Debug, Parser)]
struct Options {
    /// Removes the containers, their network and their data.
    #[arg(long)]
    down: bool,
    /// Where the state of towpath lives.
    #[arg(long, default_value = "target/dev_environment")]
    store: PathBuf,
}

fn pipeline() -> Pipeline {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("dev_environment");
    let p = PipelineBuilder::new("dev_environment");
    let dev = p.provision("dev", DockerEnvironmentConfig::compose(here.join("compose.yml")));
    let site = p.configure("site", PlaybookConfig::new(here.join("site.yml")), dev.inventory());
    // Asked inside of each container, under the name that they all know it by.
    let asks = "import urllib.request as r; r.urlopen('http://web:8000/', timeout=1)";
    let answers = Gate::of(vec![Check::command(["python3", "-c", asks])]);
    p.gate("answers", LocalMonitorConfig::default(), answers, dev.inventory()).after(&site);
    p.finish()
}

async fn run(options: &Options) -> Result<bool> {
    let _ = std::fs::create_dir_all(&options.store);
    let store = towpath::open_store(&format!("sqlite:{}", options.store.join("store.db").display())).await?;
    let engine =
        Engine::new(towpath::registry().into(), store).environment("laptop").listener(Arc::new(Progress::stderr()));
    let pipeline = pipeline();
    let run = RunOptions::default();
    if options.down {
        engine.destroy(&pipeline, run).await?;
        println!("down");
        return Ok(true);
    }
    let report = engine.run(&pipeline, run).await?;
    for step in &report.steps {
        println!("{:<8} {:.2} s", step.name, step.seconds);
    }
    if report.state != RunState::Done {
        return Ok(false);
    }
    let ports = report.output(&Output::<Json>::of("dev", "ports"))?;
    println!("up: http://{}/", ports.pointer("/web/8000~1tcp").and_then(Json::as_str).unwrap_or_default());
    Ok(true)
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
