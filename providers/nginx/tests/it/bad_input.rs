use std::time::Duration;

use serde_json::json;
use towpath_core::{Backend, Balancer as _, ErrorKind, Host};
use towpath_nginx::{Nginx, NginxConfig};

use crate::process::{Process, text};
use crate::web::Web;

#[test]
fn configs_that_cannot_work_are_refused_with_what_is_wrong() {
    let parsed = |config: serde_json::Value| -> Result<Nginx, String> {
        let config: NginxConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
        Nginx::new(config).map_err(|e| {
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e:?}");
            e.to_string()
        })
    };
    for (config, what) in [
        (json!({}), "missing field `file`"),
        (json!({"file": "web.conf"}), "`file`"),
        (json!({"file": "/etc/nginx/"}), "`file`"),
        (json!({"file": "/a", "pid_file": ""}), "`pid_file`"),
        (json!({"file": "/a", "conf": "nginx.conf"}), "`conf`"),
        (json!({"file": "/a", "reload": []}), "`reload`"),
        (json!({"file": "/a", "test": [""]}), "`test`"),
        (json!({"file": "/a", "reload_limit_s": 0}), "`reload_limit_s`"),
        (json!({"file": "/a", "server": {"weight": 0}}), "`server`"),
        (json!({"file": "/a", "become": true}), "`become`"),
        (json!({"file": "/a", "become": {"usr": "x"}}), "unknown field `usr`"),
        (json!({"file": "/a", "fiel": "/x"}), "unknown field `fiel`"),
    ] {
        let error = parsed(config.clone()).expect_err("refused");
        assert!(error.contains(what), "{config}: {error}");
    }
    parsed(json!({"file": "/a", "on": {"name": "lb"}, "become": true})).unwrap();
}

#[test]
fn a_config_survives_json() {
    let config = NginxConfig {
        on: Some(Box::new(Host { name: "lb".into(), ..Host::default() })),
        reload: Some(vec!["systemctl".into(), "reload".into(), "nginx".into()]),
        ..NginxConfig::new("/etc/nginx/web.conf")
    };
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(serde_json::from_value::<NginxConfig>(json).unwrap(), config);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_would_be_more_than_a_word_are_refused_and_nothing_is_done() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("x").await);
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
    let before = process.file();
    for name in ["a; server evil:80", "a\nserver evil:80;", "a b", "", "a since 1/2", "a}", "#"] {
        let errors = [
            balancer.add(&process.cx, &web.backend(name)).await.unwrap_err(),
            balancer.drain(&process.cx, name).await.unwrap_err(),
            balancer.remove(&process.cx, name).await.unwrap_err(),
            balancer.wait_idle(&process.cx, name, Duration::ZERO).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
        }
    }
    for address in ["127.0.0.1; include /etc/passwd", "", "a b", "unix:/x", "$host", "-x"] {
        let backend = Backend { address: address.into(), ..web.backend("x") };
        let error = balancer.add(&process.cx, &backend).await.unwrap_err();
        assert_eq!((error.kind(), error.get("backend")), (ErrorKind::InvalidInput, Some("x")), "{address:?}: {error}");
    }
    let error = balancer.add(&process.cx, &Backend { port: 0, ..web.backend("x") }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(process.file(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_somebody_else_is_not_touched() {
    let Some(process) = Process::start("").await else { return };
    let (balancer, web) = (process.balancer(), Web::new("a").await);
    let theirs = "# ours\nserver 127.0.0.1:9;\n";
    std::fs::write(process.path("web.conf"), theirs).unwrap();
    for error in [
        balancer.preflight(&process.cx).await.unwrap_err(),
        balancer.add(&process.cx, &web.backend("a")).await.unwrap_err(),
        balancer.backends(&process.cx).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.report().contains("line 2"), "{}", error.report());
        assert_eq!(error.get("file"), Some(text(&process.path("web.conf")).as_str()));
    }
    assert_eq!(process.file(), theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_said_and_nothing_is_touched() {
    let Some(mut process) = Process::start("").await else { return };
    let web = Web::new("a").await;
    let found = process.balancer().preflight(&process.cx).await.unwrap();
    assert!(found.ok[0].contains("2 workers), 0 servers"), "{found:?}");

    let none = Nginx::new(NginxConfig { file: text(&process.path("none.conf")), ..process.config() }).unwrap();
    for error in [none.preflight(&process.cx).await.unwrap_err(), none.backends(&process.cx).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.message().contains("server 127.0.0.1:9 down;"), "{error}");
    }
    std::fs::write(process.path("nginx.conf"), "events {}\nhttp { bogus; }\n").unwrap();
    let error = process.balancer().preflight(&process.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.report().contains("bogus"), "{}", error.report());

    process.kill();
    let before = process.file();
    // A number that another process has by now.
    for pid in [String::new(), "x".to_owned(), std::process::id().to_string()] {
        std::fs::write(process.path("pid"), pid).unwrap();
        for error in [
            process.balancer().preflight(&process.cx).await.unwrap_err(),
            process.balancer().add(&process.cx, &web.backend("a")).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
            assert!(error.message().contains("does not run"), "{error}");
        }
    }
    assert_eq!(process.file(), before);
}

#[tokio::test]
async fn a_host_needs_a_connector() {
    let config = json!({"file": "/etc/nginx/web.conf", "on": {"name": "lb-1"}});
    let balancer = Nginx::new(serde_json::from_value(config).unwrap()).unwrap();
    let error = balancer.backends(&towpath_core::Context::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("host")), (ErrorKind::InvalidInput, Some("lb-1")), "{error:?}");
}
