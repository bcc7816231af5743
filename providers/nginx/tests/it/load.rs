use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use towpath_core::Balancer as _;

use crate::process::Process;
use crate::web::{Client, Web};

const CYCLES: usize = 30;

/// nginx closes idle kept connections when it reloads, and a request may cross that close: a client sends it again then, as HTTP allows it to for
/// a connection that it has used before. A new connection's request must never fail.
async fn roll(upstream: &str) {
    let Some(process) = Process::start(upstream).await else { return };
    let balancer = process.balancer();
    let mut webs = Vec::new();
    for name in ["a", "b", "c"] {
        let web = Web::lone(name).await;
        balancer.add(&process.cx, &web.backend(name)).await.unwrap();
        webs.push((name, web));
    }
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let (front, over) = (process.front(), Arc::clone(&over));
            tokio::spawn(async move {
                let (mut sent, mut again, mut failed) = (0usize, 0usize, Vec::new());
                let (mut client, mut used) = (Client::connect(&front).await, false);
                while !over.load(Ordering::SeqCst) {
                    if n % 2 == 0 && used {
                        (client, used) = (Client::connect(&front).await, false);
                    }
                    let answer = client.get("/").await;
                    sent += 1;
                    match answer {
                        Some((200, _)) => used = true,
                        None if used => {
                            again += 1;
                            (client, used) = (Client::connect(&front).await, false);
                        }
                        other => {
                            failed.push(format!("{other:?}"));
                            (client, used) = (Client::connect(&front).await, false);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (sent, again, failed)
            })
        })
        .collect();
    for cycle in 0..CYCLES {
        let (name, web) = &mut webs[cycle % 3];
        while web.served.load(Ordering::SeqCst) < 30 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        balancer.drain(&process.cx, name).await.unwrap();
        assert_eq!(balancer.wait_idle(&process.cx, name, Duration::from_secs(60)).await.unwrap(), 0);
        let served = web.served.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(web.served.load(Ordering::SeqCst), served, "{name} is idle, and was given a request");
        web.restart(name).await;
        balancer.add(&process.cx, &web.backend(name)).await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let (mut sent, mut again, mut failed) = (0, 0, Vec::new());
    for client in clients {
        let (n, a, bad) = client.await.unwrap();
        sent += n;
        again += a;
        failed.extend(bad);
    }
    eprintln!("{sent} requests over {CYCLES} cycles, {again} sent again, {} failed", failed.len());
    assert!(failed.is_empty(), "{} of {sent} failed: {failed:?}\n{}", failed.len(), process.log());
    assert!(sent >= 30 * CYCLES, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_servers_roll() {
    roll("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_servers_of_a_pool_roll() {
    roll("keepalive 16;").await;
}
