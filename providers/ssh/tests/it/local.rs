//! The hosts of `towpath-local`, whose server is not OpenSSH.

use std::sync::{Arc, OnceLock};

use towpath_core::testkit::connector::ConnectorFixture;
use towpath_core::{Become, Context, Endpoint, Host, Json, Provisioner as _};
use towpath_local::{Launcher, Local, LocalConfig, LocalMode};
use towpath_ssh::{Ssh, SshConfig};

/// What the hosts run as: this test binary again, told to run this test only. Run as an ordinary test it does nothing.
#[test]
fn launched() {
    towpath_local::init();
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

async fn hosts() -> Arc<Hosts> {
    static LAUNCHER: OnceLock<()> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        Launcher::with_args(std::env::current_exe().unwrap(), ["--exact", "local::launched", "--nocapture"]).install();
    });
    let dir = tempfile::tempdir().unwrap();
    let config = LocalConfig {
        mode: LocalMode::Namespace,
        state_dir: Some(dir.path().join("state")),
        name: "web".into(),
        ..LocalConfig::hosts(1)
    };
    let local = Local::new(config).unwrap();
    let applied = local.apply(&Context::new()).await.unwrap();
    Arc::new(Hosts { hosts: applied.environment.inventory.hosts, local, _dir: dir })
}

async fn fixture() -> Option<ConnectorFixture> {
    let all = hosts().await;
    let host = all.hosts[0].clone();
    let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
    let dir = format!("/tmp/it-{}", crate::number());
    let cx = Context::new();
    let connector: Arc<dyn towpath_core::Connector> = Arc::new(ssh);
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
        r#become: Some((Become::root(), "root".into())),
        cx,
        keep: Box::new(all),
    })
}

mod behaviour {
    towpath_core::connector_behaviour!(super::fixture);
}
