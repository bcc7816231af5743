//! A HAProxy on another host, reached over SSH: the whole behaviour suite of balancers, and a state file there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::print_stderr, missing_docs)]

use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use towpath::haproxy::{AddedServer, HaProxy, HaProxyConfig, ServerCheck};
use towpath::ssh::{Ssh, SshConfig};
use towpath_core::testkit::Sshd;
use towpath_core::testkit::balancer::{BalancerFixture, behaviours};
use towpath_core::{Backend, Connector, Context, Endpoint, ErrorKind};

#[path = "../balancers/host.rs"]
mod host;

/// Started anew for each behaviour, as the user that logs in.
const START: &str = r#"
cd /srv/lb
if [ -f pid ]; then
    p=$(cat pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.02; done; rm -f pid api
fi
cat > haproxy.cfg <<'E'
global
 stats socket /srv/lb/api mode 600 user deploy level admin
 stats socket ipv4@127.0.0.1:9999 level admin
defaults
 mode tcp
 timeout connect 5s
 timeout client 60s
 timeout server 60s
frontend front
 bind 127.0.0.1:8080
 default_backend web
backend web
 balance roundrobin
E
/usr/local/sbin/haproxy -D -p pid -f haproxy.cfg
"#;

fn ssh() -> Arc<dyn Connector> {
    Arc::new(Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() }))
}

fn fixture(sshd: &Sshd, socket: &str) -> BalancerFixture {
    sshd.sh(START);
    let on = sshd.host("lb-1");
    let check = Some(ServerCheck { inter_ms: 50, rise: 1, fall: 20 });
    let config = HaProxyConfig {
        socket: socket.to_owned(),
        on: Some(Box::new(on.clone())),
        server: AddedServer { check, ..AddedServer::default() },
        state_file: Some("/home/deploy/state".to_owned()),
        ..HaProxyConfig::new("web")
    };
    let backend = |name: &str, port| Backend { name: name.into(), address: "127.0.0.1".into(), port };
    let (connector, cx) = (ssh(), Context::new());
    let client = cx.clone();
    BalancerFixture {
        provider: Arc::new(HaProxy::new(config).unwrap().through(Arc::clone(&connector))),
        backends: [backend("web-1", 8001), backend("web-2", 8002)],
        open: Box::new(move |()| {
            let (connector, on, cx) = (Arc::clone(&connector), on.clone(), client.clone());
            Box::pin(async move {
                let connection = connector.connect(&cx, &on).await.unwrap();
                let mut stream = connection.dial(&cx, &Endpoint::Tcp("127.0.0.1".into(), 8080)).await.ok()?;
                let mut line = Vec::new();
                while line.last() != Some(&b'\n') {
                    if stream.read_buf(&mut line).await.ok()? == 0 {
                        return None;
                    }
                }
                Some((String::from_utf8(line).unwrap().trim().to_owned(), Box::new(Open(stream, connection)) as _))
            })
        }),
        cx,
        keep: Box::new(()),
    }
}

/// Dropping it closes it.
struct Open(#[allow(dead_code)] Box<dyn towpath_core::Stream>, #[allow(dead_code)] Arc<dyn towpath_core::Connection>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behaves_on_a_host_over_ssh() {
    let Some(sshd) = host::with("haproxy", "/usr/sbin/haproxy", "tcp") else { return };
    for (n, behaviour) in behaviours().into_iter().enumerate() {
        eprintln!("{behaviour:?}");
        // Both ways to listen.
        let socket = ["/srv/lb/api", "127.0.0.1:9999"][n % 2];
        (behaviour.run)(fixture(&sshd, socket)).await;
    }

    let f = fixture(&sshd, "/srv/lb/api");
    f.provider.add(&f.cx, &f.backends[0]).await.unwrap();
    f.provider.drain(&f.cx, "web-1").await.unwrap();
    let state = sshd.sh("stat -c '%U %a' /home/deploy/state; grep ' web-1 127.0.0.1 2 8 ' /home/deploy/state");
    assert!(state.starts_with("deploy 600\n"), "{state}");
    let named = Backend { address: "localhost".into(), ..f.backends[0].clone() };
    f.provider.add(&f.cx, &named).await.unwrap();
    assert_eq!(f.provider.backends(&f.cx).await.unwrap()[0].backend, f.backends[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_the_host_too() {
    let Some(sshd) = host::with("haproxy", "/usr/sbin/haproxy", "tcp") else { return };
    let f = fixture(&sshd, "/srv/lb/api");
    let registry = towpath::registry();
    let setup = towpath::Setup { base_dir: "/nowhere".into(), environment: "default".into(), connector: ssh() };
    let made = |config: serde_json::Value| registry.make::<dyn towpath::Balancer>("haproxy", &config, &setup).unwrap();
    let config = serde_json::json!({"backend": "wbe", "socket": "/srv/lb/api", "on": sshd.host("lb-1")});
    let error = made(config).preflight(&f.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert_eq!((error.get("host"), error.get("there_are")), (Some("lb-1"), Some("web")), "{error}");
    // The socket is another user's, whom this one is not.
    let config = serde_json::json!({"backend": "web", "socket": "/srv/lb/api", "on": sshd.host_as("lb-1", "asks")});
    let error = made(config).backends(&f.cx).await.unwrap_err();
    assert_eq!((error.kind(), error.get("socket")), (ErrorKind::Unreachable, Some("/srv/lb/api")), "{error:?}");
}
