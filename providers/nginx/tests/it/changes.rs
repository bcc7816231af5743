use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use towpath_core::{Backend, BackendMode, Balancer as _, ErrorKind};
use towpath_nginx::{Nginx, NginxConfig, ServerOptions};

use crate::process::{Process, text};
use crate::web::{Web, hold};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_says_whose_it_is_and_keeps_mode_and_owner() {
    let Some(process) = Process::start("").await else { return };
    let path = process.path("web.conf");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let root = nix::unistd::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&path, Some(12345), Some(54321)).unwrap();
    }
    let server = ServerOptions { weight: Some(2), ..ServerOptions::default() };
    let balancer = Nginx::new(NginxConfig { server, ..process.config() }).unwrap();
    let web = Web::new("a").await;
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let file = process.file();
    assert!(file.starts_with("# Kept by towpath"), "{file}");
    assert!(file.ends_with(&format!("server {} weight=2; # a\n", web.at)), "{file}");
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o640);
    assert!(!root || (meta.uid(), meta.gid()) == (12345, 54321));
    assert_eq!(process.files(), [".web.conf.lock", "web.conf"], "nothing else is left");
    balancer.remove(&process.cx, "a").await.unwrap();
    assert!(process.file().ends_with("server 127.0.0.1:9 down;\n"), "nginx wants one server: {}", process.file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nginx_refuses_leaves_everything_as_it_was() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("a").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let before = (process.file(), std::fs::metadata(process.path("web.conf")).unwrap().ino());
    let nobody = Backend { name: "b".into(), address: "nobody.invalid".into(), port: 80 };
    let error = balancer.add(&process.cx, &nobody).await.unwrap_err();
    assert_eq!((error.kind(), error.get("backend")), (ErrorKind::ToolFailed, Some("b")), "{error:?}");
    assert!(error.report().contains("host not found in upstream \"nobody.invalid"), "{}", error.report());
    assert_eq!(process.file(), before.0);
    assert_eq!(process.files(), [".web.conf.lock", "web.conf"]);
    assert_eq!(hold(&process.front()).await.unwrap().0, "a");

    let reload = Some(vec!["sh".to_owned(), "-c".to_owned(), "echo no such unit >&2; exit 5".to_owned()]);
    let broken = Nginx::new(NginxConfig { reload, ..process.config() }).unwrap();
    let error = broken.drain(&process.cx, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert!(error.report().contains("no such unit"), "{}", error.report());
    assert_eq!(process.file(), before.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_has_no_effect_is_told_and_the_next_change_repeats_it() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("a").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let idle = NginxConfig { reload: Some(vec!["true".into()]), reload_limit_s: 1, ..process.config() };
    let error = Nginx::new(idle).unwrap().drain(&process.cx, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(process.balancer().preflight(&process.cx).await.unwrap().warnings[0].contains("not ended"));
    let says = process.file();
    // Younger than the file says, and as ignorant: the master replaces a worker that dies.
    let held = hold(&process.front()).await.unwrap();
    let children = format!("/proc/{0}/task/{0}/children", process.master());
    let workers = std::fs::read_to_string(&children).unwrap();
    for pid in workers.split_whitespace() {
        Command::new("kill").args(["-9", pid]).status().unwrap();
    }
    drop(held);
    let held = loop {
        if let Some(held) = hold(&process.front()).await {
            break held;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // The file says drained, and nginx does not know: a drain that changes nothing must not believe the file.
    balancer.drain(&process.cx, "a").await.unwrap();
    assert!(hold(&process.front()).await.is_none());
    assert_ne!(process.file(), says, "down since now");
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::ZERO).await.unwrap(), 1);
    drop(held);
    assert_eq!(balancer.wait_idle(&process.cx, "a", Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(process.files(), [".web.conf.lock", "web.conf"]);
}

/// As a kill would leave it, between the new file and its test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_killed_is_taken_back_if_nginx_refuses_it() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("a").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    std::fs::copy(process.path("web.conf"), process.path(".web.conf.before")).unwrap();
    let bad = format!("{}server nobody.invalid:80; # b\n", process.file());
    std::fs::write(process.path("web.conf"), bad).unwrap();
    std::fs::write(process.path(".web.conf.next"), "half").unwrap();
    balancer.drain(&process.cx, "a").await.unwrap();
    let all = balancer.backends(&process.cx).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|s| (s.backend.name, s.mode)).collect();
    assert_eq!(all, [("a".to_owned(), BackendMode::Draining)]);
    assert_eq!(process.files(), [".web.conf.lock", "web.conf"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_change_is_taken_back() {
    let Some(process) = Process::start("").await else { return };
    let web = Web::new("a").await;
    process.balancer().add(&process.cx, &web.backend("a")).await.unwrap();
    let before = process.file();
    let flag = text(&process.path("testing"));
    let test = Some(vec!["sh".into(), "-c".into(), format!("touch {flag}; exec sleep 600")]);
    let slow = Nginx::new(NginxConfig { test, ..process.config() }).unwrap();
    let (cx, token) = process.cx.child();
    let (result, ()) = tokio::join!(slow.drain(&cx, "a"), async {
        while !process.path("testing").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_ne!(process.file(), before, "tested in its place");
        token.cancel();
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(process.file(), before);
    assert_eq!(process.files(), [".web.conf.lock", "web.conf"]);
}

/// A lock whose owner is gone is none: the kernel gives it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_waited_for_and_dies_with_its_owner() {
    let Some(process) = Process::start("").await else { return };
    let web = Web::new("a").await;
    let flag = text(&process.path("locked"));
    let mut owner = Command::new("flock")
        .arg(process.path(".web.conf.lock"))
        .args(["-c", &format!("touch {flag}; exec sleep 600")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    while !process.path("locked").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let hasty = Nginx::new(NginxConfig { lock_limit_s: 1, ..process.config() }).unwrap();
    let error = hasty.add(&process.cx, &web.backend("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let balancer = process.balancer();
    let backend = web.backend("a");
    let (result, ()) = tokio::join!(balancer.add(&process.cx, &backend), async {
        // `flock` and the shell that it has become hold it together.
        let shell = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", owner.id())).unwrap();
        for pid in shell.split_whitespace() {
            Command::new("kill").args(["-9", pid]).status().unwrap();
        }
        owner.kill().unwrap();
        owner.wait().unwrap();
    });
    result.unwrap();
    assert_eq!(hold(&process.front()).await.unwrap().0, "a");
}

/// Processes that do not know each other: no change of one is lost by another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_the_same_time_are_all_there() {
    let Some(process) = Process::start("").await else { return };
    let web = Web::new("a").await;
    let mut tasks = Vec::new();
    for worker in 0..4 {
        let (balancer, cx) = (process.balancer(), process.cx.clone());
        let (kept, passing) = (web.backend(&format!("kept-{worker}")), web.backend(&format!("passing-{worker}")));
        tasks.push(tokio::spawn(async move {
            balancer.add(&cx, &kept).await.unwrap();
            balancer.add(&cx, &passing).await.unwrap();
            balancer.drain(&cx, &kept.name).await.unwrap();
            balancer.remove(&cx, &passing.name).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut all: Vec<_> =
        process.balancer().backends(&process.cx).await.unwrap().into_iter().map(|s| (s.backend.name, s.mode)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let kept: Vec<_> = (0..4).map(|n| (format!("kept-{n}"), BackendMode::Draining)).collect();
    assert_eq!(all, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_moves_and_nothing_is_reloaded_for_nothing() {
    let Some(process) = Process::start("").await else { return };
    let balancer = process.balancer();
    let (first, second) = (Web::new("first").await, Web::new("second").await);
    balancer.add(&process.cx, &first.backend("a")).await.unwrap();
    balancer.add(&process.cx, &second.backend("a")).await.unwrap();
    assert_eq!(hold(&process.front()).await.unwrap().0, "second");
    let reloads = || process.log().matches("reconfiguring").count();
    let before = reloads();
    assert!(before >= 2, "{}", process.log());
    balancer.add(&process.cx, &second.backend("a")).await.unwrap();
    balancer.remove(&process.cx, "nobody").await.unwrap();
    assert_eq!(reloads(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_followed_and_stays_one() {
    let Some(process) = Process::start("").await else { return };
    let web = Web::new("a").await;
    let link = process.path("link");
    std::os::unix::fs::symlink(process.path("web.conf"), &link).unwrap();
    let balancer = Nginx::new(NginxConfig { file: text(&link), ..process.config() }).unwrap();
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(hold(&process.front()).await.unwrap().0, "a");
}
