//! No secret where others can read it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_core::{Configurator as _, Context, Event, Faults, Journal, MemoryStore, RunId, Secret, Store as _};

use crate::support::World;

const TOKEN: &str = "s3cr3t-t0ken-value";
const KEY: &str = "-----BEGIN KEY-----\nQUJDREVGR0hJSktMTU5PUA\nlast-line-of-the-key\n-----END KEY-----";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_script_and_nobody_else() {
    let Some(mut world) = World::new(1).await else { return };
    let store = Arc::new(MemoryStore::new());
    let run = RunId("secrets".into());
    let events = world.events.clone();
    world.cx = Context::builder()
        .listener(Arc::new(move |e: &Event| events.lock().unwrap().push(e.clone())))
        .secret("token", Secret::new(TOKEN))
        .secret("key", Secret::new(KEY))
        .journal(run.clone(), Journal::in_store(store.clone(), run.clone(), None, &[], Faults::none()))
        .build();
    world.write("show.sh", "echo \"token: $TOKEN\"\necho \"$KEY\" >&2\nprintf %s \"$TOKEN\" >/tmp/got\nuntil test -e /tmp/go; do sleep 0.1; done\nexit 5\n");
    let steps = json!([
        { "upload": { "secret": { "given": "key" }, "path": "/tmp/key" } },
        { "upload": { "content": "s3cr3t-t0ken-value in a text", "path": "/tmp/text" } },
        { "run": {
            "name": "Show", "file": "show.sh", "secret_env": { "TOKEN": { "given": "token" }, "KEY": { "given": "key" } },
            "unless": "test \"$TOKEN\" = other"
        } }
    ]);
    let plan = world.plan(steps.clone()).await;
    let script = world.script(steps);
    let digest = script.digest(&world.cx).await.unwrap();
    let applying = tokio::spawn({
        let (cx, targets) = (world.cx.clone(), world.targets.clone());
        async move { script.apply(&cx, &targets).await }
    });
    while world.sh("cat /tmp/got 2>/dev/null || :") != TOKEN {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // While it runs: every command line of the host, and everything in its temporary folders but what was asked for.
    let seen = world.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -la /tmp; cat /tmp/towpath-*/*");
    assert!(seen.contains("show.sh"), "{seen}");
    world.sh("touch /tmp/go");
    let error = applying.await.unwrap().unwrap_err();
    assert_eq!(error.get("exit_status"), Some("5"), "{error:?}");
    assert_eq!(world.sh("cat /tmp/key; stat -c %a /tmp/key"), format!("{KEY}600"));
    let journal = format!("{:?}", store.journal(&run).await.unwrap());
    let events = serde_json::to_string(&*world.events.lock().unwrap()).unwrap();
    assert!(events.contains("token: ***"), "the output was told, and masked: {events}");
    for (place, text) in [
        ("the host", &seen),
        ("the plan", &format!("{plan:?}")),
        ("the error", &format!("{error:?}")),
        ("the journal", &journal),
        ("the events", &events),
        ("the digest", &digest),
        ("the config", &format!("{:?}", world.script(json!([{ "run": { "script": ":" } }])))),
    ] {
        for secret in [TOKEN, "QUJDREVGR0hJSktMTU5PUA", "last-line-of-the-key"] {
            assert!(!text.contains(secret), "{secret} is in {place}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sensitive_output_is_not_told() {
    let Some(world) = World::new(1).await else { return };
    let steps = json!([{ "run": { "script": "echo private; echo private >&2; exit 1", "sensitive": true } }]);
    let error = world.apply(steps).await.unwrap_err();
    assert!(error.report().contains("hidden by `sensitive`"), "{error:?}");
    let events = serde_json::to_string(&*world.events.lock().unwrap()).unwrap();
    // The task's name is the script's first line.
    assert!(!events.contains("\"line\"") && !error.report().contains("private\nprivate"), "{events}\n{error:?}");
}
