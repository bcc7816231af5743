//! towpath is killed at every call that changes something in AWS, before and after it is done, and at every point of its journal. A sweep
//! of anybody finds all that is left; and the next run ends well.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use towpath::pipeline::RunOptions;
use towpath_core::testkit::{HttpReply, HttpRequest, HttpServer, forward_http};
use towpath_core::{Context, FaultPoint, Faults, RunState};

use crate::bake::pipeline;
use crate::support::{Aws, engine, key_files};

const DIR: &str = "TOWPATH_AWS_CRASH_DIR";
const CONFIG: &str = "TOWPATH_AWS_CRASH_CONFIG";
const BASE: &str = "TOWPATH_AWS_CRASH_BASE";
const POINT: &str = "TOWPATH_AWS_CRASH_POINT";

const SCRIPT: &str = "echo baked >/etc/baked";

/// Not a test of its own: the process that dies.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let config: Value = serde_json::from_str(&std::env::var(CONFIG).unwrap()).unwrap();
    let point: usize = std::env::var(POINT).unwrap().parse().unwrap();
    let reached = AtomicUsize::new(0);
    let faults = Faults::at_every_point(move |_: &FaultPoint<'_>| {
        if reached.fetch_add(1, Ordering::SeqCst) + 1 == point {
            std::process::abort();
        }
    });
    let baking = pipeline(config, &std::env::var(BASE).unwrap(), SCRIPT);
    engine(&dir).await.faults(faults).run(&baking, RunOptions::default()).await.unwrap();
}

