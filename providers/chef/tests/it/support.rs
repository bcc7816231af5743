//! OpenSSH servers in containers with a recording Chef, a folder of cookbooks, and every event.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use towpath_chef::{Chef, ChefConfig};
use towpath_core::testkit::{OpenSsh, Sshd};
use towpath_core::{Configurator as _, Configured, Context, Event, EventKind, Inventory, Result, Targets, TaskStatus};

pub(crate) struct World {
    pub(crate) servers: Vec<Sshd>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) targets: Targets,
    pub(crate) cx: Context,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

/// The program that stands for Chef.
const CHEF: &str = include_str!("chef.rb");

/// Writes a file from its attributes.
const MOTD: &str = r#"file "/srv/motd" do
  content node["greeting"] + "\n"
end
file "/srv/fixed" do
  content "fixed"
end
"#;

impl World {
    /// `None`, after it was said why, where there can be no containers.
    pub(crate) async fn new(hosts: usize) -> Option<Self> {
        let start = || Sshd::start_from("towpath/debian:chef-2", ".ci/chef-image");
        let started = tokio::task::spawn_blocking(move || (0..hosts).map(|_| start()).collect::<Option<Vec<_>>>());
        let servers = started.await.unwrap()?;
        for server in &servers {
            server.sh(&format!(
                "mkdir -p /opt/chef/bin && cat >/opt/chef/bin/chef-solo <<'END-OF-CHEF'\n{CHEF}\nEND-OF-CHEF\n\
                 chmod 755 /opt/chef/bin/chef-solo && ln -s chef-solo /opt/chef/bin/chef-client"
            ));
        }
        let hosts = servers.iter().enumerate().map(|(i, s)| s.host(&format!("web-{}", i + 1))).collect();
        let targets = Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::new(OpenSsh));
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let seen = events.clone();
        let cx = Context::builder().listener(Arc::new(move |e: &Event| seen.lock().unwrap().push(e.clone()))).build();
        let world = Self { servers, dir: tempfile::tempdir().unwrap(), targets, cx, events };
        world.write("cookbooks/web/recipes/default.rb", MOTD);
        world.write("cookbooks/web/metadata.rb", "name 'web'\n");
        Some(world)
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A run of the cookbook `web` as root, with more settings.
    pub(crate) fn chef(&self, more: Value) -> Chef {
        let mut config = json!({
            "cookbook_paths": ["cookbooks"], "run_list": ["recipe[web]"], "attributes": { "greeting": "hello" }, "become": true
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: ChefConfig = serde_json::from_value(config).unwrap();
        Chef::new(config, self.dir.path()).unwrap()
    }

    pub(crate) async fn apply(&self, more: Value) -> Result<Configured> {
        self.chef(more).apply(&self.cx, &self.targets).await
    }

    /// Runs as root on the first host, behind the provider's back.
    pub(crate) fn sh(&self, script: &str) -> String {
        self.servers[0].sh(script)
    }

    /// What the recording Chef was given in its last run.
    pub(crate) fn said(&self) -> Value {
        let text = self.sh("cd /var/tmp/recorded; cat $(ls | sort -n | tail -n 1)/said.json");
        serde_json::from_str(&text).unwrap()
    }

    /// Results so far: task, file, status.
    pub(crate) fn results(&self) -> Vec<(String, Option<String>, TaskStatus)> {
        let result = |e: &Event| match &e.kind {
            EventKind::TaskResult { task, file, status, .. } => Some((task.clone(), file.clone(), *status)),
            _ => None,
        };
        self.events.lock().unwrap().iter().filter_map(result).collect()
    }

    /// Everything that was told, as text.
    pub(crate) fn told(&self) -> String {
        serde_json::to_string(&*self.events.lock().unwrap()).unwrap()
    }
}
