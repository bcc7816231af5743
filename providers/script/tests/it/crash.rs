//! A process that stops in the middle, and the one that continues its run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use async_trait::async_trait;
use serde_json::{Value, json};
use towpath_core::testkit::OpenSsh;
use towpath_core::{
    Capabilities, Configurator as _, Configured, Connection, Connector, Context, ErrorKind, FaultPoint, Faults, Host,
    Journal, MemoryStore, Preflight, Result, RunId, Store as _,
};

use crate::support::World;

/// A run whose journal outlives the processes that work on it.
struct Life {
    store: Arc<MemoryStore>,
    run: RunId,
}

impl Life {
    fn new() -> Self {
        Self { store: Arc::default(), run: RunId("run".into()) }
    }

    async fn cx(&self, faults: Faults) -> Context {
        let entries = self.store.journal(&self.run).await.unwrap();
        let journal = Journal::in_store(self.store.clone(), self.run.clone(), None, &entries, faults);
        Context::builder().journal(self.run.clone(), journal).build().for_step("site")
    }

    async fn go_on(&self, world: &World, steps: Value, rerun: bool) -> Result<Configured> {
        let cx = self.cx(Faults::none()).await.rerun_opaque(rerun);
        world.script(steps).apply(&cx, &world.targets).await
    }

    /// Works until the `n`th fault point, where everything stands still for ever, as after a kill: nothing is cleaned up. Says
    /// whether there was such a point.
    async fn dies_at(&self, world: &World, steps: Value, n: usize) -> bool {
        let (tell, told) = mpsc::channel();
        let (count, tell_point) = (Mutex::new(0), Mutex::new(tell.clone()));
        let faults = Faults::at_every_point(move |point| {
            if !matches!(point, FaultPoint::BeforeAct(_) | FaultPoint::AfterAct(_)) {
                return;
            }
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count > n {
                tell_point.lock().unwrap().send(true).ok();
                drop(count);
                loop {
                    std::thread::park();
                }
            }
        });
        let cx = self.cx(faults).await;
        let (script, targets) = (world.script(steps), world.targets.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { script.apply(&cx, &targets).await }).unwrap();
            tell.send(false).ok();
        });
        tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_is_continued() {
    let Some(world) = World::new(1).await else { return };
    world.write("files/conf", "port=80\n");
    let steps = json!([
        { "upload": { "source": "files", "path": "/tmp/files" } },
        { "run": { "script": "echo made >>/tmp/log; touch /tmp/made", "creates": "/tmp/made" } },
        { "run": { "script": "echo also >>/tmp/log", "unless": "grep -q also /tmp/log" } },
        { "upload": { "content": "x", "path": "/tmp/x" } }
    ]);
    // Two points for each of the four effects.
    for n in 0.. {
        world.sh("rm -rf /tmp/*");
        let life = Life::new();
        if !life.dies_at(&world, steps.clone(), n).await {
            assert_eq!(n, 8);
            break;
        }
        let done = life.go_on(&world, steps.clone(), false).await.expect("it goes on");
        let sums = done.hosts["web-1"];
        assert_eq!((sums.ok, sums.failed), (4, 0), "at {n}: {sums:?}");
        assert_eq!(sums.changed, 4, "at {n}: {sums:?}");
        assert_eq!(
            world.sh("cat /tmp/log; cat /tmp/files/conf /tmp/x; ls /tmp"),
            "made\nalso\nport=80\nxfiles\nlog\nmade\nx",
            "at {n}"
        );
        let replayed = life.go_on(&world, steps.clone(), false).await.expect("a finished step stays finished");
        assert_eq!(replayed, done, "at {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_script_without_guard_is_asked_for() {
    let Some(world) = World::new(1).await else { return };
    let steps = json!([{ "run": { "name": "Count", "script": "echo x >>/tmp/log" } }]);
    for (n, lines) in [(0, "x"), (1, "x\nx")] {
        world.sh("rm -f /tmp/log");
        let life = Life::new();
        assert!(life.dies_at(&world, steps.clone(), n).await);
        let error = life.go_on(&world, steps.clone(), false).await.unwrap_err();
        assert_eq!((error.kind(), error.get("task")), (ErrorKind::Interrupted, Some("Count")), "{error:?}");
        assert_eq!(error.get("host"), Some("web-1"), "{error:?}");
        life.go_on(&world, steps.clone(), true).await.expect("`on_interrupt: rerun`");
        assert_eq!(world.sh("cat /tmp/log"), lines);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_step_goes_on_from_itself() {
    let Some(world) = World::new(1).await else { return };
    let first = json!({ "run": { "script": "echo first >>/tmp/log" } });
    let life = Life::new();
    let error = life.go_on(&world, json!([first, { "run": { "script": "exit 1" } }]), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed);
    life.go_on(&world, json!([first, { "run": { "script": "echo second >>/tmp/log" } }]), false).await.unwrap();
    assert_eq!(world.sh("cat /tmp/log"), "first\nsecond");
    // Another step before it makes all that follow new.
    let other = json!({ "run": { "script": "echo other >>/tmp/log" } });
    life.go_on(&world, json!([other, { "run": { "script": "echo second >>/tmp/log" } }]), false).await.unwrap();
    assert_eq!(world.sh("cat /tmp/log"), "first\nsecond\nother\nsecond");
}

/// A connector that counts how often it is asked for a host.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl Connector for Counting {
    fn capabilities(&self) -> Capabilities {
        OpenSsh.capabilities()
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        OpenSsh.preflight(cx).await
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenSsh.connect(cx, host).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_where_all_is_done_is_not_connected_to_again() {
    let Some(mut world) = World::new(1).await else { return };
    let connector = Arc::new(Counting::default());
    world.targets.connector = connector.clone();
    let steps = json!([
        { "upload": { "content": "x", "path": "/tmp/x" } },
        { "run": { "script": "echo always" } },
        { "run": { "script": "touch /tmp/made", "creates": "/tmp/made" } }
    ]);
    let life = Life::new();
    let done = life.go_on(&world, steps.clone(), false).await.unwrap();
    assert_eq!((done.changed(), connector.0.load(Ordering::Relaxed)), (3, 1));
    assert_eq!(life.go_on(&world, steps, false).await.unwrap(), done);
    assert_eq!(connector.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_before_a_crash_is_not_forgotten() {
    let Some(world) = World::new(1).await else { return };
    let steps = json!([
        { "upload": { "name": "conf", "content": "port=80", "path": "/tmp/conf" } },
        { "run": { "name": "reload", "script": "cat /tmp/conf >>/tmp/log", "if_changed": ["conf"] } }
    ]);
    // Before and after the upload.
    for n in 0..2 {
        world.sh("rm -f /tmp/*");
        let life = Life::new();
        assert!(life.dies_at(&world, steps.clone(), n).await);
        let done = life.go_on(&world, steps.clone(), false).await.unwrap();
        assert_eq!((done.changed(), world.sh("cat /tmp/log")), (2, "port=80".to_owned()), "at {n}");
    }
}
