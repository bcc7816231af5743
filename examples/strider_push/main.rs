//! A push starts a pipeline, whose release is a job of a Strider server, followed live.
//!
//! ```text
//! cargo run --release -p towpath-examples --features strider --example strider_push
//! ```
//!
//! Needs Node.js and npm, and nothing else: a simulator plays Strider, since the server is no longer published as a package. It answers as Strider 2.4.20 was
//! recorded to, its websocket is the real socket.io 2, and a real shell runs the phases. It also plays the Git server that sends the webhook.
//! `strider_push.py` beside this folder is the same in Python.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde_json::json;
use towpath::pipeline::{Engine, Pipeline, PipelineBuilder, RunOptions};
use towpath::rollout::Rolling;
use towpath::strider::{
    BranchSetup, PluginSetup, ProjectSetup, Push, Strider, StriderConfig, WebhookConfig, WebhookListener,
};
use towpath::{
    Context, Error, ErrorKind, Event, EventKind, Inventory, Release, Result, RunState, Secret, SecretRef, Store,
};

// The same that the tests of the provider use.
#[path = "../../providers/strider/tests/it/simulator.rs"]
mod simulator;

use simulator::{PASSWORD, Simulator, USER};

/// What GitHub and the listener both know.
const HOOK: &str = "shared-with-the-git-server";

/// The first one is deployed, the second one breaks in its deploy phase and is rolled back.
const COMMITS: [&str; 2] = ["4b825dc642cb6eb9a060e54bf8d69288fbee4904", "bad0c0ffee42cb6eb9a060e54bf8d69288fbee49"];

/// A push that starts a pipeline.
#[derive(Debug, Parser)]
struct Options {
    /// Where the state of towpath lives. A new folder if not given.
    #[arg(long)]
    store: Option<PathBuf>,
}

fn pipeline(config: &StriderConfig, push: &Push) -> Result<Pipeline> {
    let p = PipelineBuilder::new("web");
    let release =
        Release { service: "web".into(), version: push.commit.clone(), artifact: None, env: Default::default() };
    // Strider knows its hosts by itself.
    p.deploy("roll out", config.clone(), release, Inventory::default()).rollout(Rolling::default());
    Ok(p.finish())
}

/// The project: a branch for each version, and what its phases run.
async fn set_up(cx: &Context, config: &StriderConfig) -> Result<()> {
    let scripts = [
        ("prepare", "echo fetching the dependencies"),
        ("test", "for n in 1 2 3; do echo test $n passed; sleep 0.2; done"),
        ("deploy", "sleep 0.2; echo deployed"),
    ];
    let broken = [("test", "echo all tests passed"), ("deploy", "echo 'no space left on device' >&2; exit 28")];
    let branch = |plugin| BranchSetup {
        active: Some(true),
        mirror_master: Some(false),
        plugins: Some(vec![plugin]),
        ..BranchSetup::default()
    };
    let project = ProjectSetup::git("acme/web", "https://git.example.test/acme/web.git")
        .branch("release-*", branch(PluginSetup::custom(scripts)))
        .branch(format!("release-{}", COMMITS[1]), branch(PluginSetup::custom(broken)));
    for line in Strider::new(config.clone())?.set_up(cx, &project).await? {
        println!("set up: {line}");
    }
    Ok(())
}

/// Prints what the job does as it does it.
fn show(event: &Event) {
    match &event.kind {
        EventKind::TaskResult { task, result, seconds, .. } if task.starts_with("phase ") => {
            println!("  {task:<20} exit code {:<3} {seconds:.1} s", result["exit_code"]);
        }
        EventKind::Output { stream, line } => println!("  {stream} | {line}"),
        EventKind::Rollout { phase, version, .. } => println!("{phase} {:.7}", version),
        _ => {}
    }
}

async fn deploy(config: &StriderConfig, store: Arc<dyn Store>, push: &Push) -> Result<RunState> {
    println!(
        "\n{} was pushed to {} ({})",
        short(&push.commit),
        push.project,
        push.branch.as_deref().unwrap_or("a tag")
    );
    let engine = Engine::new(towpath::registry().into(), store)
        .environment("live")
        .secret("strider", Secret::new(PASSWORD))
        .listener(Arc::new(show));
    let report = engine.run(&pipeline(config, push)?, RunOptions::default()).await?;
    println!("run of {}: {:?}", short(&push.commit), report.state);
    Ok(report.state)
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// What GitHub says of a push.
fn payload(commit: &str) -> serde_json::Value {
    json!({
        "ref": "refs/heads/master", "after": commit,
        "repository": { "full_name": "acme/web", "html_url": "https://git.example.test/acme/web" },
        "head_commit": { "message": "Sell coffee, too" },
    })
}

async fn run(options: Options) -> Result<bool> {
    let missing = || {
        let message =
            "the simulator of Strider can't be started: install Node.js and npm, and let npm install socket.io 2.5.1";
        Error::new(ErrorKind::ToolMissing, "example", "start", message)
    };
    let simulator = Simulator::start(&[]).ok_or_else(missing)?;
    println!("a simulator plays Strider at {}: the server itself is no longer published", simulator.url());
    let folder = tempfile::tempdir()
        .map_err(|e| Error::new(ErrorKind::Storage, "example", "store", "no folder").caused_by(e))?;
    let place = options.store.unwrap_or_else(|| folder.path().to_owned());
    let store = towpath::open_store(&format!("sqlite:{}", place.join("store.db").display())).await?;

    let cx = Context::builder().secret("strider", Secret::new(PASSWORD)).secret("hook", Secret::new(HOOK)).build();
    let config = StriderConfig::new(simulator.url(), USER, SecretRef::Given("strider".into()), "acme/web")
        .branch("release-{version}");
    set_up(&cx, &config).await?;

    let address = ([127, 0, 0, 1], 0).into();
    let mut listener = WebhookListener::bind(&cx, WebhookConfig::new(address, SecretRef::Given("hook".into()))).await?;
    let to = format!("http://{}/", listener.address());
    let mut states = Vec::new();
    for commit in COMMITS {
        let push = json!({ "to": to, "secret": HOOK, "payload": payload(commit) }).to_string();
        println!("\nthe webhook is answered with {}", simulator.control("push", &push));
        let Some(push) = listener.next(&cx).await? else { break };
        states.push(deploy(&config, Arc::clone(&store), &push).await?);
    }
    let forged = json!({ "to": to, "secret": "guessed", "payload": payload(COMMITS[0]) }).to_string();
    println!("\na webhook with a forged signature is answered with {}", simulator.control("push", &forged));
    listener.close().await;
    Ok(states == [RunState::Done, RunState::RolledBack])
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run(options)) {
        Ok(well) => ExitCode::from(u8::from(!well)),
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
