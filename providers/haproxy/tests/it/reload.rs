use std::sync::{Arc, Mutex};
use std::time::Duration;

use towpath_core::{BackendMode, Balancer as _, ErrorKind, EventKind};
use towpath_haproxy::{HaProxy, HaProxyConfig};

use crate::process::{Process, text};
use crate::web::{Web, greeting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_what_the_state_file_has() {
    let section = "server a 127.0.0.1:1\nserver b 127.0.0.1:1 check inter 50ms rise 1\nserver c 127.0.0.1:1";
    let Some(process) = Process::start("tcp", section).await else { return };
    let config = HaProxyConfig { state_file: Some(text(&process.path("state"))), ..process.config() };
    let balancer = HaProxy::new(config).unwrap();
    let (a, b) = (Web::tcp("a").await, Web::tcp("b").await);
    balancer.add(&process.cx, &a.backend("a")).await.unwrap();
    balancer.add(&process.cx, &b.backend("b")).await.unwrap();
    balancer.add(&process.cx, &a.backend("added")).await.unwrap();
    balancer.drain(&process.cx, "b").await.unwrap();
    balancer.remove(&process.cx, "c").await.unwrap();
    process.reload().await;
    let all = balancer.backends(&process.cx).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|s| (s.backend, s.mode)).collect();
    assert_eq!(
        all,
        [(a.backend("a"), BackendMode::Serving), (b.backend("b"), BackendMode::Draining)],
        "{}",
        process.log()
    );
    assert_eq!(greeting(&process.front()).await.unwrap().0, "a");
    // HAProxy keeps no added servers.
    balancer.add(&process.cx, &a.backend("added")).await.unwrap();
    assert_eq!(balancer.backends(&process.cx).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_state_file_a_reload_forgets() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1").await else { return };
    process.balancer().drain(&process.cx, "a").await.unwrap();
    process.reload().await;
    assert_eq!(process.balancer().backends(&process.cx).await.unwrap()[0].mode, BackendMode::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_during_a_wait_is_told() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1").await else { return };
    let state_file = Some(text(&process.path("state")));
    let balancer = HaProxy::new(HaProxyConfig { state_file, ..process.config() }).unwrap();
    let web = Web::tcp("a").await;
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let kept = greeting(&process.front()).await.unwrap();
    balancer.drain(&process.cx, "a").await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let cx = process.cx.also_heard_by(Arc::new(move |event: &towpath_core::Event| {
        if let EventKind::Warning { message } = &event.kind {
            ear.lock().unwrap().push(message.clone());
        }
    }));
    let wait = balancer.wait_idle(&cx, "a", Duration::from_secs(60));
    let (left, ()) = tokio::join!(wait, async {
        // Not before the wait has looked for the first time.
        tokio::time::sleep(Duration::from_millis(100)).await;
        process.reload().await;
    });
    assert_eq!(left.unwrap(), 0, "the new process has no connection");
    assert!(heard.lock().unwrap()[0].contains("reloaded"), "{heard:?}");
    drop(kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_file_that_cannot_be_written_is_an_error_after_the_change() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1").await else { return };
    let state_file = Some(text(&process.path("none/state")));
    let balancer = HaProxy::new(HaProxyConfig { state_file, ..process.config() }).unwrap();
    let error = balancer.drain(&process.cx, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
    assert!(error.get("state_file").unwrap().ends_with("none/state"), "{error}");
    assert_eq!(balancer.backends(&process.cx).await.unwrap()[0].mode, BackendMode::Draining);
}
