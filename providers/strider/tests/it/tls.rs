use std::process::Command;

use towpath_core::{Deployer as _, ErrorKind};
use towpath_strider::{Live, Strider};

use crate::support::{Seen, World, context, group, release, simulator};

fn openssl(dir: &std::path::Path, arguments: &str) -> bool {
    Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().is_ok_and(|out| out.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::write(at.join("ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    let made =
        openssl(at, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority")
            && openssl(at, "req -newkey rsa:2048 -nodes -keyout key -out csr -subj /CN=127.0.0.1")
            && openssl(at, "x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -out cert -days 2 -extfile ext");
    if !made {
        let what = "NOT RUN: a server with TLS: apt-get install openssl";
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return;
    }
    let file = |name: &str| at.join(name).to_str().unwrap().to_owned();
    let Some(server) = simulator(&[("SIM_KEY", &file("key")), ("SIM_CERT", &file("cert"))]) else { return };
    let Some(plain) = World::new(&[]).await else { return };
    let seen = Seen::default();
    let cx = context(&seen);
    let mut config = plain.config();
    config.url = server.url();
    let strange = Strider::new(config.clone()).unwrap();
    let error = strange.probe_group(&cx, &group()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("ca_file"), "{error}");

    config.ca_file = Some(at.join("ca.pem"));
    let strider = Strider::new(config.live(Live::SocketIo)).unwrap();
    strider.set_up(&cx, &plain.project(&[("test", "echo tested")])).await.unwrap();
    strider.preflight(&cx).await.unwrap();
    let job = strider.start(&cx, &group(), &release("v1")).await.unwrap();
    strider.follow(&cx, &job).await.unwrap();
    assert_eq!(seen.lines("stdout"), ["tested"], "by a websocket over TLS");
}
