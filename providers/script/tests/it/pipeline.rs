//! Steps of a pipeline: plans that are saved, runs that are resumed, and what a killed process leaves on a host.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use towpath_core::pipeline::{Engine, Pipeline, ResumeOptions, RunOptions, RunReport};
use towpath_core::testkit::OpenSsh;
use towpath_core::{ErrorKind, Event, EventKind, MemoryStore, Registry, Result, StepState};

use crate::support::World;

struct Piped<'a> {
    world: &'a World,
    store: Arc<MemoryStore>,
}

impl<'a> Piped<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, store: Arc::default() }
    }

    fn engine(&self) -> Engine {
        let mut registry = Registry::new();
        towpath_script::register(&mut registry);
        registry.connector("ssh", |_: Value, _| Ok(Arc::new(OpenSsh)));
        Engine::new(Arc::new(registry), self.store.clone())
            .base_dir(self.world.dir.path())
            .lease(Duration::from_secs(2))
    }

    /// A pipeline file whose one step has these steps.
    fn pipeline(&self, steps: Value) -> Pipeline {
        let inventory = serde_json::to_string(&self.world.targets.inventory).unwrap();
        let text = format!(
            "name: demo\nsteps:\n  site:\n    configure:\n      script: {{ steps: {steps} }}\n    inventory: {inventory}\n"
        );
        Pipeline::from_yaml(&text, "pipeline.yml", self.engine().registry()).unwrap()
    }

    async fn run(&self, steps: Value) -> Result<RunReport> {
        self.engine().run(&self.pipeline(steps), RunOptions::default()).await
    }
}

fn state(report: &RunReport) -> Option<StepState> {
    report.step("site").unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_unchanged_and_a_saved_plan_must_still_hold() {
    let Some(world) = World::new(1).await else { return };
    let piped = Piped::new(&world);
    let steps = json!([
        { "upload": { "content": "one", "path": "/tmp/conf" } },
        { "run": { "script": "touch /tmp/made", "creates": "/tmp/made" } }
    ]);
    let pipeline = piped.pipeline(steps.clone());
    let saved = piped.engine().plan(&pipeline, RunOptions::default()).await.unwrap();
    assert!(saved.to_string().contains("2 to change, 0 unchanged, 0 known only"), "{saved}");
    // Somebody is faster.
    world.sh("echo other >/tmp/conf; chown deploy /tmp/conf");
    let refused = piped.engine().apply(&saved).await.unwrap();
    let error = refused.step("site").unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_eq!(world.sh("cat /tmp/conf; ls /tmp"), "other\nconf", "nothing was done");

    assert_eq!(state(&piped.run(steps.clone()).await.unwrap()), Some(StepState::Done));
    assert_eq!(state(&piped.run(steps.clone()).await.unwrap()), Some(StepState::Unchanged));
    assert!(piped.engine().plan(&pipeline, RunOptions::default()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_does_not_repeat_what_is_done() {
    let Some(world) = World::new(1).await else { return };
    let piped = Piped::new(&world);
    world.write("second.sh", "exit 1\n");
    let steps = json!([{ "run": { "script": "echo first >>/tmp/log" } }, { "run": { "file": "second.sh" } }]);
    let failed = piped.run(steps.clone()).await.unwrap();
    let error = failed.step("site").unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::ToolFailed, "{error}");
    world.write("second.sh", "echo second >>/tmp/log\n");
    let resumed = piped.engine().resume(None, ResumeOptions::default()).await.unwrap();
    assert_eq!((state(&resumed), world.sh("cat /tmp/log")), (Some(StepState::Done), "first\nsecond".to_owned()));
}

/// The first process stands still for ever in the middle of a script, as after a kill. The next one ends what it left running, and does
/// not guess whether it has happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_running_is_ended() {
    let Some(world) = World::new(1).await else { return };
    let piped = Piped::new(&world);
    let steps = json!([{ "run": { "name": "Beat", "script": "echo on\n(while :; do echo x >>/tmp/beat; sleep 0.1; done) &\nwait" } }]);
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let still = move |e: &Event| {
        if matches!(e.kind, EventKind::Output { .. }) {
            tell.lock().unwrap().send(()).ok();
            loop {
                std::thread::park();
            }
        }
    };
    let (engine, pipeline) = (piped.engine().listener(Arc::new(still)), piped.pipeline(steps.clone()));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(engine.run(&pipeline, RunOptions::default()));
    });
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    let warned: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = warned.clone();
    let listener = move |e: &Event| {
        if let EventKind::Warning { message } = &e.kind {
            seen.lock().unwrap().push(message.clone());
        }
    };
    let next = piped.engine().listener(Arc::new(listener));
    let error = next.run(&piped.pipeline(steps), RunOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("task")), (ErrorKind::Interrupted, Some("Beat")), "{error:?}");
    let warned = warned.lock().unwrap().clone();
    assert!(warned.iter().any(|w| w.contains("left running: Beat")), "{warned:?}");
    let size = world.sh("stat -c %s /tmp/beat");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        world.sh("stat -c %s /tmp/beat; ls -A /tmp"),
        format!("{size}\nbeat"),
        "neither the script nor its folder is left"
    );
}
