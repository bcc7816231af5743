//! Each guard, interpreters, statuses, arguments and environment.

use serde_json::{Value, json};
use towpath_core::TaskStatus::{Changed, Ok, Skipped};
use towpath_core::{Certainty, ErrorKind};

use crate::support::{World, short};

/// A script that leaves a line each time, under a guard.
fn guarded(guard: &str, value: &str) -> Value {
    json!([{ "run": { "name": guard, "script": "echo ran >>/tmp/log", guard: value } }])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_guard_keeps_a_script_from_running() {
    let Some(world) = World::new(1).await else { return };
    world.sh("mkdir '/opt/app 1'; touch '/opt/app 1/x'; ln -s /nowhere /opt/dangling");
    // guard, value, whether it runs, and how it counts if not
    let cases = [
        ("creates", "/opt/app 1", false, Ok),
        ("creates", "/opt/app*/x", false, Ok),
        ("creates", "/opt/dangling", false, Ok),
        ("creates", "/opt/*/y", true, Ok),
        ("creates", "/opt/$(touch /tmp/injected)", true, Ok),
        ("removes", "/opt/app 2", false, Ok),
        ("removes", "/opt/app?1/[xyz]", true, Ok),
        ("unless", "test -d /opt && exit 0", false, Ok),
        ("unless", "cd /nowhere || exit 7", true, Ok),
        ("only_if", "false", false, Skipped),
        ("only_if", "read -r x; test -z \"$x\"; true", true, Ok),
    ];
    for (guard, value, runs, otherwise) in cases {
        let plan = world.plan(guarded(guard, value)).await;
        let want = if runs { Certainty::Will } else { Certainty::WillNot };
        assert_eq!(plan.changes[0].certainty, want, "{guard}: {value}: {plan:?}");
        assert_eq!(world.sh("cat /tmp/log 2>/dev/null || :"), "", "a plan runs nothing");
        let status = world.statuses(guarded(guard, value)).await;
        assert_eq!(status, [if runs { Changed } else { otherwise }], "{guard}: {value}");
        assert_eq!(
            world.sh("cat /tmp/log 2>/dev/null || :; rm -f /tmp/log"),
            if runs { "ran" } else { "" },
            "{guard}: {value}"
        );
    }
    assert_eq!(world.sh("ls /tmp"), "", "neither an injected command nor a folder of a script is left");
    let told = world.results();
    assert_eq!(told[0].1, Changed, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_guards_start_where_the_script_does() {
    let Some(world) = World::new(1).await else { return };
    world.sh("mkdir -p /srv/app/here; touch /root/here /home/deploy/here");
    let step = |cwd: Value, to: bool, guard: &str| {
        let mut step = json!({ "run": { "script": "touch here/made", guard: "here", "become": to } });
        step["run"].as_object_mut().unwrap().extend(cwd.as_object().unwrap().clone());
        json!([step])
    };
    for (cwd, to) in [(json!({ "cwd": "/srv/app" }), true), (json!({}), true), (json!({}), false)] {
        assert_eq!(world.statuses(step(cwd.clone(), to, "creates")).await, [Ok], "{cwd}");
        let plan = world.plan(step(cwd.clone(), to, "creates")).await;
        assert_eq!(plan.changes[0].certainty, Certainty::WillNot, "{cwd}");
    }
    assert_eq!(world.statuses(step(json!({ "cwd": "/srv" }), true, "removes")).await, [Ok]);
    assert_eq!(world.statuses(step(json!({ "cwd": "/srv/app" }), true, "removes")).await, [Changed]);
    assert_eq!(world.sh("ls /srv/app/here"), "made");

    // What an upload before it makes is seen by a relative guard, too.
    let after = |cwd: Value| {
        let mut steps = step(cwd, true, "creates");
        steps[0]["run"]["creates"] = json!("conf");
        steps[0]["run"]["name"] = json!("run");
        json!([{ "upload": { "content": "x", "path": "/srv/app/conf", "become": true } }, steps[0]])
    };
    for (cwd, said) in [("/srv/app", "cannot know: run"), ("/srv/", "will: run")] {
        let plan = world.plan(after(json!({ "cwd": cwd }))).await;
        assert_eq!(short(&plan), ["will: upload /srv/app/conf", said], "{cwd}");
    }
    let plan = world.plan(after(json!({}))).await;
    assert_eq!(short(&plan), ["will: upload /srv/app/conf", "cannot know: run"], "the home may be anywhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_guards_must_let_it() {
    let Some(world) = World::new(1).await else { return };
    let both = |unless: &str| json!([{ "run": { "script": "touch /tmp/done", "creates": "/tmp/done", "unless": unless, "only_if": "true" } }]);
    assert_eq!(world.statuses(both("true")).await, [Ok]);
    assert_eq!(world.statuses(both("false")).await, [Changed]);
    assert_eq!(world.statuses(both("false")).await, [Ok]);
    let told = world.results();
    assert_eq!(told[0].2, json!({ "guard": "creates: /tmp/done" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn guards_share_the_steps_user_directory_and_environment() {
    let Some(world) = World::new(1).await else { return };
    world.sh("mkdir -m 700 /root/state; touch /root/state/it");
    let steps = |to: Value| {
        json!([{ "run": {
            "script": ":", "become": to, "cwd": "/", "env": { "WHAT": "it" },
            "only_if": "test \"$PWD\" = / && test -e \"/root/state/$WHAT\""
        } }])
    };
    assert_eq!(world.statuses(steps(json!(true))).await, [Changed]);
    assert_eq!(world.statuses(steps(json!({ "user": "root" }))).await, [Changed]);
    assert_eq!(world.statuses(steps(json!(false))).await, [Skipped]);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_may_be_one_of_the_environment() {
    let Some(world) = World::new(1).await else { return };
    let env: serde_json::Map<String, Value> =
        ('a'..='z').chain('A'..='Z').map(|c| (c.to_string(), json!(format!("value of {c}")))).collect();
    let names: Vec<&String> = env.keys().collect();
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let all_there = format!(
        "[ $# -eq 0 ] && for name in {}; do eval \"value=\\$$name\"; [ \"$value\" = \"value of $name\" ] || exit 1; done",
        names.join(" ")
    );
    let steps = |guard: &str| {
        json!([{ "run": {
            "script": all_there, "env": env, "cwd": "/tmp", "creates": "/tmp/none", "removes": "/t?p", guard: all_there
        } }])
    };
    assert_eq!(world.statuses(steps("only_if")).await, [Changed]);
    assert_eq!(world.statuses(steps("unless")).await, [Ok]);
}

#[tokio::test(flavor = "multi_thread")]
async fn interpreters_arguments_and_statuses() {
    let Some(world) = World::new(1).await else { return };
    world.write("scripts/show.py", "#!/usr/bin/env python3\nimport os, sys\nprint(sys.argv[1:], os.environ['NAME'], os.getcwd(), sys.stdin.read())\n");
    let steps = json!([
        { "run": { "file": "scripts/show.py", "args": ["a b", "$HOME", "'; exit 9", ""], "env": { "NAME": "it's $x" }, "cwd": "/opt" } },
        { "run": { "script": "print \"perl $]\\n\" if @ARGV == 1;", "interpreter": ["perl", "-w"], "args": ["one"] } },
        { "run": { "script": "#!/bin/bash -e\n[[ $BASH_VERSION ]] && echo bash $0 $-" } },
        { "run": { "script": "exit 3", "ok_statuses": [0, 3] } },
        { "run": { "script": "exit 0", "changed_when_status": [2] } },
        { "run": { "script": "exit 2", "changed_when_status": [2] } },
        { "run": { "script": "echo check", "changed_when_status": [] } }
    ]);
    assert_eq!(world.statuses(steps.clone()).await, [Changed, Changed, Changed, Changed, Ok, Changed, Ok]);
    let printed = world.printed();
    assert_eq!(printed[0], "stdout: ['a b', '$HOME', \"'; exit 9\", ''] it's $x /opt ", "{printed:?}");
    assert!(printed[1].starts_with("stdout: perl 5"), "{printed:?}");
    assert!(printed[2].starts_with("stdout: bash script ") && printed[2].contains('e'), "{printed:?}");
    let plan = world.plan(json!([steps[6].clone(), steps[5].clone()])).await;
    assert_eq!(short(&plan), ["will not: run echo check", "cannot know: run exit 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_fill_what_is_around_a_script() {
    let Some(mut world) = World::new(1).await else { return };
    world.targets.extra_vars.insert("port".into(), json!(8080));
    world.targets.extra_vars.insert("evil".into(), json!("$(id) `id` '"));
    let steps = json!([{ "run": {
        "script": "echo \"$1 $2 $PORT {{ port }}\"", "args": ["{{ port }}", "{{evil}}"], "env": { "PORT": "p{{ port }}" },
        "creates": "/tmp/{{ port }}", "fill": true
    } }]);
    world.apply(steps.clone()).await.unwrap();
    assert_eq!(world.printed(), ["stdout: 8080 $(id) `id` ' p8080 {{ port }}"]);
    world.sh("touch /tmp/8080");
    assert_eq!(world.statuses(steps).await, [Ok]);

    let error =
        world.apply(json!([{ "run": { "script": "touch /tmp/x", "args": ["{{ prt }}"], "fill": true } }])).await;
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.get("nearest")), (ErrorKind::InvalidInput, Some("port")), "{error:?}");
    assert_eq!((error.get("host"), error.get("task")), (Some("web-1"), Some("run touch /tmp/x")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_wait_for_a_change() {
    let Some(world) = World::new(1).await else { return };
    let steps = |content: &str| {
        json!([
            { "upload": { "name": "conf", "content": content, "path": "/tmp/conf" } },
            { "run": { "name": "other", "script": ":", "creates": "/tmp/conf" } },
            { "run": { "name": "reload", "script": "echo reload >>/tmp/log", "if_changed": ["conf", "other"] } },
            { "run": { "name": "tell", "script": "echo tell >>/tmp/log", "if_changed": ["reload"], "unless": "test -e /tmp/quiet" } }
        ])
    };
    // On a new host the upload makes what `other` looks at.
    let plan = world.plan(steps("one")).await;
    assert_eq!(short(&plan), ["will: conf: /tmp/conf", "cannot know: other", "will: reload", "cannot know: tell"]);
    assert_eq!(world.statuses(steps("one")).await, [Changed, Ok, Changed, Changed]);
    let plan = world.plan(steps("one")).await;
    assert_eq!(short(&plan), ["will not: conf", "will not: other", "will not: reload", "will not: tell"]);
    assert_eq!(plan.changes[2].reason.as_deref(), Some("if_changed: conf, other"));
    assert_eq!(world.statuses(steps("one")).await, [Ok, Ok, Skipped, Skipped]);
    world.sh("touch /tmp/quiet");
    let plan = world.plan(steps("two")).await;
    assert_eq!(short(&plan), ["will: conf: /tmp/conf", "will not: other", "will: reload", "cannot know: tell"]);
    assert_eq!(world.statuses(steps("two")).await, [Changed, Ok, Changed, Ok]);
    assert_eq!(world.sh("cat /tmp/log"), "reload\ntell\nreload");
}
