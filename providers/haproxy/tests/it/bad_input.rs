use std::time::Duration;

use serde_json::json;
use towpath_core::{Backend, Balancer as _, ErrorKind, Host};
use towpath_haproxy::{AddedServer, HaProxy, HaProxyConfig, ServerTls};

use crate::process::{Process, text};
use crate::web::Web;

fn parsed(config: serde_json::Value) -> Result<HaProxy, String> {
    let config: HaProxyConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
    HaProxy::new(config).map_err(|e| {
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e:?}");
        e.to_string()
    })
}

#[test]
fn configs_that_cannot_work_are_refused_with_what_is_wrong() {
    for (config, what) in [
        (json!({"backend": "web; shutdown frontend front"}), "name of a backend"),
        (json!({"backend": "web\nshutdown"}), "name of a backend"),
        (json!({"backend": ""}), "name of a backend"),
        (json!({"backend": "web", "socket": "api"}), "`socket`"),
        (json!({"backend": "web", "socket": ":9999"}), "`socket`"),
        (json!({"backend": "web", "socket": "127.0.0.1:0"}), "`socket`"),
        (json!({"backend": "web", "socket": format!("/{}", "x".repeat(107))}), "107 bytes"),
        (json!({"backend": "web", "socket": "./api", "on": {"name": "lb"}}), "begin with `/`"),
        (json!({"backend": "web", "up_limit_s": -1.0}), "`up_limit_s`"),
        (json!({"backend": "web", "reply_limit_s": 0.0}), "`reply_limit_s`"),
        (json!({"backend": "web", "state_file": "/var/lib/"}), "`state_file`"),
        (json!({"backend": "web", "state_file": "state", "on": {"name": "lb"}}), "`state_file`"),
        (json!({"backend": "web", "server": {"weight": 0}}), "`server.weight`"),
        (json!({"backend": "web", "server": {"weight": 257}}), "`server.weight`"),
        (json!({"backend": "web", "server": {"maxconn": 0}}), "`server.maxconn`"),
        (json!({"backend": "web", "server": {"check": {"rise": 0}}}), "`server.check`"),
        (json!({"backend": "web", "server": {"ssl": {}}}), "`server.ssl`"),
        (json!({"backend": "web", "server": {"ssl": {"ca_file": "/a", "accept_any_certificate": true}}}), "not both"),
        (json!({"backend": "web", "server": {"ssl": {"ca_file": "/a\nshow stat"}}}), "line breaks"),
        (json!({"backend": "web", "server": {"ssl": {"ca_file": "/a", "name": "a) ;x"}}}), "name of a host"),
        (json!({"backend": "web", "sokcet": "/x"}), "unknown field `sokcet`"),
        (json!({"backend": "web", "server": {"check": {"inter": 1}}}), "unknown field `inter`"),
        (json!({}), "missing field `backend`"),
    ] {
        let error = parsed(config.clone()).expect_err("refused");
        assert!(error.contains(what), "{config}: {error}");
    }
    parsed(json!({"backend": "web"})).unwrap();
    parsed(json!({"backend": "web", "socket": "[::1]:9999", "server": {"check": {}}})).unwrap();
}

#[test]
fn a_config_survives_json() {
    let config = HaProxyConfig {
        on: Some(Box::new(Host { name: "lb".into(), ..Host::default() })),
        state_file: Some("/var/lib/haproxy/state".into()),
        ..HaProxyConfig::new("web")
    };
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(serde_json::from_value::<HaProxyConfig>(json).unwrap(), config);
}

