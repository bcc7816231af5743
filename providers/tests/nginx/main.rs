//! An nginx on another host, reached over SSH and by sudo: the whole behaviour suite of balancers, and what is left behind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::print_stderr, missing_docs)]

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use towpath::nginx::{Nginx, NginxConfig};
use towpath::ssh::{Ssh, SshConfig};
use towpath_core::testkit::Sshd;
use towpath_core::testkit::balancer::{BalancerFixture, behaviours};
use towpath_core::{Backend, BecomeChoice, Connector, Context, Endpoint, ErrorKind};

#[path = "../balancers/host.rs"]
mod host;

/// Started anew for each behaviour, as root.
const START: &str = r#"
cd /srv/lb
if [ -f pid ]; then
    p=$(cat pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.02; done
fi
cat > nginx.conf <<'E'
pid /srv/lb/pid;
error_log /srv/lb/log;
worker_processes 2;
events { worker_connections 512; }
http {
 access_log off;
 client_body_temp_path /srv/lb/body; proxy_temp_path /srv/lb/proxy; fastcgi_temp_path /srv/lb/fastcgi;
 uwsgi_temp_path /srv/lb/uwsgi; scgi_temp_path /srv/lb/scgi;
 upstream web { include /srv/lb/web.conf; }
 server { listen 127.0.0.1:8080; location / { proxy_pass http://web; proxy_buffering off; } }
}
E
echo 'server 127.0.0.1:9 down;' > web.conf
rm -f .web.conf.before
# Which user nginx was built for need not be there.
sed -i '1i user nobody nogroup;' nginx.conf
/usr/local/sbin/nginx -c /srv/lb/nginx.conf
until [ -s pid ]; do sleep 0.02; done
"#;

fn ssh() -> Arc<dyn Connector> {
    Arc::new(Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() }))
}

fn config(sshd: &Sshd) -> NginxConfig {
    NginxConfig {
        on: Some(Box::new(sshd.host("lb-1"))),
        r#become: Some(BecomeChoice::Switch(true)),
        conf: Some("/srv/lb/nginx.conf".into()),
        pid_file: "/srv/lb/pid".into(),
        ..NginxConfig::new("/srv/lb/web.conf")
    }
}

fn fixture(sshd: &Sshd) -> BalancerFixture {
    sshd.sh(START);
    let on = sshd.host("lb-1");
    let backend = |name: &str, port| Backend { name: name.into(), address: "127.0.0.1".into(), port };
    let (connector, cx) = (ssh(), Context::new());
    let client = cx.clone();
    BalancerFixture {
        provider: Arc::new(Nginx::new(config(sshd)).unwrap().through(Arc::clone(&connector))),
        backends: [backend("web-1", 8001), backend("web-2", 8002)],
        open: Box::new(move |()| {
            let (connector, on, cx) = (Arc::clone(&connector), on.clone(), client.clone());
            Box::pin(async move {
                let connection = connector.connect(&cx, &on).await.unwrap();
                let mut stream = connection.dial(&cx, &Endpoint::Tcp("127.0.0.1".into(), 8080)).await.ok()?;
                stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await.ok()?;
                let mut buffer = Vec::new();
                loop {
                    if stream.read_buf(&mut buffer).await.ok()? == 0 {
                        return None;
                    }
                    let text = String::from_utf8_lossy(&buffer);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    if !head.starts_with("HTTP/1.1 200") {
                        return None;
                    }
                    let Some((name, _)) = body.split_once('\n') else { continue };
                    return Some((name.to_owned(), Box::new(Open(stream, connection)) as _));
                }
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
    let Some(sshd) = host::with("nginx", "/usr/sbin/nginx", "http") else { return };
    for behaviour in behaviours() {
        eprintln!("{behaviour:?}");
        (behaviour.run)(fixture(&sshd)).await;
    }
    let left = sshd.sh("cd /srv/lb; ls -A | grep web.conf; stat -c '%U %a' web.conf");
    assert_eq!(left, ".web.conf.lock\nweb.conf\nroot 644");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_the_host_too() {
    let Some(sshd) = host::with("nginx", "/usr/sbin/nginx", "http") else { return };
    let f = fixture(&sshd);
    let registry = towpath::registry();
    let setup = towpath::Setup { base_dir: "/nowhere".into(), environment: "default".into(), connector: ssh() };
    let made = |config: NginxConfig| {
        let config = serde_json::to_value(config).unwrap();
        registry.make::<dyn towpath::Balancer>("nginx", &config, &setup).unwrap()
    };
    let found = made(config(&sshd)).preflight(&f.cx).await.unwrap();
    assert!(found.ok[0].contains("2 workers"), "{found:?}");
    let plain = NginxConfig { r#become: None, ..config(&sshd) };
    let error = made(plain).add(&f.cx, &f.backends[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "the folder is root's: {error:?}");
    assert_eq!((error.get("host"), error.get("file")), (Some("lb-1"), Some("/srv/lb/web.conf")), "{error}");
    let missing = NginxConfig { file: "/srv/lb/none.conf".into(), ..config(&sshd) };
    assert_eq!(made(missing).preflight(&f.cx).await.unwrap_err().kind(), ErrorKind::NotFound);
}
