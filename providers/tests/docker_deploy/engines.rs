//! A second engine of this test's own, to which images are copied.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use towpath::docker::{DockerDeploy, DockerDeployConfig};
use towpath::local::LocalConnector;
use towpath::{ConnectionSpec, Deployer as _, ErrorKind, Host, Target};

use crate::{Environment, engine, not_run, release};

/// An engine without networks, ended on drop with all that it has.
///
/// In a network namespace of its own, and not started without one: a `dockerd` that is told to have no bridge removes `docker0`, and that
/// would be the bridge of all containers of this machine.
struct Dockerd {
    process: Child,
    dir: tempfile::TempDir,
}

impl Dockerd {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = |what: &str| dir.path().join(what).display().to_string();
        let process = Command::new("unshare")
            .args(["--net", "--", "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["-H", &format!("unix://{}", at("docker.sock")), "--pidfile", &at("pid")])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn();
        let Ok(process) = process else {
            not_run("a second dockerd: unshare(1) of util-linux");
            return None;
        };
        let mut this = Self { process, dir };
        for _ in 0..600 {
            if this.docker(&["version"]).is_ok() {
                return Some(this);
            }
            if this.process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(this.dir.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        not_run(&format!("a second dockerd: apt-get install docker.io, and the rights of root: {last:?}"));
        None
    }

    fn socket(&self) -> String {
        self.dir.path().join("docker.sock").display().to_string()
    }

    fn docker(&self, args: &[&str]) -> Result<String, String> {
        let out =
            Command::new("docker").args(["-H", &format!("unix://{}", self.socket())]).args(args).output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        for id in self.docker(&["ps", "-aq"]).unwrap_or_default().lines() {
            let _ = self.docker(&["rm", "-fv", id]);
        }
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_copied_to_an_engine_that_lacks_it_and_no_registry_is_asked() {
    if !engine() {
        return;
    }
    let Some(second) = Dockerd::start() else { return };
    let environment = Environment::new();
    let host = Host {
        name: "web1".into(),
        connection: ConnectionSpec { kind: "local".into(), ..ConnectionSpec::default() },
        ..Host::default()
    };
    let target = Target { host, connector: Arc::new(LocalConnector) };
    let mut config = DockerDeployConfig { socket: second.socket(), ..DockerDeployConfig::new("web") };
    config.transfer_from = Some("unix:///var/run/docker.sock".into());
    let (cx, v1) = (&environment.cx, release("v1"));
    let alone = DockerDeploy::new(config.clone()).unwrap();
    let error = alone.stage(cx, &target, &v1).await.expect_err("it has no image and no registry");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.message().contains("`transfer`"), "{error:?}");

    let deployer = DockerDeploy::new(config.transfer()).unwrap();
    let mut other = v1.clone();
    let artifact = other.artifact.as_mut().unwrap();
    artifact.id = format!("sha256:{}", "0".repeat(64));
    artifact.digest = artifact.id.clone();
    let error = deployer.stage(cx, &target, &other).await.expect_err("nobody has it");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_eq!(second.docker(&["images", "-q"]).unwrap(), "", "nothing came there");

    assert!(deployer.stage(cx, &target, &v1).await.unwrap().changed);
    assert!(!deployer.stage(cx, &target, &v1).await.unwrap().changed);
    let id = &v1.artifact.as_ref().unwrap().id;
    assert_eq!(second.docker(&["image", "inspect", "-f", "{{.Id}}", id]).as_ref(), Ok(id));
    deployer.activate(cx, &target, &v1).await.unwrap();
    let state = deployer.probe(cx, &target).await.unwrap();
    assert_eq!((state.current.as_deref(), state.running, state.staged), (Some("v1"), true, vec!["v1".to_owned()]));
    assert_eq!(second.docker(&["ps", "-q"]).unwrap().lines().count(), 1);
    assert_eq!(environment.containers(), Vec::<String>::new(), "on the second engine, not on the first one");
    deployer.deactivate(cx, &target).await.unwrap();
}