/// Names that would end a command and start another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_haproxy_cannot_have_are_refused_and_nothing_is_done() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1").await else { return };
    let (balancer, web) = (process.balancer(), Web::tcp("x").await);
    let before = process.say("show servers state").await;
    for name in ["a;disable server web/a", "a\ndisable server web/a", "a b", "", "a/b", "web/a", "ä"] {
        let evil = web.backend(name);
        let errors = [
            balancer.add(&process.cx, &evil).await.unwrap_err(),
            balancer.drain(&process.cx, name).await.unwrap_err(),
            balancer.remove(&process.cx, name).await.unwrap_err(),
            balancer.wait_idle(&process.cx, name, Duration::ZERO).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
        }
    }
    for address in ["127.0.0.1 id 7", "127.0.0.1;disable server web/a", "", "-x", "127.0.0.1\n"] {
        let error =
            balancer.add(&process.cx, &Backend { address: address.into(), ..web.backend("x") }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address:?}: {error}");
        assert_eq!(error.get("backend"), Some("x"));
    }
    let error = balancer.add(&process.cx, &Backend { port: 0, ..web.backend("x") }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let lasting = |text: &str| {
        let cells = |l: &str| l.split(' ').take(9).map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(cells).collect::<Vec<_>>()
    };
    assert_eq!(lasting(&process.say("show servers state").await), lasting(&before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_section_names_those_that_there_are() {
    let Some(process) = Process::start("tcp", "server a 127.0.0.1:1").await else { return };
    let balancer = HaProxy::new(HaProxyConfig { backend: "wbe".into(), ..process.config() }).unwrap();
    let web = Web::tcp("x").await;
    for error in [
        balancer.preflight(&process.cx).await.unwrap_err(),
        balancer.add(&process.cx, &web.backend("x")).await.unwrap_err(),
        balancer.drain(&process.cx, "a").await.unwrap_err(),
        balancer.remove(&process.cx, "a").await.unwrap_err(),
        balancer.backends(&process.cx).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert_eq!(error.get("section"), Some("wbe"));
        assert_eq!(error.get("there_are"), Some("other web"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflight_says_what_works_and_what_does_not() {
    let section = "cookie S insert\nserver a 127.0.0.1:1 cookie a\nserver b 127.0.0.1:2";
    let Some(process) = Process::start("http", section).await else { return };
    let found = process.balancer().preflight(&process.cx).await.unwrap();
    assert!(found.ok[0].starts_with("HAProxy 2.") && found.ok[0].ends_with("section web: 2 servers"), "{found:?}");
    assert_eq!(found.warnings, ["clients with a cookie keep their server while it drains: a"]);
    let weak = HaProxy::new(HaProxyConfig { socket: text(&process.path("user")), ..process.config() }).unwrap();
    let error = weak.preflight(&process.cx).await.unwrap_err();
    assert_eq!((error.kind(), error.get("level")), (ErrorKind::Denied, Some("user")), "{error}");
    let error = weak.drain(&process.cx, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert!(error.report().contains("Permission denied"), "{}", error.report());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_haproxy_refuses_is_told_with_its_own_words() {
    let Some(process) = Process::start("tcp", "balance source").await else { return };
    let web = Web::tcp("a").await;
    let error = process.balancer().add(&process.cx, &web.backend("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.get("backend")), (ErrorKind::ToolFailed, Some("a")), "{error:?}");
    assert!(error.report().contains("dynamic load balancing"), "{}", error.report());

    let Some(process) = Process::start("tcp", "balance roundrobin").await else { return };
    let ssl = ServerTls { ca_file: Some("/no such;file".into()), accept_any_certificate: false, name: None, crt: None };
    let server = AddedServer { ssl: Some(ssl), ..AddedServer::default() };
    let balancer = HaProxy::new(HaProxyConfig { server, ..process.config() }).unwrap();
    let error = balancer.add(&process.cx, &web.backend("a")).await.unwrap_err();
    assert!(error.report().contains("unable to load /no such;file"), "{}", error.report());
    let any = ServerTls { ca_file: None, accept_any_certificate: true, name: Some("web.internal".into()), crt: None };
    let server = AddedServer { ssl: Some(any), ..AddedServer::default() };
    let balancer = HaProxy::new(HaProxyConfig { server, ..process.config() }).unwrap();
    balancer.add(&process.cx, &web.backend("a")).await.unwrap();
}
