use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use towpath_core::pipeline::{Engine, Pipeline, PipelinePlan, ResumeOptions, RunOptions, RunReport, Values};
use towpath_core::{Certainty, Error, ErrorKind, Json, Registry, Result, RunId, Timestamp};

use super::options::{Cli, Common, File, Verb};
use super::{Exit, print, say};
use crate::listen::{JsonLines, Progress, run_state, step_state};

pub(crate) async fn run(cli: Cli) -> Result<Exit> {
    let common = &cli.common;
    match cli.verb {
        Verb::Schema => {
            print(&pretty(&common.registry().pipeline_schema()));
            Ok(Exit::Done)
        }
        Verb::Plan { file, out } => plan(common, &file, out.as_deref()).await,
        Verb::Run { file, set, plan, fresh, journal } => {
            let from = match (&file, &plan) {
                (Some(file), None) => From::File(file, set),
                (_, Some(plan)) => From::Plan(plan),
                (None, None) => return Err(bad("name a pipeline file, or a plan with --plan")),
            };
            start(common, from, fresh, journal.as_deref()).await
        }
        Verb::Resume { run, set, rerun, base_dir } => {
            let engine = progress(engine(common, common.registry(), base_dir).await?);
            let options = ResumeOptions { values: values(&set)?, rerun };
            finish(common, &engine.resume(run.map(RunId).as_ref(), options).await?)
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
        Verb::Preflight { file } => preflight(common, &file).await,
    }
}

enum From<'a> {
    File(&'a Path, Vec<String>),
    Plan(&'a Path),
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "towpath", "command line", message)
}

async fn engine(common: &Common, registry: Arc<Registry>, base_dir: PathBuf) -> Result<Engine> {
    let kind = ["sqlite:", "memory:"].iter().any(|k| common.store.starts_with(k));
    let url = if kind { common.store.clone() } else { format!("sqlite:{}", common.store) };
    let store = crate::open_store(&url).await?;
    let token = CancellationToken::new();
    tokio::spawn({
        let token = token.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                say("cancelling; waiting until nothing runs any more (Ctrl-C again: do not wait)");
                token.cancel();
                if tokio::signal::ctrl_c().await.is_ok() {
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

fn progress(engine: Engine) -> Engine {
    engine.listener(Arc::new(Progress::stderr()))
}

fn folder(file: &Path) -> PathBuf {
    file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn values(set: &[String]) -> Result<Values> {
    set.iter()
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| bad("a parameter is set as NAME=VALUE").with("argument", format!("--set {pair}")))?;
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Json::from(value))))
        })
        .collect()
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn plan(common: &Common, file: &File, out: Option<&Path>) -> Result<Exit> {
    let registry = common.registry();
    let pipeline = Pipeline::load(&file.file, &registry)?;
    let engine = engine(common, registry, folder(&file.file)).await?;
    let plan = engine.plan(&pipeline, RunOptions { values: values(&file.set)?, fresh: false }).await?;
    if let Some(out) = out {
        save(out, &pretty(&plan))?;
    }
    print(&if common.json { pretty(&plan) } else { describe(&plan) });
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

fn describe(plan: &PipelinePlan) -> String {
    let mut lines = Vec::new();
    let mut stage = "";
    for change in &plan.plan.changes {
        if change.stage != stage {
            stage = &change.stage;
            lines.push(format!("{stage}:"));
        }
        let sure = match change.certainty {
            Certainty::Will => "will",
            Certainty::WillNot => "will not change",
            Certainty::CannotKnow => "cannot know",
        };
        let action = match change.certainty {
            Certainty::WillNot => String::new(),
            _ => format!(" {:?}", change.action).to_lowercase(),
        };
        let why = change.reason.as_ref().map_or_else(String::new, |r| format!("  ({r})"));
        lines.push(format!("  {}: {}: {sure}{action}{why}", change.target, change.subject));
    }
    for deferred in &plan.plan.deferred {
        lines.push(format!(
            "{}:\n  planned when it starts, waits for {}",
            deferred.step,
            deferred.waits_for.join(", ")
        ));
    }
    lines.extend(plan.plan.warnings.iter().map(|w| format!("warning: {w}")));
    if plan.is_empty() {
        lines.push("nothing would change".to_owned());
    }
    lines.join("\n")
}

async fn start(common: &Common, from: From<'_>, fresh: bool, journal: Option<&Path>) -> Result<Exit> {
    let registry = common.registry();
    let journal = journal.map(JsonLines::append_to).transpose()?.map(Arc::new);
    let listening = |engine: Engine| match &journal {
        Some(journal) => progress(engine).listener(Arc::clone(journal) as Arc<dyn crate::Listener>),
        None => progress(engine),
    };
    let report = match from {
        From::File(file, set) => {
            let pipeline = Pipeline::load(file, &registry)?;
            let engine = listening(engine(common, registry, folder(file)).await?);
            engine.run(&pipeline, RunOptions { values: values(&set)?, fresh }).await?
        }
        From::Plan(file) => {
            let fail = |e: Box<dyn std::error::Error + Send + Sync>| {
                bad("the plan can't be read: make it again with `towpath plan --out`")
                    .with("file", file.display())
                    .caused_by(e)
            };
            let text = std::fs::read(file).map_err(|e| fail(e.into()))?;
            let plan: PipelinePlan = serde_json::from_slice(&text).map_err(|e| fail(e.into()))?;
            listening(engine(common, registry, folder(file)).await?).apply(&plan).await?
        }
    };
    finish(common, &report)
}

fn finish(common: &Common, report: &RunReport) -> Result<Exit> {
    if common.json {
        print(&pretty(report));
    } else {
        for step in &report.steps {
            let state = step.state.map_or("not finished", step_state);
            print(&format!("{:<20} {state:<16} {:>7.1} s  {} attempts", step.name, step.seconds, step.attempts));
        }
        print(&format!("run {}: {} in {:.1} s", report.run, run_state(report.state), report.seconds));
    }
    Ok(Exit::of(report.state))
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
    let leases = engine(common, common.registry(), PathBuf::from(".")).await?.store().leases().await?;
    if common.json {
        print(&pretty(&leases));
        return Ok(Exit::Done);
    }
    for lease in leases {
        let left = lease.expires_at.since(Timestamp::now()).as_secs();
        let end = if left > 0 { format!("{left} s left") } else { "expired: `towpath sweep` undoes it".to_owned() };
        print(&format!("{}  held by {} ({}), {end}", lease.key, lease.owner.label, lease.reason));
    }
    Ok(Exit::Done)
}

async fn sweep(common: &Common) -> Result<Exit> {
    let mut exit = Exit::Done;
    for swept in engine(common, common.registry(), PathBuf::from(".")).await?.sweep().await? {
        match swept.outcome {
            Ok(()) => print(&format!("undone: {}", swept.lease.key)),
            Err(e) => {
                say(&format!("error: {} could not be undone, and stays: {e}", swept.lease.key));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

async fn preflight(common: &Common, file: &File) -> Result<Exit> {
    let registry = common.registry();
    let pipeline = Pipeline::load(&file.file, &registry)?.with_values(&values(&file.set)?)?;
    let engine = engine(common, registry, folder(&file.file)).await?;
    let mut exit = Exit::Done;
    for (step, found) in engine.preflight(&pipeline).await? {
        match found {
            Ok(found) => {
                print(&format!("{step}: ok {}", found.ok.join("; ")));
                found.warnings.iter().for_each(|w| print(&format!("{step}: warning: {w}")));
            }
            Err(e) => {
                say(&format!("{step}: error: {}", e.report()));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}
