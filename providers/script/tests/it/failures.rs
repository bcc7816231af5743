//! Steps that fail, hosts that are gone, time that is up, and cancels.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use towpath_core::testkit::OpenSsh;
use towpath_core::{
    Capabilities, Configurator as _, Connection, Connector, Context, Endpoint, ErrorKind, EventKind, Exec, ExecOutput,
    Host, Preflight, Process, PutOptions, RemoteGroup, Result, Source, Stream, TaskStatus,
};

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_place_status_and_last_lines() {
    let Some(world) = World::new(1).await else { return };
    world.write(
        "scripts/deploy.sh",
        "#!/bin/bash\nset -eu\necho begin\nfor i in $(seq 30); do echo \"line $i\" >&2; done\nno-such-command --x\n",
    );
    let error = world.apply(json!([{ "run": { "name": "Deploy", "file": "scripts/deploy.sh" } }])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    let of = |key| error.get(key).unwrap_or_default();
    assert_eq!(
        [of("host"), of("task"), of("file"), of("exit_status")],
        ["web-1", "Deploy", "scripts/deploy.sh:5", "127"]
    );
    let report = error.report();
    assert!(report.contains("scripts/deploy.sh: line 5: no-such-command"), "{report}");
    assert!(report.contains("line 30") && report.contains("line 12") && !report.contains("line 11\n"), "{report}");
    assert!(!report.contains("/tmp/towpath"), "{report}");
    let (_, status, result) = world.results().pop().unwrap();
    assert_eq!(status, TaskStatus::Failed);
    assert!(result["msg"].as_str().unwrap().contains("no-such-command"), "{result}");
    assert_eq!(world.sh("ls -A /tmp"), "");

    let error = world.apply(json!([{ "run": { "script": "true\nnosuch\n" } }])).await.unwrap_err();
    assert_eq!((error.get("script_line"), error.get("exit_status")), (Some("2"), Some("127")), "{error:?}");
    let error = world
        .apply(json!([{ "run": { "script": "raise SystemExit(4)\n", "interpreter": ["python3"] } }]))
        .await
        .unwrap_err();
    assert_eq!(error.get("exit_status"), Some("4"), "{error:?}");
    let error = world.apply(json!([{ "run": { "script": "kill -KILL $$" } }])).await.unwrap_err();
    assert_eq!(error.get("exit_status"), Some("137"), "{error:?}");
    let error =
        world.apply(json!([{ "run": { "script": "x", "interpreter": ["no-such-interpreter"] } }])).await.unwrap_err();
    assert!(error.get("exit_status") == Some("127") && error.report().contains("no-such-interpreter"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_go_on_and_every_host_is_counted() {
    let Some(mut world) = World::new(2).await else { return };
    let mut gone = world.servers[0].host("gone");
    gone.connection.port = Some(9);
    world.targets.inventory.hosts.push(gone);
    world.servers[0].sh("touch /tmp/bad");
    let steps = json!([
        { "run": { "name": "First", "script": "touch /tmp/first", "creates": "/tmp/first" } },
        { "run": { "name": "Break", "script": "test ! -e /tmp/bad" } },
        { "run": { "name": "Last", "script": "touch /tmp/last" } }
    ]);
    let error = world.apply(steps).await.unwrap_err();
    let of = |key| error.get(key).unwrap_or_default();
    assert_eq!(
        [of("host"), of("task"), of("also_failed"), of("hosts_ok")],
        ["web-1", "Break", "gone", "1"],
        "{error:?}"
    );
    assert_eq!(world.servers[0].sh("ls /tmp"), "bad\nfirst");
    assert_eq!(world.servers[1].sh("ls /tmp"), "first\nlast");
    let events = world.events.lock().unwrap();
    let of_host = |host: &str| -> Vec<TaskStatus> {
        let result = |e: &towpath_core::Event| match &e.kind {
            EventKind::TaskResult { status, .. } if e.host.as_deref() == Some(host) => Some(*status),
            _ => None,
        };
        events.iter().filter_map(result).collect()
    };
    assert_eq!(of_host("web-1"), [TaskStatus::Changed, TaskStatus::Failed]);
    assert_eq!(of_host("web-2"), [TaskStatus::Changed; 3]);
    assert_eq!(of_host("gone"), [TaskStatus::Unreachable]);
}

/// A script whose child, too, goes on until it is ended.
const BEATS: &str = "trap '' HUP\n(while :; do echo x >>/tmp/beat; sleep 0.1; done) &\nwait\n";

async fn stands_still(world: &World) {
    let size = || world.sh("stat -c %s /tmp/beat");
    let before = size();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(before, size(), "its child goes on");
    assert_eq!(world.sh("ls -A /tmp"), "beat", "its folder is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_whole_process_group() {
    let Some(world) = World::new(1).await else { return };
    let script =
        Arc::new(world.script(
            json!([{ "run": { "name": "Beat", "script": BEATS } }, { "run": { "script": "touch /tmp/after" } }]),
        ));
    let (cx, token) = world.cx.child();
    let running = tokio::spawn({
        let (script, targets) = (script.clone(), world.targets.clone());
        async move { script.apply(&cx, &targets).await }
    });
    while world.sh("test -s /tmp/beat && echo yes; :").is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    token.cancel();
    let error = tokio::time::timeout(Duration::from_secs(60), running).await.expect("it goes on").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(error.message().contains("ended with its process group"), "{error:?}");
    assert_eq!((error.get("host"), error.get("task")), (Some("web-1"), Some("Beat")), "{error:?}");
    stands_still(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_up_ends_it_too() {
    let Some(world) = World::new(1).await else { return };
    let error = world.apply(json!([{ "run": { "name": "Beat", "script": BEATS, "timeout_s": 2 } }])).await.unwrap_err();
    assert_eq!((error.kind(), error.get("task")), (ErrorKind::Timeout, Some("Beat")), "{error:?}");
    stands_still(&world).await;
    // One that does not want to end is killed, and its folder goes all the same.
    let stubborn = format!("trap '' TERM\n{BEATS}");
    let error = world.apply(json!([{ "run": { "script": stubborn, "timeout_s": 2 } }])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    stands_still(&world).await;
}

/// A connection that breaks while a script is sent: the host sees the end of it too early.
#[derive(Debug)]
struct Cut(Arc<dyn Connection>);

/// Reaches hosts by such connections.
#[derive(Debug)]
struct Cutting;

#[async_trait]
impl Connector for Cutting {
    fn capabilities(&self) -> Capabilities {
        OpenSsh.capabilities()
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        OpenSsh.preflight(cx).await
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        Ok(Arc::new(Cut(OpenSsh.connect(cx, host).await?)))
    }
}

#[async_trait]
impl Connection for Cut {
    fn host(&self) -> &str {
        self.0.host()
    }

    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput> {
        self.0.exec(cx, command).await
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        let mut command = command.clone();
        command.stdin = command.stdin.map(|all| all.slice(..all.len() / 2));
        self.0.spawn(cx, &command).await
    }

    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()> {
        self.0.put(cx, source, path, options).await
    }

    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<Bytes> {
        self.0.get(cx, path, limit_bytes).await
    }

    async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        self.0.dial(cx, to).await
    }

    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool> {
        self.0.end_group(cx, group).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_script_does_not_run() {
    let Some(mut world) = World::new(1).await else { return };
    world.targets.connector = Arc::new(Cutting);
    let error = world.apply(json!([{ "run": { "script": "touch /tmp/half\ntouch /tmp/whole\n" } }])).await.unwrap_err();
    assert!(error.message().contains("did not arrive whole"), "{error:?}");
    assert_eq!(world.sh("ls -A /tmp"), "");
}
