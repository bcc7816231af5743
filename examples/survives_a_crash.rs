//! Steps of your own that survive a crash: run it, see it die in the middle, run it again.
//!
//! ```text
//! cargo run --release --example survives_a_crash -- --crash-at charge
//! cargo run --release --example survives_a_crash
//! ```
//!
//! The second command goes on where the first one died: `order` is not done again, and `charge` looks whether its effect
//! had happened before it does anything.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use towpath::pipeline::{Engine, OutputKind, PipelineBuilder, RunOptions, Values};
use towpath::{Context, Error, ErrorKind, Event, EventKind, Faults, Registry, Result};

/// The world that the steps change: a folder of receipts.
const RECEIPTS: &str = "target/survives_a_crash";

async fn write(name: &'static str, text: String) -> Result<String> {
    let path = Path::new(RECEIPTS).join(name);
    let fail = |e| Error::new(ErrorKind::Storage, "example", "write", "the receipt can't be written").caused_by(e);
    tokio::fs::create_dir_all(RECEIPTS).await.map_err(fail)?;
    tokio::fs::write(&path, &text).await.map_err(fail)?;
    Ok(text)
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry
        .function("order/v1", |cx: Context, _: Values| async move {
            let order: String =
                cx.effect_idempotent("place", json!({}), |_| write("order", "order 4711".into())).await?;
            Ok(Values::from([("order".to_owned(), json!(order))]))
        })
        .output("order", OutputKind::String);
    registry.function("charge/v1", |cx: Context, inputs: Values| async move {
        let order = inputs.get("order").and_then(|o| o.as_str()).unwrap_or_default().to_owned();
        let charge = |_| write("charge", format!("charged {order}"));
        // After a crash in the middle the answer comes from the world, not from a guess.
        let look = |_| async { Ok(tokio::fs::read_to_string(Path::new(RECEIPTS).join("charge")).await.ok()) };
        cx.effect("charge", json!({ "order": order }), charge, look).await.map(drop)
    });
    registry
}

fn show(event: &Event) {
    let step = event.step.as_deref().unwrap_or_default();
    match &event.kind {
        EventKind::RunStarted { resumed, .. } => println!("{}", if *resumed { "goes on" } else { "starts" }),
        EventKind::StepStarted { attempt } => println!("{step}: attempt {attempt}"),
        EventKind::StepFinished { state, .. } => println!("{step}: {state:?}"),
        _ => {}
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let faults = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--crash-at"), Some(step)) => Faults::abort_in_step(step),
        _ => Faults::none(),
    };
    let pipeline = PipelineBuilder::new("shop");
    let order = pipeline.call("order", "order/v1");
    pipeline.call("charge", "charge/v1").input("order", order.output::<String>("order"));

    let store = towpath::open_store(&format!("sqlite:{RECEIPTS}/store.db")).await?;
    let engine = Engine::new(Arc::new(registry()), store).faults(faults).listener(Arc::new(show));
    let report = engine.run(&pipeline.finish(), RunOptions::default()).await?;
    println!("{:?} in {:.3} s", report.state, report.seconds);
    Ok(())
}
