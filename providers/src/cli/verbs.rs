use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use towpath_core::pipeline::{Engine, Pipeline, ResumeOptions, RunOptions, Values, nearest};
use towpath_core::{Error, ErrorKind, Json, Registry, Result, RunId, Timestamp};

use super::display::Display;
use super::options::{Cli, Common, File, Verb};
use super::runs::{self, From};
use super::{Exit, print, say};
use crate::listen::{run_state, step_state};

pub(crate) async fn run(cli: Cli) -> Result<Exit> {
    let common = &cli.common;
    match cli.verb {
        Verb::Schema { provider } => schema(&common.registry(), provider.as_deref()),
        Verb::Plan { file, out } => plan(common, &file, out.as_deref()).await,
        Verb::Run { file, set, plan, fresh, watch } => {
            let from = match (&file, &plan) {
                (Some(file), None) => From::File(file, set),
                (_, Some(plan)) => From::Plan(plan),
                (None, None) => return Err(bad("name a pipeline file, or a plan with --plan")),
            };
            runs::start(common, from, fresh, &watch).await
        }
        Verb::Resume { run, set, rerun, base_dir, watch } => {
            let options = ResumeOptions { values: values(&set)?, rerun };
            runs::resume(common, run.map(RunId), options, base_dir, &watch).await
        }
        Verb::Status { run } => status(common, run.map(RunId)).await,
        Verb::Leases => leases(common).await,
        Verb::Sweep => sweep(common).await,
        Verb::Approve { run, step, refuse } => {
            let engine = engine(common, common.registry(), PathBuf::from(".")).await?;
            let by = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
            engine.approve(&RunId(run), &step, !refuse, &by).await?;
            Ok(Exit::Done)
        }
        Verb::Rollout { service, order, why } => super::rollout::rollout(common, &service, order, &why).await,
        Verb::Preflight { file } => preflight(common, &file).await,
        Verb::Destroy { file } => destroy(common, &file).await,
    }
}

pub(super) fn bad(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "towpath", "command line", message)
}

pub(super) async fn engine(common: &Common, registry: Arc<Registry>, base_dir: PathBuf) -> Result<Engine> {
    engine_with(common, registry, base_dir, &Arc::new(Display::new(true))).await
}

/// An engine that is cancelled by Ctrl-C and SIGTERM, and says so where the run's progress is shown.
pub(super) async fn engine_with(
    common: &Common,
    registry: Arc<Registry>,
    base_dir: PathBuf,
    display: &Arc<Display>,
) -> Result<Engine> {
    let store = crate::open_store(&common.store_url()).await?;
    let token = CancellationToken::new();
    tokio::spawn({
        let (token, display) = (token.clone(), Arc::clone(display));
        async move {
            if super::asked_to_stop().await {
                display.say("cancelling; waiting until nothing runs any more (Ctrl-C again: do not wait)");
                token.cancel();
                if super::asked_to_stop().await {
                    display.close();
                    say("not waited: remote commands may still run; the next `towpath run` looks for them");
                    std::process::exit(130);
                }
            }
        }
    });
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown user".to_owned());
    Ok(Engine::new(registry, store)
        .environment(&common.environment)
        .base_dir(base_dir)
        .cancel(token)
        .label(format!("pid {} ({user})", std::process::id())))
}

pub(super) fn folder(file: &Path) -> PathBuf {
    file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

pub(super) fn values(set: &[String]) -> Result<Values> {
    set.iter()
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| bad("a parameter is set as NAME=VALUE").with("argument", format!("--set {pair}")))?;
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Json::from(value))))
        })
        .collect()
}

pub(super) fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn plan(common: &Common, file: &File, out: Option<&Path>) -> Result<Exit> {
    let registry = common.registry();
    let pipeline = Pipeline::load(&file.file, &registry)?;
    let options = RunOptions { values: values(&file.set)?, fresh: false };
    // Before the store is made.
    pipeline.with_values(&options.values)?;
    let engine = engine(common, registry, folder(&file.file)).await?;
    let plan = engine.plan(&pipeline, options).await?;
    if let Some(out) = out {
        save(out, &pretty(&plan))?;
    }
    print(&if common.json { pretty(&plan) } else { plan.to_string() });
    Ok(Exit::Done)
}

/// A plan can hold file contents: it is for its owner only.
fn save(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).and_then(|mut f| f.write_all(text.as_bytes())).map_err(|e| {
        Error::new(ErrorKind::Storage, "towpath", "plan", "the plan can't be written")
            .with("file", path.display())
            .caused_by(e)
    })
}