/// `point`: of the journal; 0 for none.
fn start(dir: &Path, config: &Value, base: &str, point: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--nocapture"]);
    command.env(DIR, dir).env(CONFIG, config.to_string()).env(BASE, base).env(POINT, point.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Where the child is killed.
#[derive(Default)]
struct Trap {
    child: Mutex<Option<Child>>,
    calls: AtomicUsize,
    /// The number of the call.
    at: AtomicUsize,
    /// 1: it is done, and then the child is killed before it hears of it.
    after: AtomicUsize,
    /// What the call was.
    what: Mutex<String>,
}

fn action(request: &HttpRequest) -> String {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let found = body.split('&').find_map(|p| p.strip_prefix("Action=").map(str::to_owned));
    found.unwrap_or_default()
}

impl Trap {
    fn answer(&self, port: u16, request: &HttpRequest) -> HttpReply {
        let what = action(request);
        let every = std::env::var_os("TOWPATH_TEST_FULL").is_some();
        let counts = every || !(what.starts_with("Describe") || what.starts_with("Get"));
        let here = counts && self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at.load(Ordering::SeqCst);
        if !here {
            return forward_http(port, request).unwrap_or(HttpReply::Close);
        }
        *self.what.lock().unwrap() = what;
        if self.after.load(Ordering::SeqCst) == 1 {
            let _ = forward_http(port, request);
        }
        if let Some(child) = self.child.lock().unwrap().as_mut() {
            child.kill().unwrap(); // SIGKILL
        }
        HttpReply::Close
    }
}

/// What a crash has left is found, and the next run comes to its end.
async fn ends_well(aws: &Aws, dir: &Path, config: &Value, pid: u32, sweep: bool, when: &str) -> usize {
    let before = aws.left();
    if sweep {
        let swept = aws.builder(config.clone()).sweep(&Context::new()).await.unwrap();
        assert!(swept.left.is_empty(), "{when}: {swept:?}");
        let left: Vec<String> = aws.left().into_iter().filter(|l| !l.starts_with("ami ready")).collect();
        assert_eq!(left, Vec::<String>::new(), "{when}: the sweep did not find it; there was {before:?}");
    }
    let baking = pipeline(config.clone(), &aws.base, SCRIPT);
    let engine = engine(dir).await;
    let report = engine.run(&baking, RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done, "{when}: {report:?}");
    let left = aws.left();
    assert!(left.len() == 1 && left[0].starts_with("ami ready"), "{when}: {left:?}; there was {before:?}");
    let own = format!("-{pid}-");
    assert!(!key_files().iter().any(|f| f.display().to_string().contains(&own)), "{when}: a private key is left");
    before.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_call_that_changes_something() {
    let Some(aws) = tokio::task::spawn_blocking(Aws::start).await.unwrap() else { return };
    let trap = Arc::new(Trap::default());
    let (inner, port) = (Arc::clone(&trap), aws.moto.port);
    let proxy = HttpServer::start(move |request| inner.answer(port, &request));
    let through = aws.config(&proxy.url());
    let (mut crashes, mut left, mut seen) = (0, 0, Vec::new());
    let mut table =
        "| call | what | killed | left behind | found by | in the end |\n|--:|---|---|--:|---|---|\n".to_owned();
    for at in 1.. {
        let mut whole = false;
        for after in [0, 1] {
            aws.reset();
            let dir = tempfile::tempdir().unwrap();
            trap.calls.store(0, Ordering::SeqCst);
            trap.at.store(at, Ordering::SeqCst);
            trap.after.store(after, Ordering::SeqCst);
            let pid = {
                let mut child = trap.child.lock().unwrap();
                *child = Some(start(dir.path(), &through, &aws.base, 0));
                child.as_ref().unwrap().id()
            };
            let status = loop {
                if let Some(status) = trap.child.lock().unwrap().as_mut().unwrap().try_wait().unwrap() {
                    break status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            };
            // From here on nobody is killed.
            trap.at.store(0, Ordering::SeqCst);
            whole = status.success();
            if whole {
                break;
            }
            crashes += 1;
            let what = trap.what.lock().unwrap().clone();
            let side = if after == 1 { "after" } else { "before" };
            let when = format!("killed {side} call {at}, {what}");
            // Half of them are swept first; the others are only gone on with.
            let sweep = (at + after) % 2 == 0;
            let behind = ends_well(&aws, dir.path(), &through, pid, sweep, &when).await;
            let by = if sweep { "the sweep, then the next run" } else { "the next run" };
            table.push_str(&format!("| {at} | {what} | {side} | {behind} | {by} | 1 AMI, nothing else |\n"));
            seen.push(what);
            left += behind;
        }
        if whole {
            break;
        }
    }
    for call in [
        "CreateKeyPair",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "RunInstances",
        "StopInstances",
        "CreateImage",
        "CreateTags",
        "TerminateInstances",
        "DeleteKeyPair",
        "DeleteSecurityGroup",
    ] {
        assert!(seen.iter().any(|s| s == call), "{call} is not among {seen:?}");
    }
    eprintln!("{table}{crashes} crashes; {left} things were left and found");
    assert!(crashes >= 20 && left > crashes, "{crashes} crashes, {left} things left");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_points_of_the_journal() {
    let Some(aws) = tokio::task::spawn_blocking(Aws::start).await.unwrap() else { return };
    let config = aws.config(&aws.moto.endpoint());
    let step = if std::env::var_os("TOWPATH_TEST_FULL").is_some() { 1 } else { 5 };
    let mut crashes = 0;
    for point in (2..).step_by(step) {
        aws.reset();
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(dir.path(), &config, &aws.base, point);
        let pid = child.id();
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        if status.success() {
            break;
        }
        crashes += 1;
        ends_well(&aws, dir.path(), &config, pid, crashes % 2 == 0, &format!("at point {point}")).await;
    }
    assert!(crashes * step >= 30, "only {crashes} crashes");
}

#[test]
fn a_request_is_known_by_its_action() {
    let request = HttpRequest { head: String::new(), body: json!("x").to_string().into_bytes() };
    assert_eq!(action(&request), "");
    let request = HttpRequest { head: String::new(), body: b"Version=1&Action=RunInstances&x=y".to_vec() };
    assert_eq!(action(&request), "RunInstances");
}
