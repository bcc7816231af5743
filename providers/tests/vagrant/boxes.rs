use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath::docker::{DockerConnector, DockerConnectorConfig, DockerEnvironment};
use towpath::script::{RunConfig, Script, ScriptConfig};
use towpath::vagrant::{VagrantBox, VagrantBoxConfig};
use towpath::{Base, Configurator, Context, Error, ErrorKind, ImageBuilder as _, ImageDefinition, Provisioner};

use crate::support::{has_disk_tools, image, output, raw_disk, run};

const BASE: &str = "towpath/debian:box-1";
/// Tells a test of this program that it is the process to be killed, and where it works.
const CHILD: &str = "TOWPATH_VAGRANT_CHILD";

fn ready() -> bool {
    if !has_disk_tools() {
        return false;
    }
    let there = output("docker", &["image", "inspect", BASE]).status.success();
    if !there {
        let what =
            "NOT RUN: boxes from containers: install docker.io and debootstrap, start dockerd, run .ci/box-image";
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
    }
    there
}

fn builder(folder: &Path) -> VagrantBox {
    let make = |spec| -> towpath::Result<Arc<dyn Provisioner>> {
        let config = serde_json::from_value(spec)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, "test", "machine", "the spec is wrong").caused_by(e))?;
        Ok(Arc::new(DockerEnvironment::new(config)?))
    };
    let spec = json!({"pull": "never", "containers": {"box": {"image": "{base}", "command": ["sleep", "infinity"]}}});
    VagrantBox::new(VagrantBoxConfig::new(folder.join("boxes"))).unwrap().with_machine(make, spec).unwrap()
}

fn definition(script: &str) -> ImageDefinition {
    let configurator: Arc<dyn Configurator> =
        Arc::new(Script::new(ScriptConfig::new([RunConfig::script(script).into()]), Path::new(".")).unwrap());
    ImageDefinition {
        configure: vec![configurator],
        connector: Arc::new(DockerConnector::new(DockerConnectorConfig::default())),
        ..image("web", Base::Image(BASE.into()))
    }
}

/// Containers that builds in this folder have made: their environments are named after the content.
fn machines() -> Vec<String> {
    let all = run("docker", &["ps", "-a", "--format", "{{.Names}}"]);
    all.lines().filter(|n| n.contains("towpath-box-")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_is_baked_in_a_container_that_is_gone_afterwards() {
    if !ready() {
        return;
    }
    let cx = Context::new();
    if let Some(folder) = std::env::var_os(CHILD) {
        builder(Path::new(&folder)).build(&cx, &definition("touch /srv/started; sleep 60")).await.unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let before = machines();

    // Killed while its machine is being configured: the next build, of another content, removes the machine first.
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "boxes::a_box_is_baked_in_a_container_that_is_gone_afterwards", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while machines().len() == before.len() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(machines().len(), before.len() + 1, "the killed build has left its machine");

    let failing = definition("exit 7");
    let error = builder(dir.path()).build(&cx, &failing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert_eq!(machines(), before, "neither the killed build's machine is left nor that of the failed one");

    let image = definition("echo baked > /etc/motd; useradd -m app");
    let builder = builder(dir.path());
    assert!(builder.plan(&cx, &image).await.unwrap().to_string().contains("1 to change"));
    assert_eq!(machines(), before, "a plan starts nothing");
    let from = std::time::Instant::now();
    let built = builder.build(&cx, &image).await.unwrap();
    eprintln!("baked in {:?}", from.elapsed());
    assert_eq!(built.changed, 1);
    assert_eq!(machines(), before);
    let disk = format!("{}?offset=1048576", raw_disk(&built.artifacts[0].id, dir.path()));
    run("e2fsck", &["-fn", &disk]);
    assert_eq!(run("debugfs", &["-R", "cat /etc/motd", &disk]), "baked\n");
    // A builder that can make no machine says that none is needed.
    let broken = |_| Err(Error::new(ErrorKind::Internal, "test", "machine", "a machine was wanted"));
    let spec = json!({"pull": "never", "containers": {"box": {"image": "{base}", "command": ["sleep", "infinity"]}}});
    let broken =
        VagrantBox::new(VagrantBoxConfig::new(dir.path().join("boxes"))).unwrap().with_machine(broken, spec).unwrap();
    let from = std::time::Instant::now();
    let again = broken.build(&cx, &image).await.unwrap();
    eprintln!("reused in {:?}", from.elapsed());
    assert_eq!((again.changed, &again.artifacts), (0, &built.artifacts));
}
