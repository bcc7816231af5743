use std::sync::atomic::Ordering;
use std::time::Duration;

use towpath_core::{Backend, BackendMode, Balancer as _, ErrorKind};
use towpath_haproxy::{AddedServer, HaProxy, HaProxyConfig, ServerCheck};

use crate::behaviour::quick_check;
use crate::process::Process;
use crate::web::{Client, Web, greeting, lone};

async fn listed(process: &Process) -> Vec<(String, BackendMode, u16)> {
    let all = process.balancer().backends(&process.cx).await.unwrap();
    all.into_iter().map(|b| (b.backend.name, b.mode, b.backend.port)).collect()
}

/// The lines of `show servers state` without the server's name.
async fn line(process: &Process, server: &str) -> Vec<String> {
    let all = process.say("show servers state web").await;
    let line = all.lines().find(|l| l.split(' ').nth(3) == Some(server)).unwrap_or_default();
    line.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_the_configuration_are_never_deleted() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1\nserver b 127.0.0.1:2").await else { return };
    let (balancer, web) = (process.balancer(), Web::tcp("b").await);
    balancer.remove(&process.cx, "b").await.unwrap();
    assert_eq!(listed(&process).await, [("a".to_owned(), BackendMode::Serving, 1)]);
    assert_eq!(line(&process, "b").await[6], "1", "in maintenance");
    let gone = balancer.drain(&process.cx, "b").await.unwrap_err();
    assert_eq!((gone.kind(), gone.get("there_are")), (ErrorKind::NotFound, Some("a")), "{gone}");
    assert_eq!(line(&process, "b").await[6], "1", "a drain does not take it out of maintenance");
    balancer.remove(&process.cx, "a").await.unwrap();
    balancer.add(&process.cx, &web.backend("b")).await.unwrap();
    assert_eq!(listed(&process).await, [("b".to_owned(), BackendMode::Serving, web.at.port())]);
    assert_eq!(greeting(&process.front()).await.unwrap().0, "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_somebody_else_has_added_is_not_deleted() {
    let Some(process) = Process::start("tcp", "balance roundrobin").await else { return };
    process.say("add server web/theirs 127.0.0.1:1;enable server web/theirs").await;
    let balancer = process.balancer();
    let web = Web::tcp("ours").await;
    balancer.add(&process.cx, &web.backend("ours")).await.unwrap();
    for name in ["theirs", "ours"] {
        balancer.remove(&process.cx, name).await.unwrap();
    }
    assert_eq!(line(&process, "theirs").await[6], "1");
    assert_eq!(line(&process, "ours").await, [""], "deleted");
    assert!(listed(&process).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_moves_to_another_address() {
    let section = "server plain 127.0.0.1:1\nserver checked 127.0.0.1:1 check inter 50ms rise 2 fall 1";
    let Some(process) = Process::start("tcp", section).await else { return };
    let balancer = process.balancer();
    for name in ["plain", "checked", "added"] {
        let (first, second) = (Web::tcp("first").await, Web::tcp("second").await);
        balancer.add(&process.cx, &first.backend(name)).await.unwrap();
        balancer.add(&process.cx, &second.backend(name)).await.unwrap();
        for other in ["plain", "checked", "added"].iter().filter(|o| **o != name) {
            balancer.remove(&process.cx, other).await.unwrap();
        }
        assert_eq!(listed(&process).await, [(name.to_owned(), BackendMode::Serving, second.at.port())]);
        for _ in 0..3 {
            assert_eq!(greeting(&process.front()).await.unwrap().0, "second", "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_hosts_are_looked_up() {
    let Some(process) = Process::start("tcp", "balance roundrobin").await else { return };
    let (balancer, web) = (process.balancer(), Web::tcp("a").await);
    let backend = Backend { address: "localhost".into(), ..web.backend("a") };
    balancer.add(&process.cx, &backend).await.unwrap();
    balancer.add(&process.cx, &backend).await.unwrap();
    assert_eq!(balancer.backends(&process.cx).await.unwrap()[0].backend, web.backend("a"));
    assert_eq!(greeting(&process.front()).await.unwrap().0, "a");
    let nobody = Backend { address: "nobody.invalid".into(), ..web.backend("b") };
    let error = balancer.add(&process.cx, &nobody).await.unwrap_err();
    assert_eq!((error.kind(), error.get("address")), (ErrorKind::NotFound, Some("nobody.invalid")), "{error}");
    assert_eq!(listed(&process).await.len(), 1, "nothing was added");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_checks_find_down_gets_nothing_and_the_error_says_why() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1 disabled check inter 30ms rise 1 fall 1").await
    else {
        return;
    };
    let server = AddedServer { check: Some(quick_check()), ..AddedServer::default() };
    let balancer = HaProxy::new(HaProxyConfig { server, up_limit_s: 2.0, ..process.config() }).unwrap();
    let web = Web::start("a", lone(), false).await;
    web.stop().await;
    for name in ["a", "new"] {
        let error = balancer.add(&process.cx, &web.backend(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
        assert_eq!(error.get("backend"), Some(name));
        // What the operating system said follows, but not while the next check is under way.
        assert!(error.get("last_check").unwrap().contains("L4CON"), "{error}");
        assert!(error.get("status").unwrap().starts_with("DOWN"), "{error}");
    }
    let modes: Vec<_> = listed(&process).await.into_iter().map(|(name, mode, _)| (name, mode)).collect();
    assert_eq!(modes, [("a".to_owned(), BackendMode::Draining), ("new".to_owned(), BackendMode::Draining)]);
    assert!(greeting(&process.front()).await.is_none(), "neither was given a connection");
    let patient = HaProxy::new(process.config()).unwrap();
    let web = Web::start("back", web.at, false).await;
    patient.add(&process.cx, &web.backend("new")).await.unwrap();
    assert_eq!(greeting(&process.front()).await.unwrap().0, "back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_given_nothing_before_its_first_good_check() {
    // The web does not speak HTTP, so that no check is ever good; and there is hardly one within this test.
    let Some(process) = Process::start("tcp", "balance roundrobin\noption httpchk").await else { return };
    let check = ServerCheck { inter_ms: 600_000, rise: 1, fall: 1 };
    let server = AddedServer { check: Some(check), ..AddedServer::default() };
    let balancer = HaProxy::new(HaProxyConfig { server, up_limit_s: 0.5, ..process.config() }).unwrap();
    let web = Web::tcp("a").await;
    let error = balancer.add(&process.cx, &web.backend("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error}");
    assert!(greeting(&process.front()).await.is_none());
    assert_eq!(listed(&process).await[0].1, BackendMode::Draining);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_did_to_a_server_is_undone_by_add() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1 weight 20").await else { return };
    let (balancer, web) = (process.balancer(), Web::tcp("a").await);
    for what in ["weight 0", "health down", "state maint", "state drain", "addr 127.0.0.9 port 9"] {
        process.say(&format!("set server web/a {what}")).await;
        balancer.add(&process.cx, &web.backend("a")).await.unwrap();
        assert_eq!(listed(&process).await, [("a".to_owned(), BackendMode::Serving, web.at.port())], "{what}");
        assert_eq!(greeting(&process.front()).await.unwrap().0, "a", "{what}");
    }
    assert_eq!(line(&process, "a").await[7], "20", "the weight of its configuration");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_is_waited_for_and_a_kept_connection_is_not() {
    let Some(process) = Process::start("http", "balance roundrobin").await else { return };
    let (balancer, web) = (process.balancer(), Web::http("a").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let mut kept = Client::connect(&process.front()).await;
    assert_eq!(kept.get("/").await.0, 200);
    let front = process.front();
    let slow = tokio::spawn(async move { Client::connect(&front).await.get("/slow").await });
    while web.busy.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    balancer.drain(&process.cx, "a").await.unwrap();
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::ZERO).await.unwrap(), 1);
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(slow.await.unwrap(), (200, "a".to_owned()));
    assert_eq!(kept.get("/").await.0, 503, "a kept connection's next request goes to nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_cuts_what_is_left() {
    let Some(process) = Process::start("tcp", "balance roundrobin").await else { return };
    let (balancer, web) = (process.balancer(), Web::tcp("a").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let (_, mut stream) = greeting(&process.front()).await.unwrap();
    balancer.remove(&process.cx, "a").await.unwrap();
    assert_eq!(line(&process, "a").await, [""], "deleted");
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
    assert!(rest.is_empty());
    let gone = balancer.wait_idle(&process.cx, "a", Duration::ZERO).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
}

/// Two processes that do not know each other: every call succeeds, or says that the other one has undone it; and what was done
/// last is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_do_not_disturb_each_other() {
    let Some(process) = Process::start("tcp", "server fixed 127.0.0.1:1 check inter 50ms rise 1").await else { return };
    let state_file = Some(crate::process::text(&process.path("state")));
    let (fixed, shared) = (Web::tcp("fixed").await, Web::tcp("shared").await);
    let mut tasks = Vec::new();
    for worker in 0..2 {
        let balancer = HaProxy::new(HaProxyConfig { state_file: state_file.clone(), ..process.config() }).unwrap();
        let (cx, own) = (process.cx.clone(), format!("own-{worker}"));
        let all = [shared.backend("shared"), fixed.backend("fixed"), shared.backend(&own)];
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                for backend in &all {
                    balancer.add(&cx, backend).await.unwrap();
                }
                if let Err(e) = balancer.drain(&cx, "fixed").await {
                    assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}");
                }
                balancer.drain(&cx, &own).await.unwrap();
                balancer.remove(&cx, &own).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let state_file = state_file.clone();
    let last = HaProxy::new(HaProxyConfig { state_file, ..process.config() }).unwrap();
    last.drain(&process.cx, "fixed").await.unwrap();
    let names: Vec<_> = listed(&process).await.into_iter().map(|(name, mode, _)| (name, mode)).collect();
    assert_eq!(names, [("fixed".to_owned(), BackendMode::Draining), ("shared".to_owned(), BackendMode::Serving)]);
    let saved = std::fs::read_to_string(process.path("state")).unwrap();
    let admin = |name: &str| saved.lines().find(|l| l.contains(name)).unwrap().split(' ').nth(6).unwrap().to_owned();
    assert_eq!((admin(" fixed "), admin(" shared ")), ("8".to_owned(), "0".to_owned()), "{saved}");
}
