//! What stays on a host, what is sent again, and what a crash leaves.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use towpath_core::{
    Configurator as _, Configured, Context, ErrorKind, Event, EventKind, Faults, Journal, Listener, MemoryStore, Retry,
    RunId, Secret, Store as _,
};

use crate::support::World;

/// How many files the last run sent.
fn sent(world: &World) -> String {
    let events = world.events.lock().unwrap();
    let message = |e: &Event| match &e.kind {
        EventKind::Progress { message, .. } => Some(message.clone()),
        _ => None,
    };
    events.iter().rev().find_map(message).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_stays_gets_only_what_changed() {
    let Some(world) = World::new(1).await else { return };
    world.write("roles/web.json", r#"{ "run_list": ["recipe[web]"] }"#);
    world.write("cookbooks/web/files/it's $x", "odd");
    let kept = |more: Value| {
        let mut all = json!({ "staging_directory": "/var/cache/towpath-chef/", "roles_path": "roles", "run_list": ["role[web]"] });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(world.apply(kept(json!({}))).await.unwrap().changed(), 2);
    assert_eq!(sent(&world), "4 files sent");
    let files = "cd /var/cache/towpath-chef; find . -type f | LC_ALL=C sort; stat -c %a .";
    let all = "./cookbooks-0/web/files/it's $x\n./cookbooks-0/web/metadata.rb\n./cookbooks-0/web/recipes/default.rb\n./roles/web.json\n700";
    assert_eq!(world.sh(files), all, "neither settings nor attributes stay");
    world.apply(kept(json!({}))).await.unwrap();
    assert_eq!(sent(&world), "0 files sent");

    world.write("cookbooks/web/recipes/more.rb", "node\n");
    world.sh("cd /var/cache/towpath-chef; echo 'raise \"changed by somebody\"' >>cookbooks-0/web/recipes/default.rb; mkdir -p cookbooks-0/old/recipes cookbooks-7; touch cookbooks-0/old/recipes/x.rb cookbooks-7/x; ln -s /etc/passwd cookbooks-0/web/link");
    std::fs::remove_file(world.dir.path().join("cookbooks/web/files/it's $x")).unwrap();
    world.apply(kept(json!({}))).await.unwrap();
    assert_eq!(sent(&world), "2 files sent");
    let now = "./cookbooks-0/web/metadata.rb\n./cookbooks-0/web/recipes/default.rb\n./cookbooks-0/web/recipes/more.rb\n./roles/web.json\n700";
    assert_eq!(world.sh(files), now);
    assert_eq!(world.sh("cd /var/cache/towpath-chef; ls . cookbooks-0"), ".:\ncookbooks-0\nroles\n\ncookbooks-0:\nweb");
    // The same content, and now it can be run, and then no more.
    let tool = world.write("cookbooks/web/files/tool", "#!/bin/sh\n");
    world.apply(kept(json!({}))).await.unwrap();
    for (mode, on_host) in [(0o755, "755"), (0o644, "644")] {
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(mode)).unwrap();
        world.apply(kept(json!({}))).await.unwrap();
        assert_eq!(sent(&world), "1 files sent");
        assert_eq!(world.sh("stat -c %a /var/cache/towpath-chef/cookbooks-0/web/files/tool"), on_host);
        world.apply(kept(json!({}))).await.unwrap();
        assert_eq!(sent(&world), "0 files sent");
    }
    // Without roles what was sent of them goes.
    world.apply(json!({ "staging_directory": "/var/cache/towpath-chef" })).await.unwrap();
    assert_eq!(world.sh("ls /var/cache/towpath-chef"), "cookbooks-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_somebody_else_is_refused() {
    let Some(world) = World::new(1).await else { return };
    world.sh("mkdir /srv/real; ln -s /srv/real /srv/link; mkdir /srv/theirs; chown deploy /srv/theirs");
    for path in ["/srv/link", "/srv/theirs"] {
        let error = world.apply(json!({ "staging_directory": path })).await.unwrap_err();
        assert_eq!((error.kind(), error.get("staging_directory")), (ErrorKind::Conflict, Some(path)), "{error:?}");
    }
    assert_eq!(world.sh("ls -A /srv/real /srv/theirs"), "/srv/real:\n\n/srv/theirs:");
}

/// A run whose journal outlives the processes that work on it.
struct Life {
    store: Arc<MemoryStore>,
    run: RunId,
}

impl Life {
    fn new() -> Self {
        Self { store: Arc::default(), run: RunId("run".into()) }
    }

    async fn cx(&self, listener: Arc<dyn Listener>) -> Context {
        let entries = self.store.journal(&self.run).await.unwrap();
        let journal = Journal::in_store(self.store.clone(), self.run.clone(), None, &entries, Faults::none());
        let cx = Context::builder().listener(listener).secret("bag", Secret::new("data-bag-secret-value"));
        cx.journal(self.run.clone(), journal).build().for_step("site")
    }

    /// Works until Chef starts, and stands still from then on for ever, as after a kill: nothing is cleaned up from here.
    async fn dies(&self, world: &World, settings: Value) {
        let (tell, told) = mpsc::channel();
        let tell = std::sync::Mutex::new(tell);
        let still = Arc::new(move |e: &Event| {
            if matches!(&e.kind, EventKind::Output { line, .. } if line.contains("starts")) {
                tell.lock().unwrap().send(()).ok();
                loop {
                    std::thread::park();
                }
            }
        });
        let cx = self.cx(still).await;
        let (chef, targets) = (world.chef(settings), world.targets.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(async { chef.apply(&cx, &targets).await });
        });
        tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    }

    async fn goes_on(&self, world: &World, settings: Value) -> Configured {
        let cx = self.cx(Arc::new(|_: &Event| {})).await;
        world.chef(settings).apply(&cx, &world.targets).await.unwrap()
    }
}

/// Waits until a command on the host says something.
async fn until(world: &World, command: &str) -> String {
    loop {
        let said = world.sh(&format!("{command} 2>/dev/null || :"));
        if !said.is_empty() {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_removed_by_the_run_that_goes_on() {
    let Some(world) = World::new(1).await else { return };
    let life = Life::new();
    life.dies(&world, json!({})).await;
    assert_eq!(world.sh("ls /tmp"), "towpath-chef-0");
    let done = life.goes_on(&world, json!({})).await;
    assert_eq!(done.hosts["web-1"].ok, 2);
    assert_eq!(world.sh("ls -A /tmp"), "");
    // A finished effect is replayed: Chef does not run again.
    let runs = world.sh("ls /var/tmp/recorded | wc -l");
    assert_eq!(life.goes_on(&world, json!({})).await, done);
    assert_eq!(world.sh("ls /var/tmp/recorded | wc -l"), runs);
}

/// Whose towpath was killed goes on until it meets the closed pipe, or longer.
#[tokio::test(flavor = "multi_thread")]
async fn chef_takes_secrets_with_it_when_it_ends() {
    let Some(world) = World::new(1).await else { return };
    world.write("cookbooks/web/recipes/wait.rb", "sleep 0.1 until File.exist?(\"/srv/go\")\n");
    let settings = json!({ "run_list": ["web::wait"], "encrypted_data_bag_secret": { "given": "bag" } });
    Life::new().dies(&world, settings).await;
    let files = "ls -A /tmp/towpath-chef-0/*";
    let there = ".running\ncookbooks-0\nencrypted_data_bag_secret\nnode.json\nsolo.rb\ntowpath_report.rb";
    assert_eq!(world.sh(files), there);
    assert_eq!(world.sh("stat -c %a /tmp/towpath-chef-0 /tmp/towpath-chef-0/*"), "700\n700");
    world.sh("touch /srv/go");
    until(&world, "test -e /tmp/towpath-chef-0/*/node.json || echo gone").await;
    assert_eq!(world.sh(files), "cookbooks-0\nreport.json\nsolo.rb\ntowpath_report.rb");
    // Another run leaves it alone, since its owner may be about to read the report; after a day it goes.
    world.apply(json!({})).await.unwrap();
    assert_eq!(world.sh("ls -A /tmp/towpath-chef-0 | wc -l"), "1");
    world.sh("touch -d '2 days ago' /tmp/towpath-chef-0/*");
    world.apply(json!({})).await.unwrap();
    assert_eq!(world.sh("ls -A /tmp"), "");
}

/// Everything on both sides is killed: any next run of the same user removes it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_killed_run_left_are_removed_by_the_next_one() {
    let Some(world) = World::new(1).await else { return };
    world.write("cookbooks/web/recipes/long.rb", "sleep 1000\n");
    let settings = json!({ "run_list": ["web::long"], "encrypted_data_bag_secret": { "given": "bag" } });
    for more in [json!({}), json!({ "staging_directory": "/var/cache/towpath-chef" })] {
        let mut all = settings.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Life::new().dies(&world, all).await;
        let find = |name: &str| format!("$(find /tmp /var/cache -name {name})");
        world.sh(&format!("kill -KILL $(cut -d' ' -f1 {}); pkill -KILL -f chef-solo || :", find(".running")));
        assert_eq!(world.sh(&format!("cat {}", find("encrypted_data_bag_secret"))), "data-bag-secret-value");
        world.apply(more).await.unwrap();
        assert_eq!(world.sh("ls -A /tmp; find /var/cache -name node.json -o -name 'encrypted*' -o -name .running"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_is_left_alone() {
    let Some(world) = World::new(1).await else { return };
    world.write(
        "cookbooks/web/recipes/wait.rb",
        "sleep 0.1 until File.exist?(\"/srv/go\")\nfile \"/srv/x\" do\n  content \"x\"\nend\n",
    );
    for more in [json!({}), json!({ "staging_directory": "/var/cache/towpath-chef" })] {
        world.sh("rm -f /srv/*");
        let mut waiting = json!({ "run_list": ["web::wait"] });
        waiting.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let waits = world.chef(waiting);
        let first = tokio::spawn({
            let (cx, targets) = (world.cx.clone(), world.targets.clone());
            async move { waits.apply(&cx, &targets).await }
        });
        until(&world, "ls /tmp/towpath-chef-0/*/.running /var/cache/towpath-chef/.running").await;
        let second = world.apply(more.clone()).await;
        match more.get("staging_directory") {
            None => assert_eq!(second.unwrap().hosts["web-1"].changed, 2),
            Some(folder) => {
                let error = second.unwrap_err();
                assert_eq!((error.kind(), error.get("staging_directory")), (ErrorKind::Conflict, folder.as_str()));
                assert_eq!(error.retry(), Retry::Later, "{error:?}");
            }
        }
        world.sh("touch /srv/go");
        assert_eq!(first.await.unwrap().unwrap().hosts["web-1"].changed, 1, "its report is there");
        assert_eq!(world.sh("ls -A /tmp"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_continued_ends_the_chef_that_it_had_started() {
    let Some(world) = World::new(1).await else { return };
    let beat = "test -e /srv/second || { touch /srv/second; while :; do echo x >>/srv/beat; sleep 0.1; done; }";
    world.write("cookbooks/web/recipes/beat.rb", &format!("execute \"beat\" do\n  code \"{beat}\"\nend\n"));
    for more in [json!({}), json!({ "staging_directory": "/var/cache/towpath-chef" })] {
        world.sh("rm -f /srv/*");
        let mut settings = json!({ "run_list": ["web::beat"] });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let life = Life::new();
        life.dies(&world, settings.clone()).await;
        until(&world, "cat /srv/beat").await;
        assert_eq!(life.goes_on(&world, settings).await.hosts["web-1"].changed, 1);
        let size = world.sh("stat -c %s /srv/beat");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(world.sh("stat -c %s /srv/beat; pgrep -f chef-solo || :; ls -A /tmp"), size, "it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_for_all_runs_that_is_somebody_elses_is_refused() {
    let Some(world) = World::new(1).await else { return };
    for make in ["mkdir -m 777 $p; chown deploy $p", "mkdir -m 700 /srv/x; ln -s /srv/x $p", "ln -s /srv/none $p"] {
        world.sh(&format!("p=/tmp/towpath-chef-0; rm -rf $p /srv/x; {make}"));
        let error = world.apply(json!({})).await.unwrap_err();
        let folder = Some("/tmp/towpath-chef-0");
        assert_eq!((error.kind(), error.get("staging_directory")), (ErrorKind::Conflict, folder), "{make}: {error:?}");
        assert_eq!(world.sh("ls -A /tmp/towpath-chef-0/ /srv/x 2>/dev/null | grep -v : || :"), "", "{make}");
    }
}
