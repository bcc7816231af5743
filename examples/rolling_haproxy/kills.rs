//! A deployer that is killed (SIGKILL) at every step of a roll: what its death leaves, and what the next run makes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use towpath::pipeline::{Engine, Pipeline, PipelineBuilder, ReleaseSpec, RunOptions};
use towpath::{Deployer as _, FaultPoint, Faults, Guardian, Record, Result, RunState, Target};

use crate::fleet::{ENVIRONMENT, Fleet, HOSTS, failed};

/// How long a drained host may stay so after its deployer died, with a guardian.
const LEASE_S: f64 = 3.0;

fn pipeline(fleet: &Fleet, version: &str) -> Result<Pipeline> {
    let p = PipelineBuilder::new(format!("roll {version}"));
    let release = fleet.release(version, "")?;
    let mut what = ReleaseSpec::new("web", version).env("VERSION", version);
    if let Some(artifact) = release.artifact {
        what = what.artifact(artifact);
    }
    let mut how = fleet.rolling().only(["web-1", "web-2"]);
    how.drain_lease_s = LEASE_S;
    how.watch = None;
    p.deploy("roll", Fleet::deployer(), what, fleet.inventory.clone()).rollout(how);
    Ok(p.finish())
}

/// What stands in the table for a point of the journal.
fn name(point: &FaultPoint<'_>) -> String {
    let of = |record: &Record| match record {
        Record::EffectIntent { path, .. } => format!("intent {path}"),
        Record::EffectDone { path, .. } => format!("result {path}"),
        Record::EffectNote { path, .. } => format!("note {path}"),
        other => format!("{other:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
    };
    match point {
        FaultPoint::BeforeAppend(record) => format!("before {}", of(record)),
        FaultPoint::AfterAppend(record) => format!("after {}", of(record)),
        FaultPoint::BeforeAct(path) => format!("before {path}"),
        FaultPoint::AfterAct(path) => format!("after {path}"),
    }
}

/// Rolls a version out, and dies at a point of its journal; `never` lives on.
pub(crate) async fn die(home: &Path, version: &str, point: &str, alone: bool) -> Result<bool> {
    let fleet = Fleet::open(home).await?;
    let _guardian = match alone {
        true => None,
        false => Some(Guardian::start(&Fleet::store_url(home), Some(&home.join("guardian.log")))?),
    };
    let (seen, wanted, file) = (AtomicUsize::new(0), point.parse::<usize>().ok(), home.join("point"));
    let faults = Faults::at_every_point(move |at| {
        if Some(seen.fetch_add(1, Ordering::SeqCst)) == wanted {
            let _ = std::fs::write(&file, name(at));
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::thread::sleep(Duration::from_secs(60));
        }
    });
    let engine =
        Engine::new(Arc::new(towpath::registry()), Arc::clone(&fleet.store)).environment(ENVIRONMENT).faults(faults);
    let report = engine.run(&pipeline(&fleet, version)?, RunOptions::default()).await?;
    Ok(report.state == RunState::Done)
}

/// What became of one kill.
struct Kill {
    at: String,
    /// Hosts that got no requests when the process was dead.
    drained: usize,
    /// Seconds until all got requests again, with nobody starting anything, or after a sweep.
    back_s: f64,
    finished: bool,
}

/// Kills the deployer at every step, once with a guardian and once without, and prints what came of it.
pub(crate) async fn run(fleet: &Fleet, quick: bool) -> Result<bool> {
    let mut well = true;
    for alone in [false, true] {
        let who = if alone { "no guardian, `towpath sweep`" } else { "with a guardian" };
        println!("\nkill -9 of the deployer at every step of a roll over two hosts, {who}:");
        println!("{:<64} {:>7} {:>7} {:>9}", "killed", "drained", "back s", "next run");
        let (mut kills, stride) = (Vec::new(), if quick { 7 } else { 1 });
        for point in (0..).step_by(stride) {
            let Some(kill) = once(fleet, &format!("k{}-{point}", u8::from(alone)), point, alone).await? else { break };
            let good = kill.finished && kill.back_s <= LEASE_S + 5.0;
            well &= good;
            println!(
                "{:<64} {:>7} {:>7.2} {:>9}{}",
                kill.at,
                kill.drained,
                kill.back_s,
                if kill.finished { "finished" } else { "FAILED" },
                if good { "" } else { "  NOT WELL" }
            );
            kills.push(kill);
        }
        let drained = kills.iter().filter(|k| k.drained > 0).count();
        let longest = kills.iter().map(|k| k.back_s).fold(0.0, f64::max);
        println!(
            "{} kills, {drained} left a host drained, the longest for {longest:.2} s (lease {LEASE_S} s)",
            kills.len()
        );
    }
    Ok(well)
}

/// One kill. `None`: the roll was over before this point.
async fn once(fleet: &Fleet, version: &str, point: usize, alone: bool) -> Result<Option<Kill>> {
    let child = |point: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap_or_default());
        command
            .arg("--home")
            .arg(&fleet.home)
            .args(["--die", version, point])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if alone {
            command.arg("--alone");
        }
        command.stderr(Stdio::null());
        command
    };
    let fail = |e: std::io::Error| failed("this program can't be started again").caused_by(e);
    let run = |mut command: Command| tokio::task::spawn_blocking(move || command.status());
    let ended = run(child(&point.to_string())).await.map_err(|e| failed(&e.to_string()))?.map_err(fail)?;
    if ended.success() {
        return Ok(None);
    }
    let at = std::fs::read_to_string(fleet.home.join("point")).unwrap_or_default();
    let from = Instant::now();
    let drained = HOSTS as usize - fleet.serving().await?.len();
    if alone {
        Engine::new(Arc::new(towpath::registry()), Arc::clone(&fleet.store)).environment(ENVIRONMENT).sweep().await?;
    }
    while fleet.serving().await?.len() < HOSTS as usize && from.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let back_s = if drained == 0 { 0.0 } else { from.elapsed().as_secs_f64() };
    let ended = run(child("never")).await.map_err(|e| failed(&e.to_string()))?.map_err(fail)?;
    let versions = versions(fleet).await?;
    let rolled = ["web-1", "web-2"].iter().all(|host| versions.get(*host).is_some_and(|v| v == version));
    let finished = ended.success() && rolled && fleet.serving().await?.len() == HOSTS as usize;
    Ok(Some(Kill { at, drained, back_s, finished }))
}

/// What runs on each host.
async fn versions(fleet: &Fleet) -> Result<BTreeMap<String, String>> {
    let (deployer, targets) = (towpath::ssh::ReleaseDirs::new(Fleet::deployer()), fleet.targets());
    let mut found = BTreeMap::new();
    for host in &fleet.inventory.hosts {
        let target = Target { host: targets.effective(host), connector: Arc::clone(&targets.connector) };
        let state = deployer.probe(&fleet.cx(), &target).await?;
        found.insert(host.name.clone(), state.current.filter(|_| state.running).unwrap_or_default());
    }
    Ok(found)
}
