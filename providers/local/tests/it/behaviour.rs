//! The behaviour suites that every provider runs.

use std::io::Write as _;
use std::sync::Arc;

use towpath_core::testkit::connector::ConnectorFixture;
use towpath_core::testkit::log_sink::LogSinkFixture;
use towpath_core::testkit::monitor::MonitorFixture;
use towpath_core::{Check, CheckProbe, ConnectionSpec, Context, Endpoint, Host, Inventory, PortSpec, Targets};
use towpath_local::{LocalConnector, LocalLogSink, LocalLogSinkConfig, LocalMonitor};

async fn log_sink_fixture() -> Option<LogSinkFixture> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs/towpath.jsonl");
    let provider = LocalLogSink::new(LocalLogSinkConfig::new(&path)).unwrap();
    let arrived = move |()| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let records = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        Box::pin(async move { records }) as _
    };
    let (arrived, keep) = (Box::new(arrived), Box::new(dir));
    Some(LogSinkFixture { provider: Arc::new(provider), arrived, cx: Context::new(), keep })
}

mod log_sink {
    towpath_core::log_sink_behaviour!(super::log_sink_fixture);
}

pub(crate) fn here(name: &str) -> Host {
    Host {
        name: name.into(),
        connection: ConnectionSpec { kind: "local".into(), ..ConnectionSpec::default() },
        ..Host::default()
    }
}

/// A port that greets everybody, in one thread for the whole test program.
fn greeter() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"hello\n");
        }
    });
    port
}

fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) async fn connector_fixture() -> Option<ConnectorFixture> {
    let dir = tempfile::tempdir().unwrap();
    let mut unreachable = here("far");
    unreachable.connection.address = Some("192.0.2.1".into());
    let mut refused = here("refused");
    refused.connection.user = Some("nobody-at-all".into());
    Some(ConnectorFixture {
        provider: Arc::new(LocalConnector),
        host: here("localhost"),
        unreachable,
        may_answer_later: false,
        refused,
        dir: dir.path().display().to_string(),
        listens: Some((Endpoint::Tcp("127.0.0.1".into(), greeter()), "hello".into())),
        r#become: None,
        cx: Context::new(),
        keep: Box::new(dir),
    })
}

mod connector {
    towpath_core::connector_behaviour!(super::connector_fixture);
}

async fn monitor_fixture() -> Option<MonitorFixture> {
    let check = |name: &str, probe| Check { name: name.into(), probe, timeout_s: 5.0 };
    let (mut a, mut b) = (here("web-1"), here("web-2"));
    a.vars.insert("port".into(), greeter().into());
    b.vars.insert("port".into(), dead_port().into());
    let inventory = Inventory { hosts: vec![a, b], ..Inventory::default() };
    Some(MonitorFixture {
        provider: Arc::new(LocalMonitor::default()),
        targets: Targets::new(inventory, Arc::new(LocalConnector)),
        passes: check("true", CheckProbe::Command { argv: vec!["true".into()] }),
        fails: check("closed", CheckProbe::Tcp { port: PortSpec::Number(dead_port()) }),
        fails_on_second: check("port", CheckProbe::Tcp { port: PortSpec::Variable("{{ port }}".into()) }),
        cx: Context::new(),
        keep: Box::new(()),
    })
}

mod monitor {
    towpath_core::monitor_behaviour!(super::monitor_fixture);
}
