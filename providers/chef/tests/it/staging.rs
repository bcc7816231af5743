//! What stays on a host, what is sent again, and what a crash leaves.

use std::sync::{Arc, mpsc};

use serde_json::{Value, json};
use towpath_core::{
    Configurator as _, Context, ErrorKind, Event, EventKind, Faults, Journal, MemoryStore, RunId, Store as _,
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

/// Stands still for ever while Chef runs, as after a kill: nothing is cleaned up. Then the run goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_removed_by_the_run_that_goes_on() {
    let Some(world) = World::new(1).await else { return };
    let store = Arc::new(MemoryStore::new());
    let run = RunId("run".into());
    let cx = async |listener: Arc<dyn towpath_core::Listener>| {
        let entries = store.journal(&run).await.unwrap();
        let journal = Journal::in_store(store.clone(), run.clone(), None, &entries, Faults::none());
        Context::builder().listener(listener).journal(run.clone(), journal).build().for_step("site")
    };
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
    let dying = cx(still).await;
    let (chef, targets) = (world.chef(json!({})), world.targets.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(async { chef.apply(&dying, &targets).await });
    });
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    let left = world.sh("ls /tmp");
    assert!(left.starts_with("towpath-chef-"), "{left:?}");

    let cx = cx(Arc::new(|_: &Event| {})).await;
    let done = world.chef(json!({})).apply(&cx, &world.targets).await.unwrap();
    assert_eq!(done.hosts["web-1"].ok, 2);
    assert_eq!(world.sh("ls -A /tmp"), "");
    // A finished effect is replayed: Chef does not run again.
    let runs = world.sh("ls /var/tmp/recorded | wc -l");
    assert_eq!(world.chef(json!({})).apply(&cx, &world.targets).await.unwrap(), done);
    assert_eq!(world.sh("ls /var/tmp/recorded | wc -l"), runs);
}