fn schema(registry: &Registry, provider: Option<&str>) -> Result<Exit> {
    let Some(wanted) = provider else {
        print(&pretty(&registry.pipeline_schema()));
        return Ok(Exit::Done);
    };
    let mut all = registry.config_schemas();
    let bare = |name: &String| name.split_once('-').is_some_and(|(_, provider)| provider == wanted);
    let found: Vec<String> = match all.contains_key(wanted) {
        true => vec![wanted.to_owned()],
        false => all.keys().filter(|n| bare(n)).cloned().collect(),
    };
    match &found[..] {
        [one] => print(&pretty(&all.remove(one))),
        [] => {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            let near = nearest(wanted, names.iter().copied())
                .map_or_else(|| format!("there are: {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
            return Err(bad(&format!("there is no provider called `{wanted}`; {near}")));
        }
        several => return Err(bad(&format!("`{wanted}` is several providers: name one of {}", several.join(", ")))),
    }
    Ok(Exit::Done)
}

async fn status(common: &Common, run: Option<RunId>) -> Result<Exit> {
    let engine = engine(common, common.registry(), PathBuf::from(".")).await?;
    let Some(status) = engine.status(run.as_ref()).await? else {
        print(if common.json { "null" } else { "no run yet" });
        return Ok(Exit::Done);
    };
    if common.json {
        print(&pretty(&status));
        return Ok(Exit::Done);
    }
    let run = &status.run;
    print(&format!("run {} of {} in {}: {}", run.id, run.pipeline, run.environment, run_state(run.state)));
    for step in &status.steps {
        let state = match step.state {
            Some(state) => step_state(state),
            None if step.running => "under way",
            None => "waits",
        };
        let why = step.error.as_ref().map_or_else(String::new, |e| format!(": {e}"));
        print(&format!("  {:<20} {state}{why}", step.name));
    }
    Ok(Exit::Done)
}

async fn leases(common: &Common) -> Result<Exit> {
    let engine = engine(common, common.registry(), PathBuf::from(".")).await?;
    let leases = engine.store().leases().await?;
    if common.json {
        print(&pretty(&leases));
        return Ok(Exit::Done);
    }
    for lease in leases {
        let left = lease.expires_at.since(Timestamp::now()).as_secs();
        let end = if left > 0 { format!("{left} s left") } else { "expired: `towpath sweep` undoes it".to_owned() };
        print(&format!("{}  held by {} ({}), {end}", lease.key, lease.owner.label, lease.reason));
        for waiter in towpath_core::waiting(engine.store(), &lease.key).await? {
            print(&format!("  then {} ({})", waiter.label, waiter.reason));
        }
    }
    Ok(Exit::Done)
}

async fn sweep(common: &Common) -> Result<Exit> {
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for swept in engine(common, common.registry(), PathBuf::from(".")).await?.sweep().await? {
        let key = swept.lease.key;
        if let Err(e) = &swept.outcome {
            say(&format!("error: {key} could not be undone, and stays: {e}"));
            exit = Exit::Failed;
        } else if !common.json {
            print(&format!("undone: {key}"));
        }
        all.push(json!({ "key": key, "undone": swept.outcome.is_ok(), "error": swept.outcome.err() }));
    }
    if common.json {
        print(&pretty(&all));
    }
    Ok(exit)
}

async fn destroy(common: &Common, file: &File) -> Result<Exit> {
    let registry = common.registry();
    let pipeline = Pipeline::load(&file.file, &registry)?;
    let options = RunOptions { values: values(&file.set)?, fresh: false };
    // Before the store is made.
    pipeline.with_values(&options.values)?;
    let removed = engine(common, registry, folder(&file.file)).await?.destroy(&pipeline, options).await?;
    if common.json {
        let all: Vec<_> = removed.iter().map(|(step, n)| json!({ "step": step, "removed": n })).collect();
        print(&pretty(&all));
        return Ok(Exit::Done);
    }
    for (step, count) in removed {
        print(&match count {
            0 => format!("{step}: nothing was there"),
            1 => format!("{step}: 1 thing removed"),
            n => format!("{step}: {n} things removed"),
        });
    }
    Ok(Exit::Done)
}

async fn preflight(common: &Common, file: &File) -> Result<Exit> {
    let registry = common.registry();
    let pipeline = Pipeline::load(&file.file, &registry)?.with_values(&values(&file.set)?)?;
    let engine = engine(common, registry, folder(&file.file)).await?;
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for (step, found) in engine.preflight(&pipeline).await? {
        match &found {
            Ok(found) if !common.json => {
                print(format!("{step}: ok {}", found.ok.join("; ")).trim_end());
                found.warnings.iter().for_each(|w| print(&format!("{step}: warning: {w}")));
            }
            Ok(_) => {}
            Err(e) => {
                say(&format!("{step}: error: {}", e.report()));
                exit = Exit::Failed;
            }
        }
        all.push(match found {
            Ok(found) => json!({ "step": step, "ok": found.ok, "warnings": found.warnings }),
            Err(e) => json!({ "step": step, "error": e.record() }),
        });
    }
    if common.json {
        print(&pretty(&all));
    }
    Ok(exit)
}
