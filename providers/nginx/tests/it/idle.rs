use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use towpath_core::{Backend, BackendMode, Balancer as _, ErrorKind};

use crate::process::Process;
use crate::web::{Web, hold};

/// A worker of before the drain that has no connection to the server may still open one: for a client whose request it has not read yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_from_before_counts_as_long_as_it_could_send_something() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("a").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    // Half of a request: nobody is connected to yet.
    let mut slow = UnixStream::connect(process.front()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let held = hold(&process.front()).await.unwrap();
    drop(held);
    balancer.drain(&process.cx, "a").await.unwrap();
    let left = balancer.wait_idle(&process.cx, "a", Duration::from_millis(300)).await.unwrap();
    assert!(left >= 1, "{left}");
    drop(slow);
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::from_secs(60)).await.unwrap(), 0);
}

/// What other servers have to do, in workers that know that this one is down, is nobody's business here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_from_after_the_drain_do_not_count() {
    let Some(process) = Process::start("").await else { return };
    let balancer = process.balancer();
    let (a, b) = (Web::new("a").await, Web::new("b").await);
    balancer.add(&process.cx, &a.backend("a")).await.unwrap();
    balancer.add(&process.cx, &b.backend("b")).await.unwrap();
    balancer.drain(&process.cx, "a").await.unwrap();
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::from_secs(60)).await.unwrap(), 0);
    // A long answer of b, in a worker that ends only with it.
    let held = hold(&process.front()).await.unwrap();
    assert_eq!(held.0, "b");
    balancer.drain(&process.cx, "b").await.unwrap();
    assert_eq!(balancer.wait_idle(&process.cx, "b", Duration::ZERO).await.unwrap(), 1);
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::ZERO).await.unwrap(), 0);
    let all = balancer.backends(&process.cx).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|s| (s.backend.name, s.mode, s.connections)).collect();
    assert_eq!(all, [("a".to_owned(), BackendMode::Draining, 0), ("b".to_owned(), BackendMode::Draining, 1)]);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_with_a_name_are_counted() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("a").await);
    let backend = Backend { address: "localhost".into(), ..web.backend("a") };
    balancer.add(&process.cx, &backend).await.unwrap();
    let held = hold(&process.front()).await.unwrap();
    let all = balancer.backends(&process.cx).await.unwrap();
    assert_eq!((&all[0].backend, all[0].connections), (&backend, 1));
    balancer.drain(&process.cx, "a").await.unwrap();
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::ZERO).await.unwrap(), 1);
    drop(held);
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::from_secs(60)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_server_that_is_not_there_says_so() {
    let Some(process) = Process::start("").await else { return };
    let error = process.balancer().wait_idle(&process.cx, "a", Duration::ZERO).await.unwrap_err();
    assert_eq!((error.kind(), error.get("there_are")), (ErrorKind::NotFound, Some("none")), "{error}");
}
