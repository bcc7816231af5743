//! What a run does, and how it fails.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_core::{Certainty, Configurator as _, Context, ErrorKind, Event, EventKind, Secret, TaskStatus};

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn each_updated_resource_is_a_result_with_its_place() {
    let Some(world) = World::new(1).await else { return };
    world.sh("printf fixed >/srv/fixed");
    let done = world.apply(json!({ "log_level": "warn" })).await.unwrap();
    let sums = done.hosts["web-1"];
    assert_eq!((sums.ok, sums.changed, sums.failed), (2, 1, 0), "{sums:?}");
    let place = Some("cookbooks/web/recipes/default.rb:1".to_owned());
    let want = [
        ("file[/srv/motd]".to_owned(), place, TaskStatus::Changed),
        ("chef-solo".to_owned(), None, TaskStatus::Changed),
    ];
    assert_eq!(world.results(), want);
    assert!(world.told().contains("chef-solo starts"), "its output is told");
    assert_eq!(world.sh("cat /srv/motd; ls -A /tmp"), "hello", "the staging folder is gone");
    let said = world.said();
    assert_eq!((&said["user"], &said["settings"]["log_level"]), (&json!(0), &json!("warn")), "{said}");
    assert_eq!(world.apply(json!({})).await.unwrap().hosts["web-1"].changed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_resource_place_and_last_lines() {
    let Some(world) = World::new(1).await else { return };
    world.write(
        "cookbooks/bad/recipes/default.rb",
        "file \"/srv/first\" do\n  content \"x\"\nend\n\nfile \"/nowhere/x\" do\n  content \"x\"\nend\n",
    );
    world.write("cookbooks/bad/recipes/worse.rb", "node\nraise \"it is worse\"\n");
    let error = world.apply(json!({ "run_list": ["recipe[bad]"] })).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    let of = |key| error.get(key).unwrap_or_default();
    assert_eq!(
        [of("host"), of("task"), of("file"), of("exit_status")],
        ["web-1", "file[/nowhere/x]", "cookbooks/bad/recipes/default.rb:5", "1"]
    );
    assert!(error.report().contains("Errno::ENOENT") && error.report().contains("1/2 resources updated"), "{error:?}");
    let want = [
        ("file[/srv/first]".to_owned(), Some("cookbooks/bad/recipes/default.rb:1".to_owned()), TaskStatus::Changed),
        ("file[/nowhere/x]".to_owned(), Some("cookbooks/bad/recipes/default.rb:5".to_owned()), TaskStatus::Failed),
    ];
    assert_eq!(world.results(), want);
    let error = world.apply(json!({ "run_list": ["bad::worse"] })).await.unwrap_err();
    assert_eq!(
        (error.get("task"), error.get("file")),
        (Some("chef-solo"), Some("cookbooks/bad/recipes/worse.rb:2")),
        "{error:?}"
    );
    assert!(error.report().contains("RuntimeError: it is worse"), "{error:?}");
    assert_eq!(world.sh("ls -A /tmp"), "", "nothing stays after failures");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_chef_and_leaves_nothing() {
    let Some(world) = World::new(1).await else { return };
    let beat = "execute \"beat\" do\n  code \"while :; do echo x >>/srv/beat; sleep 0.1; done\"\nend\n";
    world.write("cookbooks/web/recipes/beat.rb", beat);
    let chef = Arc::new(world.chef(json!({ "run_list": ["web::beat"] })));
    let (cx, token) = world.cx.child();
    let running = tokio::spawn({
        let targets = world.targets.clone();
        async move { chef.apply(&cx, &targets).await }
    });
    while world.sh("test -s /srv/beat && echo yes; :").is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    token.cancel();
    let error = tokio::time::timeout(Duration::from_secs(60), running).await.expect("it goes on").unwrap().unwrap_err();
    assert_eq!((error.kind(), error.get("host")), (ErrorKind::Cancelled, Some("web-1")), "{error:?}");
    assert!(error.message().contains("ended with its process group"), "{error:?}");
    let size = || world.sh("stat -c %s /srv/beat; ls -A /tmp");
    let before = size();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(before, size(), "its child goes on, or its folder is there");
    assert!(!before.contains("towpath"), "{before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_up_ends_it_too() {
    let Some(world) = World::new(1).await else { return };
    world.write("cookbooks/web/recipes/long.rb", "sleep 1000\n");
    let error = world.apply(json!({ "run_list": ["web::long"], "timeout_s": 2 })).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(world.sh("pgrep -f chef-solo || :; ls -A /tmp"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_run_says_what_chef_would_do() {
    let Some(world) = World::new(1).await else { return };
    let chef = world.chef(json!({ "plan": "why_run" }));
    let plan = chef.plan(&world.cx, &world.targets).await.unwrap();
    let said: Vec<(&str, Certainty)> = plan.changes.iter().map(|c| (c.subject.as_str(), c.certainty)).collect();
    assert_eq!(said, [("file[/srv/motd]", Certainty::Will), ("file[/srv/fixed]", Certainty::CannotKnow)]);
    assert_eq!(plan.changes[0].after.as_ref().unwrap()["file"], "cookbooks/web/recipes/default.rb:1");
    assert!(world.said()["argv"].as_array().unwrap().contains(&json!("--why-run")));
    assert_eq!(world.sh("ls /srv; ls -A /tmp"), "", "nothing was changed, nothing stays");
    chef.apply(&world.cx, &world.targets).await.unwrap();
    let plan = chef.plan(&world.cx, &world.targets).await.unwrap();
    assert_eq!((plan.changes.len(), plan.changes[0].certainty), (1, Certainty::WillNot), "{plan:?}");
    let plan = world.chef(json!({})).plan(&world.cx, &world.targets).await.unwrap();
    assert_eq!(plan.changes[0].certainty, Certainty::CannotKnow, "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_chef_is_told_what_to_install() {
    let Some(world) = World::new(1).await else { return };
    world.sh("mkdir /opt/own && mv /opt/chef/bin/chef-solo '/opt/own/my chef'");
    let error = world.apply(json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolMissing, "{error:?}");
    assert!(error.message().contains("install Chef Infra Client or Cinc"), "{error:?}");
    assert_eq!(world.sh("ls -A /tmp"), "");
    world.apply(json!({ "chef_command": ["/opt/own/my chef"], "extra_arguments": ["-L", "a b"] })).await.unwrap();
    let said = world.said();
    assert_eq!(said["program"], "my chef");
    assert!(said["argv"].as_array().unwrap().ends_with(&[json!("-L"), json!("a b")]), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_a_reboot_is_a_warning() {
    let Some(world) = World::new(1).await else { return };
    let run = |status: i32| json!({ "attributes": { "greeting": "x", "exit": status } });
    let done = world.apply(run(37)).await.unwrap();
    assert_eq!(done.hosts["web-1"].changed, 2);
    assert!(world.told().contains("asks for a reboot"));
    assert_eq!(world.apply(run(3)).await.unwrap_err().get("exit_status"), Some("3"));
}

/// An exit status of 0 is no proof: settings of the user's own may swallow a failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_a_failure_is_believed() {
    let Some(world) = World::new(1).await else { return };
    world.write("cookbooks/bad/recipes/default.rb", "file \"/nowhere/x\" do\n  content \"x\"\nend\n");
    world.write("cookbooks/bad/recipes/early.rb", "raise \"too early\"\n");
    let run = |recipe: &str| json!({ "run_list": [recipe], "attributes": { "exit": 0 }, "plan": "why_run" });
    let error = world.apply(run("bad")).await.unwrap_err();
    assert_eq!((error.kind(), error.get("task")), (ErrorKind::ToolFailed, Some("file[/nowhere/x]")), "{error:?}");
    assert!(world.results().iter().all(|(_, _, status)| *status == TaskStatus::Failed), "{:?}", world.results());
    // Nothing was updated before it failed, which is no promise.
    let error = world.chef(run("bad::early")).plan(&world.cx, &world.targets).await.unwrap_err();
    assert_eq!((error.kind(), error.get("host")), (ErrorKind::ToolFailed, Some("web-1")), "{error:?}");
    assert!(error.report().contains("RuntimeError: too early"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_its_settings_and_key() {
    let Some(mut world) = World::new(1).await else { return };
    let events = world.events.clone();
    world.cx = Context::builder()
        .listener(Arc::new(move |e: &Event| events.lock().unwrap().push(e.clone())))
        .secret("key", Secret::new("-----BEGIN KEY-----\nvalidation-key-line\n-----END KEY-----"))
        .build();
    let client = json!({
        "mode": "client", "cookbook_paths": [], "server_url": "https://chef.example/organizations/x", "environment": "production",
        "validation_client_name": "x-validator", "validation_key": { "given": "key" }, "client_key": "/etc/chef/own.pem",
        "run_list": ["recipe[web]"], "chef_license": "accept-no-persist"
    });
    world.apply(client.clone()).await.unwrap();
    let said = world.said();
    let settings = &said["settings"];
    let folder = settings["validation_key"].as_str().unwrap().strip_suffix("/validation.pem").unwrap().to_owned();
    assert_eq!(
        *settings,
        json!({
            "chef_server_url": "https://chef.example/organizations/x", "validation_client_name": "x-validator",
            "validation_key": format!("{folder}/validation.pem"), "client_key": "/etc/chef/own.pem", "environment": "production",
            "node_name": "web-1", "chef_license": "accept-no-persist"
        })
    );
    assert_eq!(said["program"], "chef-client");
    assert_eq!(
        said["argv"],
        json!(["--no-color", "-c", format!("{folder}/client.rb"), "-j", format!("{folder}/node.json")])
    );
    assert_eq!(said["license"], "accept-no-persist");
    assert!(world.sh("cat /var/tmp/recorded/0/staging/validation.pem").contains("validation-key-line"));
    assert!(!world.told().contains("validation-key-line"));

    world.targets.inventory.hosts.push(world.servers[0].host("web-2"));
    let mut named = client;
    named["node_name"] = json!("one");
    let error = world.apply(named).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("for 2 hosts"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_chef_and_nobody_else() {
    let Some(mut world) = World::new(1).await else { return };
    const TOKEN: &str = "t0ken-that-nobody-sees";
    const BAG: &str = "data-bag-secret-value";
    let events = world.events.clone();
    world.cx = Context::builder()
        .listener(Arc::new(move |e: &Event| events.lock().unwrap().push(e.clone())))
        .secret("token", Secret::new(TOKEN))
        .secret("bag", Secret::new(BAG))
        .build();
    world.write("cookbooks/web/recipes/leak.rb", "puts node[\"app\"][\"token\"]\nraise node[\"app\"][\"token\"]\n");
    let error = world
        .apply(json!({
            "run_list": ["web::leak"], "attributes": { "app": { "port": 80 } },
            "secret_attributes": { "app.token": { "given": "token" } }, "encrypted_data_bag_secret": { "given": "bag" }
        }))
        .await
        .unwrap_err();
    let said = world.said();
    assert_eq!(said["node"]["app"], json!({ "port": 80, "token": TOKEN }));
    assert_eq!(world.sh("cat /var/tmp/recorded/0/staging/encrypted_data_bag_secret"), BAG);
    assert_eq!(said["folder_mode"], "700");
    let private = ["solo.rb", "node.json", "encrypted_data_bag_secret", "towpath_report.rb"];
    for line in said["modes"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()) {
        assert!(!private.iter().any(|p| line.ends_with(p)) || line.starts_with("600 "), "{line}");
    }
    let told = world.told();
    assert!(told.contains("***"), "its output was told, and masked: {told}");
    for (place, text) in
        [("events", told), ("the error", format!("{error:?}")), ("processes", said["processes"].to_string())]
    {
        assert!(!text.contains(TOKEN) && !text.contains(BAG), "{place}: {text}");
    }
    assert_eq!(world.sh("ls -A /tmp"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_report_counts_as_a_change() {
    let Some(world) = World::new(1).await else { return };
    world.sh("printf '#!/bin/sh\\necho quiet\\n' >/opt/chef/bin/chef-solo");
    let done = world.apply(json!({})).await.unwrap();
    assert_eq!((done.hosts["web-1"].ok, done.hosts["web-1"].changed), (1, 1));
    let warned = world
        .events
        .lock()
        .unwrap()
        .iter()
        .any(|e| matches!(&e.kind, EventKind::Warning { message } if message.contains("no report")));
    assert!(warned, "{}", world.told());
}
