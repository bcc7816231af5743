use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{
    Context, Deployer as _, Event, EventKind, Faults, GroupJob, Inventory, Journal, Json, MemoryStore, Release, RunId,
    Secret, SecretRef, Store, TargetGroup, TaskStatus,
};
use towpath_strider::{BranchSetup, Live, PluginSetup, ProjectSetup, Strider, StriderConfig};

use crate::simulator::{PASSWORD, Simulator, USER};

pub(crate) const PROJECT: &str = "acme/web";

/// Says that something is missing, and fails where it could have been installed.
pub(crate) fn not_run() {
    let what = "NOT RUN: Strider: install Node.js and npm (Debian: apt-get install nodejs npm), and let npm install socket.io 2.5.1";
    eprintln!("{what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
}

pub(crate) fn simulator(variables: &[(&str, &str)]) -> Option<Simulator> {
    let simulator = Simulator::start(variables);
    if simulator.is_none() {
        not_run();
    }
    simulator
}

/// Events that a context's listeners saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Event>>>);

impl Seen {
    pub(crate) fn listener(&self) -> Arc<dyn towpath_core::Listener> {
        let seen = self.clone();
        Arc::new(move |event: &Event| seen.0.lock().unwrap().push(event.clone()))
    }

    pub(crate) fn kinds(&self) -> Vec<EventKind> {
        self.0.lock().unwrap().iter().map(|e| e.kind.clone()).collect()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(&*self.0.lock().unwrap()).unwrap()
    }

    /// Results of phases and commands: name, exit code.
    pub(crate) fn results(&self, of: &str) -> Vec<(String, i64)> {
        let mut found = Vec::new();
        for kind in self.kinds() {
            if let EventKind::TaskResult { task, status, result, .. } = kind
                && let Some(name) = task.strip_prefix(of)
            {
                let code = result["exit_code"].as_i64().unwrap();
                assert_eq!(status, if code == 0 { TaskStatus::Ok } else { TaskStatus::Failed });
                found.push((name.trim().to_owned(), code));
            }
        }
        found
    }

    /// Lines of a stream.
    pub(crate) fn lines(&self, of: &str) -> Vec<String> {
        let line = |kind| match kind {
            EventKind::Output { stream, line } if stream == of => Some(line),
            _ => None,
        };
        self.kinds().into_iter().filter_map(line).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |kind| match kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        };
        self.kinds().into_iter().filter_map(warning).collect()
    }

    /// Waits until something was seen.
    pub(crate) async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        eventually(what, || seen(self)).await;
    }
}

/// Waits for something that must come; far too long means never.
pub(crate) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..2400 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

/// A simulator with a project, and a folder for the scripts of its jobs.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) seen: Seen,
    pub(crate) cx: Context,
}

impl World {
    /// With these scripts by phase; `{dir}` in them is the folder.
    pub(crate) async fn new(scripts: &[(&str, &str)]) -> Option<Self> {
        Self::with(&[], scripts).await
    }

    /// With variables for the simulator.
    pub(crate) async fn with(variables: &[(&str, &str)], scripts: &[(&str, &str)]) -> Option<Self> {
        let (simulator, dir, seen) = (simulator(variables)?, tempfile::tempdir().unwrap(), Seen::default());
        let cx = context(&seen);
        let world = Self { simulator, dir, seen, cx };
        world.set_up(scripts).await;
        Some(world)
    }

    pub(crate) async fn set_up(&self, scripts: &[(&str, &str)]) {
        self.strider(|c| c)
            .set_up(&Context::builder().secret("password", Secret::new(PASSWORD)).build(), &self.project(scripts))
            .await
            .unwrap();
    }

    pub(crate) fn project(&self, scripts: &[(&str, &str)]) -> ProjectSetup {
        let dir = self.dir.path().to_str().unwrap();
        let scripts: Vec<(&str, String)> = scripts.iter().map(|(phase, s)| (*phase, s.replace("{dir}", dir))).collect();
        let plugin = PluginSetup::custom(scripts.iter().map(|(phase, script)| (*phase, script.as_str())));
        let branch = BranchSetup {
            active: Some(true),
            mirror_master: Some(false),
            plugins: Some(vec![plugin]),
            ..BranchSetup::default()
        };
        ProjectSetup::git("acme/web", "https://git.example.test/acme/web.git")
            .branch("master", branch.clone())
            .branch("release-*", branch)
    }

    pub(crate) fn config(&self) -> StriderConfig {
        let mut config = StriderConfig::new(self.simulator.url(), USER, SecretRef::Given("password".into()), PROJECT);
        config.poll_ms = 100;
        config
    }

    pub(crate) fn strider(&self, change: impl FnOnce(StriderConfig) -> StriderConfig) -> Strider {
        Strider::new(change(self.config())).unwrap()
    }

    pub(crate) fn live(&self, live: Live) -> Strider {
        self.strider(|c| c.live(live))
    }

    pub(crate) fn knobs(&self, knobs: Json) {
        self.simulator.control("knobs", &knobs.to_string());
    }

    pub(crate) fn log(&self) -> Vec<Json> {
        serde_json::from_str(&self.simulator.control("log", "{}")).unwrap()
    }

    pub(crate) fn requests(&self, method: &str, part: &str) -> usize {
        let fits = |r: &&Json| r["method"] == method && r["path"].as_str().is_some_and(|p| p.contains(part));
        self.log().iter().filter(fits).count()
    }

    pub(crate) fn sockets_opened(&self) -> usize {
        self.log().iter().filter(|r| r["socket"] == "connected").count()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Lets a script go on that waits for a file.
    pub(crate) fn go(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    pub(crate) async fn start(&self, strider: &Strider, version: &str) -> GroupJob {
        strider.start(&self.cx, &group(), &release(version)).await.unwrap()
    }
}

/// Waits for a file, as a script.
pub(crate) const WAIT: &str = "set +x; until [ -e {dir}/go ]; do sleep 0.05; done; ";

pub(crate) fn context(seen: &Seen) -> Context {
    Context::builder().secret("password", Secret::new(PASSWORD)).listener(seen.listener()).build()
}

/// What survives a crash: the journal of a run.
#[derive(Clone)]
pub(crate) struct Durable {
    pub(crate) store: Arc<MemoryStore>,
    run: RunId,
}

impl Durable {
    pub(crate) fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new()), run: RunId::new() }
    }

    /// The context of a process that starts now.
    pub(crate) async fn context(&self, seen: &Seen) -> Context {
        let entries = self.store.journal(&self.run).await.unwrap_or_default();
        let journal = Journal::in_store(self.store.clone(), self.run.clone(), None, &entries, Faults::none());
        Context::builder()
            .secret("password", Secret::new(PASSWORD))
            .listener(seen.listener())
            .store(self.store.clone())
            .journal(self.run.clone(), journal)
            .build()
    }

    pub(crate) async fn text(&self) -> String {
        serde_json::to_string(&self.store.journal(&self.run).await.unwrap()).unwrap()
    }
}

pub(crate) fn release(version: &str) -> Release {
    serde_json::from_value(json!({ "service": "web", "version": version })).unwrap()
}

pub(crate) fn group() -> TargetGroup {
    TargetGroup { name: "web".into(), inventory: Inventory::default(), connector: Arc::new(Nowhere) }
}
