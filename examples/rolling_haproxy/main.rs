//! Releases of a service move over six hosts behind HAProxy while it is under load, and no request is lost: rolling deploys,
//! blue/green switches, rollbacks. Then twelve bad releases, and a deployer that is killed at every step.
//!
//! ```text
//! cargo run --release --example rolling_haproxy                 # all of it: some ten minutes
//! cargo run --release --example rolling_haproxy -- --quick      # fewer rounds: two minutes
//! ```
//!
//! It needs HAProxy (`apt-get install haproxy`), and nothing else: the hosts are folders and processes of this machine.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod faults;
mod fleet;
mod kills;
mod load;
mod phases;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use towpath::rollout::Batch;
use towpath::{ErrorKind, Result};

use fleet::Fleet;
use load::Load;

#[derive(Debug, Parser)]
struct Options {
    /// Fewer rounds of everything
    #[arg(long)]
    quick: bool,
    /// Requests a second
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Only these parts: phases, faults, kills
    #[arg(long, value_delimiter = ',', value_parser = ["phases", "faults", "kills"])]
    only: Vec<String>,
    /// Where hosts, store and HAProxy's files are kept
    #[arg(long)]
    home: Option<PathBuf>,
    /// Rolls this version out in a process that is killed at this point of its journal; the third part starts it
    #[arg(long, hide = true, num_args = 2, value_names = ["VERSION", "POINT"])]
    die: Option<Vec<String>>,
    /// Without a guardian
    #[arg(long, hide = true)]
    alone: bool,
}

fn main() -> ExitCode {
    // Hosts, guardian and service are this program, started again.
    towpath::init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return said(&e.to_string(), 1),
    };
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return runtime.block_on(service::serve()).map_or_else(|e| said(&e.to_string(), 1), |()| ExitCode::SUCCESS);
    }
    match runtime.block_on(run(&Options::parse())) {
        Ok(well) => ExitCode::from(u8::from(!well)),
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::ToolMissing) => said(&e.report(), 2),
        Err(e) => said(&e.report(), 1),
    }
}

fn said(error: &str, code: u8) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}

async fn run(options: &Options) -> Result<bool> {
    let home = match &options.home {
        Some(home) => std::path::absolute(home).unwrap_or_else(|_| home.clone()),
        None => default_home(),
    };
    if let Some([version, point]) = options.die.as_deref() {
        return kills::die(&home, version, point, options.alone).await;
    }
    let fleet = Fleet::start(&home).await?;
    // A first release, before anybody asks for anything.
    let all_at_once = fleet.rolling().batch(Batch::Percent(100));
    let first = fleet.deploy(&fleet.cx(), all_at_once, &fleet.release("v0", "")?).await?;
    println!("six hosts behind HAProxy at {}: v0 {:?}", fleet.address(), first.outcome);
    let load = Load::start(&fleet.address(), options.rate);
    let wants = |part: &str| options.only.is_empty() || options.only.iter().any(|p| p == part);
    let mut well = true;
    let one_turn = phases::one_turn(&fleet).await?;
    if wants("phases") {
        well &= phases::run(&fleet, &load, if options.quick { 3 } else { 20 }).await?;
    }
    if wants("faults") {
        well &= faults::run(&fleet, &load, one_turn).await?;
    }
    println!("\n{:.0} requests a second over all of it, half of them on new connections", load.per_second());
    load.end().await;
    if wants("kills") {
        well &= kills::run(&fleet, options.quick).await?;
    }
    drop(fleet);
    Fleet::destroy(&home).await?;
    Ok(well)
}

/// In the build's target folder: where this program is, two folders up.
fn default_home() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).unwrap_or(Path::new(".")).join("rolling_haproxy")
}
