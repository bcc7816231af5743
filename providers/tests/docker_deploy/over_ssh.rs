//! A host on which nothing but dockerd and sshd are: its engine is reached through the SSH connection.

use std::sync::Arc;

use towpath::docker::{DockerDeploy, DockerDeployConfig};
use towpath::ssh::{Ssh, SshConfig};
use towpath::{Deployer as _, Inventory, Target, TargetGroup};
use towpath_core::testkit::Sshd;
use towpath_core::testkit::deployer::DeployerFixture;

use crate::load::ask;
use crate::{Environment, docker, engine, free_port, release};

const SOCKET: &str = "/var/run/docker.sock";

/// Where both this machine and its containers find a published port. The bridge itself does not tell it to the first dockerd that is
/// started on a machine.
fn gateway(of: &Sshd) -> String {
    let address = docker(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", &of.id]);
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "the container has no gateway: {address:?}");
    address
}

fn sshd() -> Sshd {
    let sshd = Sshd::start_with(&["-v", "/var/run/docker.sock:/var/run/docker.sock"]).unwrap();
    // The user who logs in is no root, but may open the socket, as on a real host.
    sshd.sh("groupadd -f -o -g $(stat -c %g /var/run/docker.sock) engine; usermod -aG engine deploy");
    sshd
}

fn ssh() -> Ssh {
    Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() })
}

async fn fixture() -> Option<DeployerFixture> {
    if !engine() {
        return None;
    }
    let (sshd, environment, port) = (sshd(), Environment::new(), free_port());
    let address = gateway(&sshd);
    let target = Target { host: sshd.host("web1"), connector: Arc::new(ssh()) };
    let config = DockerDeployConfig::new("web").port(format!("{address}:{port}:80")).ready_at(80, "/");
    let mut missing = release("v3");
    let artifact = missing.artifact.as_mut().unwrap();
    artifact.id = format!("sha256:{}", "0".repeat(64));
    artifact.digest = artifact.id.clone();
    Some(DeployerFixture {
        provider: Arc::new(DockerDeploy::new(config).unwrap()),
        group: TargetGroup {
            name: "web".into(),
            inventory: Inventory::default(),
            connector: Arc::clone(&target.connector),
        },
        target,
        v1: release("v1"),
        v2: release("v2"),
        missing,
        cx: environment.cx.clone(),
        serving: Box::new(move |()| {
            let address = address.clone();
            Box::pin(async move { ask(&address, port, "/").ok() })
        }),
        keep: Box::new((sshd, environment)),
    })
}

mod behaviour {
    towpath_core::deployer_behaviour!(super::fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_open_the_socket_is_told_so() {
    if !engine() {
        return;
    }
    let (sshd, environment) = (sshd(), Environment::new());
    let deployer = DockerDeploy::new(DockerDeployConfig::new("web")).unwrap();
    let target = Target { host: sshd.host_as("web1", "asks"), connector: Arc::new(ssh()) };
    let error = deployer.probe(&environment.cx, &target).await.expect_err("the user is not in the group");
    assert!(error.report().contains(SOCKET) && error.get("host") == Some("web1"), "{error:?}");

    let nowhere = DockerDeployConfig { socket: "/no/such.sock".into(), ..DockerDeployConfig::new("web") };
    let target = Target { host: sshd.host("web1"), connector: Arc::new(ssh()) };
    let error = DockerDeploy::new(nowhere).unwrap().probe(&environment.cx, &target).await.expect_err("no socket");
    assert!(error.report().contains("/no/such.sock"), "{error:?}");
}
