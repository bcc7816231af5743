use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use towpath_core::Balancer as _;
use towpath_haproxy::{AddedServer, HaProxy, HaProxyConfig};

use crate::behaviour::quick_check;
use crate::process::Process;
use crate::web::{Client, Web};

const CYCLES: usize = 30;

/// Drains each of three backends in turn, restarts it when it is idle, and adds it again, under clients of both kinds.
async fn roll(section: &str, server: AddedServer) {
    let Some(process) = Process::start("http", section).await else { return };
    let balancer = HaProxy::new(HaProxyConfig { server, ..process.config() }).unwrap();
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
                let (mut sent, mut failed) = (0usize, Vec::new());
                let mut client = Client::connect(&front).await;
                while !over.load(Ordering::SeqCst) {
                    if n % 2 == 0 {
                        client = Client::connect(&front).await;
                    }
                    let (status, body) = client.get("/").await;
                    sent += 1;
                    if status != 200 {
                        failed.push(format!("{status} {body}"));
                        client = Client::connect(&front).await;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (sent, failed)
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
        assert_eq!(web.busy.load(Ordering::SeqCst), 0, "idle, but {name} works");
        let served = web.served.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(web.served.load(Ordering::SeqCst), served, "{name} drains, and was given a request");
        web.restart(name).await;
        balancer.add(&process.cx, &web.backend(name)).await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let (mut sent, mut failed) = (0, Vec::new());
    for client in clients {
        let (n, bad) = client.await.unwrap();
        sent += n;
        failed.extend(bad);
    }
    eprintln!("{sent} requests over {CYCLES} cycles, {} failed", failed.len());
    assert!(failed.is_empty(), "{} of {sent} failed: {failed:?}", failed.len());
    assert!(sent >= 30 * CYCLES, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_added_servers_roll() {
    roll("balance roundrobin", AddedServer::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_checked_servers_roll() {
    let server = AddedServer { check: Some(quick_check()), ..AddedServer::default() };
    roll("balance leastconn", server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_servers_of_the_configuration_roll() {
    let section = "balance random\noption httpchk GET /health\nserver a 127.0.0.1:1 check inter 50ms rise 1 fall 2\n\
                   server b 127.0.0.1:1 disabled\nserver c 127.0.0.1:1 disabled";
    roll(section, AddedServer::default()).await;
}
