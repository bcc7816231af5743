//! The hosts of `local`, whose server is not OpenSSH, reached by the connector `ssh`; and images baked over it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use towpath::local::{Launcher, Local, LocalArchive, LocalArchiveConfig, LocalConfig, LocalMode};
use towpath::ssh::{Ssh, SshConfig};
use towpath_core::testkit::Sshd;
use towpath_core::testkit::connector::ConnectorFixture;
use towpath_core::{
    ArtifactKind, Base, Become, Built, Context, Endpoint, Host, ImageBuilder as _, ImageDefinition, Json,
    Provisioner as _,
};

/// What the hosts run as: this test binary again, told to run this test only. Run as an ordinary test it does nothing.
#[test]
fn launched() {
    towpath::local::init();
}

/// A number of its own for each test.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Hosts {
    local: Local,
    hosts: Vec<Host>,
    _dir: tempfile::TempDir,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // A drop can't wait in a runtime of its own within another one.
        let local = self.local.clone();
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(local.destroy(&Context::new()))
        });
        let _ = ended.join();
    }
}

async fn hosts(mode: LocalMode) -> Arc<Hosts> {
    static LAUNCHER: OnceLock<()> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        Launcher::with_args(std::env::current_exe().unwrap(), ["--exact", "launched", "--nocapture"]).install();
    });
    let dir = tempfile::tempdir().unwrap();
    let config =
        LocalConfig { mode, state_dir: Some(dir.path().join("state")), name: "web".into(), ..LocalConfig::hosts(1) };
    let local = Local::new(config).unwrap();
    let applied = local.apply(&Context::new()).await.unwrap();
    Arc::new(Hosts { hosts: applied.environment.inventory.hosts, local, _dir: dir })
}

fn ssh() -> Arc<dyn towpath_core::Connector> {
    Arc::new(Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() }))
}

async fn fixture(mode: LocalMode) -> Option<ConnectorFixture> {
    let all = hosts(mode).await;
    let host = all.hosts[0].clone();
    let root = host.vars["towpath_root"].as_str().unwrap();
    let dir = format!("{root}/tmp/it-{}", number());
    let cx = Context::new();
    let connector = ssh();
    let connection = connector.connect(&cx, &host).await.unwrap();
    connection.exec(&cx, &towpath_core::Exec::argv(["mkdir", "-p", &dir])).await.unwrap();
    let mut unreachable = host.clone();
    unreachable.connection.port = Some(9);
    let mut refused = host.clone();
    refused.connection.options.insert("known_hosts".into(), Json::from("/nonexistent/known_hosts"));
    let port = host.connection.port.unwrap();
    Some(ConnectorFixture {
        provider: connector,
        listens: Some((Endpoint::Tcp("127.0.0.1".into(), port), "SSH-2.0-".into())),
        host,
        unreachable,
        may_answer_later: true,
        refused,
        dir,
        // A plain host's commands can't become anybody.
        r#become: (mode == LocalMode::Namespace).then(|| (Become::root(), "root".into())),
        cx,
        keep: Box::new(all),
    })
}

mod behaviour {
    async fn fixture() -> Option<super::ConnectorFixture> {
        super::fixture(super::LocalMode::Namespace).await
    }
    towpath_core::connector_behaviour!(fixture);
}

mod behaviour_of_plain_hosts {
    async fn fixture() -> Option<super::ConnectorFixture> {
        super::fixture(super::LocalMode::Plain).await
    }
    towpath_core::connector_behaviour!(fixture);
}

