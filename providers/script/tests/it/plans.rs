//! Plans say no more than is known, and the run that follows proves it.

use serde_json::{Value, json};
use towpath_core::{Action, Certainty, Configurator as _, TaskStatus};

use crate::support::{World, short};

fn run(name: &str, script: &str, guards: Value) -> Value {
    let mut run = json!({ "name": name, "script": script, "become": true });
    run.as_object_mut().unwrap().extend(guards.as_object().unwrap().clone());
    json!({ "run": run })
}

fn text(path: &str, content: &str) -> Value {
    json!({ "upload": { "name": path, "content": content, "path": path, "become": true } })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_certain_after_a_script_that_runs() {
    let Some(world) = World::new(1).await else { return };
    world.sh("touch /srv/there; printf same >/srv/same");
    let held = run("held", ":", json!({ "creates": "/srv/there" }));
    let same = text("/srv/same", "same");
    let runs = run("runs", "rm /srv/there; echo x >/srv/same", json!({ "creates": "/srv/new" }));
    let plan = world.plan(json!([held, same, runs, held, same, run("free", ":", json!({}))])).await;
    let want = [
        "will not: held",
        "will not: /srv/same",
        "will: runs",
        "cannot know: held",
        "cannot know: /srv/same",
        "cannot know: free",
    ];
    assert_eq!(short(&plan), want);
    assert_eq!(plan.changes[0].reason.as_deref(), Some("creates: /srv/there"));
    for change in &plan.changes[3..5] {
        assert_eq!(change.reason.as_deref(), Some("`runs` runs before it, and may change anything"));
    }
    assert!(plan.changes[5].reason.as_deref().is_some_and(|r| r.contains("no guard")));
    assert_eq!((plan.changes[2].action, plan.changes[5].action), (Action::Run, Action::Run));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_as_no_change_is_none_that_is_known() {
    let Some(world) = World::new(1).await else { return };
    world.sh("touch /srv/there; printf same >/srv/same");
    let never = |name: &str, guards: Value| {
        let mut step = run(name, "echo other >/srv/same", guards);
        step["run"]["changed_when_status"] = json!([]);
        step
    };
    let same = text("/srv/same", "same");
    // One that does not run promises what a held guard does.
    let steps = json!([
        never("held", json!({ "creates": "/srv/there" })),
        never("uncalled", json!({ "if_changed": ["held"] })),
        same,
        never("runs", json!({ "removes": "/srv/there" })),
        same
    ]);
    let plan = world.plan(steps.clone()).await;
    let want =
        ["will not: held", "will not: uncalled", "will not: /srv/same", "will not: runs", "cannot know: /srv/same"];
    assert_eq!(short(&plan), want);
    assert!(plan.changes[3].reason.as_deref().is_some_and(|r| r.contains("counts as changing nothing")), "{plan:?}");
    use TaskStatus::{Changed, Ok, Skipped};
    assert_eq!(world.statuses(steps).await, [Ok, Skipped, Ok, Ok, Changed]);
    let plan = world.plan(json!([never("free", json!({})), same])).await;
    assert_eq!(short(&plan), ["will not: free", "cannot know: /srv/same"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_puts_only_what_depends_on_it_in_doubt() {
    let Some(world) = World::new(1).await else { return };
    world.sh("printf old >/srv/conf; touch /srv/there; mkdir -p /opt/v1; ln -s v1 /opt/current; printf a >/opt/v1/x");
    let plan = world
        .plan(json!([
            text("/srv/conf", "new"),
            text("/opt/current/x", "b"),
            text("/opt/v1/x", "a"),
            run("there", ":", json!({ "creates": "/srv/there" })),
            run("removed", ":", json!({ "removes": "/srv/gone" })),
            run("grep", ":", json!({ "unless": "grep -q old /srv/conf" })),
        ]))
        .await;
    let want = [
        "will: /srv/conf",
        "will: /opt/current/x",
        // The same file under another name.
        "cannot know: /opt/v1/x",
        // Updates of files neither make nor remove anything.
        "will not: there",
        "will not: removed",
        "cannot know: grep",
    ];
    assert_eq!(short(&plan), want);

    let plan = world
        .plan(json!([
            text("/srv/made", "x"),
            run("there", ":", json!({ "creates": "/srv/there" })),
            run("makes", ":", json!({ "creates": "/srv/made" })),
        ]))
        .await;
    assert_eq!(short(&plan), ["will: /srv/made", "will not: there", "cannot know: makes"]);
    let plan = world.plan(json!([text("/srv/made", "x"), run("gone", ":", json!({ "removes": "/srv/made" }))])).await;
    assert_eq!(short(&plan), ["will: /srv/made", "cannot know: gone"]);
    world.write("tree/x", "c");
    let tree = json!({ "upload": { "name": "tree", "source": "tree", "path": "/opt/current", "become": true } });
    let plan = world.plan(json!([tree, text("/opt/v1/x", "a"), text("/opt/v1/y", "a")])).await;
    assert_eq!(
        short(&plan),
        ["will: tree: /opt/current/x", "cannot know: /opt/v1/x", "will: /opt/v1/y"],
        "a folder behind a link"
    );
    // What is in a folder behind a link in it may be anywhere.
    world.sh("mkdir /opt/tree; ln -s /opt/v1 /opt/tree/sub");
    world.write("deep/sub/x", "a");
    let deep = json!({ "upload": { "name": "deep", "source": "deep", "path": "/opt/tree", "become": true } });
    let plan = world.plan(json!([deep, text("/opt/v1/x", "b"), deep])).await;
    assert_eq!(short(&plan), ["will not: deep", "will: /opt/v1/x", "cannot know: deep"]);
    world.write("deep/sub/x", "c");
    let plan = world.plan(json!([deep, text("/opt/v1/x", "a")])).await;
    assert_eq!(short(&plan), ["will: deep: /opt/tree/sub/x", "cannot know: /opt/v1/x"]);
    let plan = world.plan(json!([text("/etc/passwd", "x"), text("/srv/conf", "old")])).await;
    assert_eq!(short(&plan), ["will: /etc/passwd", "cannot know: /srv/conf"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_not_is_never_contradicted() {
    let Some(world) = World::new(1).await else { return };
    world.sh("printf old >/srv/conf; touch /srv/there; printf a >/srv/a");
    // Every order of steps of which some undo what others look at.
    let steps = [
        text("/srv/conf", "new"),
        text("/srv/a", "a"),
        run("watch", "touch /srv/seen", json!({ "unless": "grep -q old /srv/conf" })),
        run("make", "touch /srv/new", json!({ "creates": "/srv/new" })),
        run("spoil", "rm -f /srv/a /srv/there", json!({ "removes": "/srv/there" })),
        run("again", "touch /srv/there", json!({ "creates": "/srv/there" })),
    ];
    let names = ["/srv/conf", "/srv/a", "watch", "make", "spoil", "again"];
    let mut said = 0;
    for first in 0..steps.len() {
        world.sh("rm -rf /srv/*; printf old >/srv/conf; touch /srv/there; printf a >/srv/a");
        for turn in 0..2 {
            let order: Vec<usize> =
                (0..steps.len()).map(|i| (first + i * if turn == 0 { 1 } else { 5 }) % steps.len()).collect();
            let all: Vec<Value> = order.iter().map(|i| steps[*i].clone()).collect();
            let plan = world.plan(json!(all)).await;
            world.events.lock().unwrap().clear();
            world.apply(json!(all)).await.unwrap();
            let results = world.results();
            for name in names {
                let changed = results.iter().any(|(task, status, _)| task == name && *status == TaskStatus::Changed);
                let planned = plan.changes.iter().find(|c| c.subject == name).unwrap();
                match planned.certainty {
                    Certainty::WillNot => {
                        assert!(!changed, "{name} was not to change: {plan:?}\n{results:?}");
                        said += 1;
                    }
                    Certainty::Will => assert!(changed, "{name} was to change: {plan:?}\n{results:?}"),
                    Certainty::CannotKnow => {}
                }
            }
        }
    }
    assert!(said >= 10, "it says something at all: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_shows_both_sides_unless_it_is_hidden() {
    let Some(world) = World::new(1).await else { return };
    world.sh(
        "printf 'port=80\n' >/srv/conf; head -c 20000 /dev/zero | tr '\\0' x >/srv/long; printf '\\0\\1' >/srv/binary",
    );
    let plan = world
        .plan(json!([
            text("/srv/conf", "port=81\n"),
            text("/srv/long", "short"),
            text("/srv/binary", "text"),
            { "upload": { "content": "hidden text", "path": "/srv/other", "sensitive": true, "become": true } }
        ]))
        .await;
    let change = &plan.changes[0];
    let (before, after) = (change.before.as_ref().unwrap(), change.after.as_ref().unwrap());
    assert_eq!((&before["text"], &after["text"]), (&json!("port=80\n"), &json!("port=81\n")));
    assert_eq!((&before["mode"], &after["mode"]), (&json!("0644"), &json!("0644")));
    for n in [1, 2] {
        let before = plan.changes[n].before.as_ref().unwrap();
        assert!(before.get("text").is_none() && before["sha256"].is_string(), "{before}");
    }
    assert!(!format!("{plan:?}").contains("hidden text"), "{plan:?}");
    assert!(plan.changes[3].before.is_none(), "{plan:?}");
    assert_eq!(
        plan.changes[3].after,
        Some(json!({ "state": "file", "mode": "0600" })),
        "no digest, which one could guess by"
    );
    // Neither of what was there, nor in what is told while it is put there.
    world.sh("echo 1234 >/srv/pin");
    let pin = json!([{ "upload": {
        "content": "4321\n", "path": "/srv/pin", "sensitive": true, "backup": true, "become": true
    } }]);
    let plan = world.plan(pin.clone()).await;
    world.apply(pin).await.unwrap();
    let told = format!("{plan:?} {}", serde_json::to_string(&*world.events.lock().unwrap()).unwrap());
    let sums = world.sh("cd /srv; sha256sum pin pin.~1~ | cut -c 1-12; ls | grep -c pin");
    let sums: Vec<&str> = sums.lines().collect();
    assert_eq!((sums.len(), sums[2]), (3, "2"));
    assert!(plan.changes[0].before.is_some() && !told.contains(sums[0]) && !told.contains(sums[1]), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_directory_is_told() {
    let Some(world) = World::new(1).await else { return };
    let steps = json!([run("there", "pwd", json!({ "creates": "x", "cwd": "/srv/no" }))]);
    let plan = world.plan(steps.clone()).await;
    assert!(plan.changes[0].reason.as_deref().is_some_and(|r| r.contains("/srv/no is not there")), "{plan:?}");
    let error = world.script(steps).apply(&world.cx, &world.targets).await.unwrap_err();
    assert_eq!((error.message(), error.get("cwd")), ("the working directory can't be entered", Some("/srv/no")));
    assert_eq!(world.sh("ls -A /tmp"), "");
}
