//! The whole life of a small web service, on this machine and with nothing installed: hosts, their configuration, an image,
//! and three releases under load, of which the last one is bad and is taken back.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! Run it again: it finds everything as it is, and deploys nothing. Kill it anywhere, or let it die with `--crash-at`, and
//! run it again: it goes on. `--destroy` ends and removes all.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod given;
mod options;
mod pipeline;
mod serve;
mod summary;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use tokio_util::sync::CancellationToken;
use towpath::listen::{Progress, RunFiles};
use towpath::local::{Local, LocalBalancer};
use towpath::pipeline::{Engine, RunOptions};
use towpath::{Artifact, Context, Error, ErrorKind, Faults, Provisioner as _, Result};

use options::Options;
use pipeline::{LAST_RELEASE, Wanted};
use traffic::Traffic;

/// The environment that leases and ledgers are kept for.
const ENVIRONMENT: &str = "quickstart";

fn main() -> ExitCode {
    // The hosts and the balancer are this program, started again.
    towpath::init();
    if std::env::args().nth(1).as_deref() == Some("serve") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(serve::serve()));
        return served.map_or_else(|e| said(&e.to_string(), 1), |()| ExitCode::SUCCESS);
    }
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&options)),
        Err(e) => return said(&e.to_string(), 1),
    };
    match done {
        Ok(well) => ExitCode::from(u8::from(!well)),
        Err(e) => {
            let code = match e.kind() {
                ErrorKind::Cancelled => 130,
                ErrorKind::InvalidInput | ErrorKind::NotFound => 2,
                _ => 1,
            };
            said(&e.report(), code)
        }
    }
}

fn said(error: &str, code: u8) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}

fn failed(message: &str) -> Error {
    Error::new(ErrorKind::Internal, "quickstart", "start", message)
}

/// The build's target folder: where this program is, two folders up.
fn default_home() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|e| failed("this program has no path").caused_by(e))?;
    let target = program.ancestors().nth(3).unwrap_or(Path::new("."));
    Ok(target.join("quickstart"))
}

async fn run(options: &Options) -> Result<bool> {
    let home = options.store.clone().map_or_else(default_home, Ok)?;
    let home = std::path::absolute(&home).unwrap_or(home);
    let cx = Context::builder().environment(ENVIRONMENT).build();
    if options.destroy {
        return destroy(&cx, &home).await.map(|()| true);
    }
    let mut given = match &options.inventory {
        Some(file) => Some(given::Given::load(file)?),
        None => None,
    };
    let balancer = LocalBalancer::new(pipeline::balancer(&home))?;
    let address = match &mut given {
        // Nothing is started for a plan.
        Some(_) if options.plan => Some("127.0.0.1:0".to_owned()),
        Some(given) => Some(given.reach(&cx, &balancer).await?),
        None => None,
    };
    let program = std::env::current_exe().map_err(|e| failed("this program has no path").caused_by(e))?;
    let wanted = Wanted {
        program: Artifact::of_file("quickstart", program)?,
        home: &home,
        given: given.as_ref().map(|g| g.inventory().clone()).zip(address),
    };
    let pipeline = pipeline::build(&wanted);
    let (traffic, stop) = Traffic::until(LAST_RELEASE);
    let mut registry = towpath::registry();
    traffic.register(&mut registry);

    let database = home.join("store.db");
    // A plan of what was never run has no state to look at, and makes none.
    let fresh_plan = options.plan && !database.exists();
    let url = if fresh_plan { "memory:".to_owned() } else { format!("sqlite:{}", database.display()) };
    let cancel = CancellationToken::new();
    let mut engine = Engine::new(Arc::new(registry), towpath::open_store(&url).await?)
        .environment(ENVIRONMENT)
        .cancel(cancel.clone())
        .label(format!("quickstart, pid {}", std::process::id()))
        .listener(Arc::new(stop));
    if options.plan {
        println!("{}", engine.plan(&pipeline, RunOptions::default()).await?);
        return Ok(true);
    }
    if let Some(step) = &options.crash_at {
        if pipeline.step(step).is_none() {
            let steps: Vec<&str> = pipeline.steps.iter().map(|s| s.name.as_str()).collect();
            return Err(Error::new(ErrorKind::InvalidInput, "quickstart", "--crash-at", "there is no such step")
                .with("step", step)
                .with("steps", steps.join(", ")));
        }
        engine = engine.faults(Faults::abort_in_step(step));
    }
    if !options.json {
        engine = engine.listener(Arc::new(Progress::stderr()));
    }
    let files = RunFiles::in_folder(home.join("runs"));
    engine = files.listen(engine);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    let report = engine.run(&pipeline, RunOptions::default()).await;
    let left = files.close(report.as_ref().err());
    let report = report?;
    let summary = summary::Summary::of(&report, &balancer.address(&cx).await?, left).await;
    println!("{}", if options.json { summary.json() } else { summary.to_string() });
    Ok(summary.is_well())
}

/// Ends hosts and balancer, and removes what was kept. What was put on hosts of an inventory stays there.
async fn destroy(cx: &Context, home: &Path) -> Result<()> {
    let environment = Local::new(pipeline::fleet(home))?;
    environment.destroy(cx).await?;
    LocalBalancer::new(pipeline::balancer(home))?.stop(cx).await?;
    match tokio::fs::remove_dir_all(home).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::Storage, "quickstart", "destroy", "the folder can't be removed")
                .with("folder", home.display())
                .caused_by(e))
        }
        _ => Ok(()),
    }
}
