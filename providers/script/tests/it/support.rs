//! OpenSSH servers in containers, a folder for files, and every event.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use towpath_core::testkit::{OpenSsh, Sshd};
use towpath_core::{
    Certainty, Configurator as _, Configured, Context, Event, EventKind, Inventory, Plan, Result, Targets, TaskStatus,
};
use towpath_script::{Script, ScriptConfig};

pub(crate) struct World {
    pub(crate) servers: Vec<Sshd>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) targets: Targets,
    pub(crate) cx: Context,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    /// `None`, after it was said why, where there can be no containers.
    pub(crate) async fn new(hosts: usize) -> Option<Self> {
        let started =
            tokio::task::spawn_blocking(move || (0..hosts).map(|_| Sshd::start()).collect::<Option<Vec<_>>>());
        let servers = started.await.unwrap()?;
        let hosts = servers.iter().enumerate().map(|(i, s)| s.host(&format!("web-{}", i + 1))).collect();
        let targets = Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::new(OpenSsh));
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let seen = events.clone();
        let cx = Context::builder().listener(Arc::new(move |e: &Event| seen.lock().unwrap().push(e.clone()))).build();
        Some(Self { servers, dir: tempfile::tempdir().unwrap(), targets, cx, events })
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A configurator of steps in JSON.
    pub(crate) fn script(&self, steps: Value) -> Script {
        let config: ScriptConfig = serde_json::from_value(serde_json::json!({ "steps": steps })).unwrap();
        Script::new(config, self.dir.path()).unwrap()
    }

    pub(crate) async fn apply(&self, steps: Value) -> Result<Configured> {
        self.script(steps).apply(&self.cx, &self.targets).await
    }

    pub(crate) async fn plan(&self, steps: Value) -> Plan {
        self.script(steps).plan(&self.cx, &self.targets).await.expect("plan")
    }

    /// Applies to the one host, and gives how each task went.
    pub(crate) async fn statuses(&self, steps: Value) -> Vec<TaskStatus> {
        self.events.lock().unwrap().clear();
        self.apply(steps).await.expect("apply");
        self.results().into_iter().map(|(_, status, _)| status).collect()
    }

    /// Results so far: task, status, result.
    pub(crate) fn results(&self) -> Vec<(String, TaskStatus, Value)> {
        let result = |e: &Event| match &e.kind {
            EventKind::TaskResult { task, status, result, .. } => Some((task.clone(), *status, result.clone())),
            _ => None,
        };
        self.events.lock().unwrap().iter().filter_map(result).collect()
    }

    /// Lines that were printed, with their streams.
    pub(crate) fn printed(&self) -> Vec<String> {
        let line = |e: &Event| match &e.kind {
            EventKind::Output { stream, line } => Some(format!("{stream}: {line}")),
            _ => None,
        };
        self.events.lock().unwrap().iter().filter_map(line).collect()
    }

    /// Runs as root on the first host, behind the provider's back.
    pub(crate) fn sh(&self, script: &str) -> String {
        self.servers[0].sh(script)
    }
}

/// What a plan says, in short: `+ upload /etc/motd`.
pub(crate) fn short(plan: &Plan) -> Vec<String> {
    let sign = |c: Certainty| match c {
        Certainty::Will => "will",
        Certainty::WillNot => "will not",
        Certainty::CannotKnow => "cannot know",
    };
    plan.changes.iter().map(|c| format!("{}: {}", sign(c.certainty), c.subject)).collect()
}