/// A host baked as it is.
async fn bake(mode: LocalMode) {
    let all = hosts(mode).await;
    let host = all.hosts[0].clone();
    let cx = Context::new();
    let connection = ssh().connect(&cx, &host).await.unwrap();
    let run = async |script: &str| {
        let exec = towpath_core::Exec::script(script);
        connection.exec(&cx, &exec).await.unwrap().success("test", "exec", "web-1", &exec).unwrap();
    };
    let image = ImageDefinition {
        name: "web".into(),
        base: Base::Host(Box::new(host)),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Archive],
        connector: ssh(),
        labels: BTreeMap::new(),
    };
    let dir = tempfile::tempdir().unwrap();
    let builder = LocalArchive::new(LocalArchiveConfig::new(dir.path().join("images"))).unwrap();
    let empty = builder.build(&cx, &image).await.unwrap();
    assert_eq!(builder.build(&cx, &image).await.unwrap(), Built { changed: 0, ..empty });

    run("r=${TOWPATH_ROOT:-}; mkdir -p $r/srv/web/data $r/var/log/web $r/var/lib/web
        echo port=1 > $r/etc/web.conf; echo page > $r/srv/web/data/index.html; echo db > $r/var/lib/web/db
        echo 1 > $r/srv/web/web.pid; echo noise > $r/var/log/web/x; echo lost > $r/tmp/x")
    .await;
    let built = builder.build(&cx, &image).await.unwrap();
    let names = listing(&built.artifacts[0].id);
    let has = |name: &str| names.iter().any(|n| n == name);
    for name in ["etc/web.conf", "srv/web/data/index.html", "var/lib/web/db", "var/log/web/"] {
        assert!(has(name), "{name} is missing: {names:?}");
    }
    for name in ["srv/web/web.pid", "var/log/web/x", "tmp/x"] {
        assert!(!has(name), "{name} is noise: {names:?}");
    }
    assert!(names.len() < 100, "it holds more than what was changed: {names:?}");

    run("r=${TOWPATH_ROOT:-}; rm $r/etc/web.conf; touch $r/srv/web/data/index.html").await;
    let less = builder.build(&cx, &image).await.unwrap();
    assert_eq!(less.changed, 1);
    assert!(!listing(&less.artifacts[0].id).iter().any(|n| n == "etc/web.conf"));
    run("r=${TOWPATH_ROOT:-}; echo port=1 > $r/etc/web.conf").await;
    assert_eq!(builder.build(&cx, &image).await.unwrap(), Built { changed: 0, ..built });

    if mode == LocalMode::Namespace {
        // What is gone of this machine's files is marked as image layers do it.
        run("rm /etc/hostname; rm -rf /etc/apt; mkdir /etc/apt; touch /etc/apt/fresh").await;
        let gone = listing(&builder.build(&cx, &image).await.unwrap().artifacts[0].id);
        for name in ["etc/.wh.hostname", "etc/apt/.wh..wh..opq", "etc/apt/fresh"] {
            assert!(gone.iter().any(|n| n == name), "{name} is missing: {gone:?}");
        }
    }
}

fn listing(archive: &str) -> Vec<String> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(archive).unwrap()).unwrap());
    archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_a_namespace_is_baked() {
    bake(LocalMode::Namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_host_is_baked() {
    bake(LocalMode::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_host_is_baked_as_a_user_who_may_read_it() {
    let Some(server) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let mut host = server.host("web-1");
    server.sh("mkdir -p /srv/baked && echo page > /srv/baked/index.html && chown deploy: /srv/baked");
    let mut image = ImageDefinition {
        name: "web".into(),
        base: Base::Host(Box::new(host.clone())),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Archive],
        connector: ssh(),
        labels: BTreeMap::new(),
    };
    let dir = tempfile::tempdir().unwrap();
    let builder = LocalArchive::new(LocalArchiveConfig::new(dir.path().join("images"))).unwrap();
    let cx = Context::new();
    let error = builder.build(&cx, &image).await.unwrap_err();
    assert_eq!(error.kind(), towpath_core::ErrorKind::ToolFailed);
    assert!(error.report().contains("Permission denied") && error.report().contains("become"), "{error:?}");
    assert!(!dir.path().join("images").exists(), "a failed build leaves nothing");

    host.connection.r#become = Some(towpath_core::BecomeSpec::default());
    image.base = Base::Host(Box::new(host));
    let built = builder.build(&cx, &image).await.unwrap();
    let names = listing(&built.artifacts[0].id);
    let has = |name: &str| names.iter().any(|n| n == name);
    assert!(has("srv/baked/index.html") && has("etc/shadow") && has("root/"), "{names:?}");
    assert!(!has("usr/bin/") && !names.iter().any(|n| n.starts_with("etc/ssh/ssh_host_")), "{names:?}");
}
