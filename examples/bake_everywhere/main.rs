//! One playbook, a Docker image, a Vagrant box and an AMI, proven equal.
//!
//! ```text
//! cargo run --release -p towpath-examples --features aws,docker,vagrant --example bake_everywhere
//! ```
//!
//! Needs a Docker Engine, the local image of `.ci/box-image`, and the tools that put a disk together (`preflight` names them). AWS is played by
//! moto on this machine, and its instance by a container: leave `endpoint_url` and `address` out of the config below, and it is the real one. At the end it
//! bakes once more, with nothing changed. `bake_everywhere.py` beside this folder is the same in Python.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use serde_json::json;
use towpath::aws::{AwsImageBuilder, AwsImageConfig};
use towpath::docker::{DockerConnector, DockerEnvironment, DockerImageBuilder, DockerImageConfig};
use towpath::equivalence::AllowRule;
use towpath::listen::Progress;
use towpath::playbook::{Playbook, PlaybookConfig};
use towpath::ssh::Ssh;
use towpath::vagrant::{VagrantBox, VagrantBoxConfig};
use towpath::{
    ArtifactKind, Bake, Base, Connector, Context, Error, ErrorKind, ImageDefinition, Json, Provisioner, Result,
};
use towpath_core::testkit::{Moto, Sshd};

/// What all start from: a Debian with a kernel, so that it boots.
const BASE: &str = "towpath/debian:box-1";

/// One playbook, many artifacts.
#[derive(Debug, Parser)]
struct Options {
    /// Where boxes and records are kept.
    #[arg(long, default_value = "target/bake_everywhere")]
    store: PathBuf,
    /// Begins with nothing baked.
    #[arg(long)]
    fresh: bool,
}

/// The same image for every builder; what reaches the machine that is baked, and the base's name, are each builder's own.
fn image(base: &str, kind: ArtifactKind, connector: Arc<dyn Connector>) -> Result<ImageDefinition> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("bake_everywhere");
    let site = Playbook::new(PlaybookConfig::new("site.yml"), &here)?;
    Ok(ImageDefinition {
        name: "web".into(),
        base: Base::Image(base.into()),
        configure: vec![Arc::new(site)],
        artifacts: vec![kind],
        connector,
        labels: BTreeMap::new(),
    })
}

/// What an artifact has by its kind, and why.
fn allowed() -> Vec<AllowRule> {
    let access = "who may log in differs";
    let vagrant = "what Vagrant wants of a box";
    let boot = "how its disk boots";
    [
        ("file /home/*/.ssh/**", access),
        ("user vagrant", vagrant),
        ("group vagrant", vagrant),
        ("file /home/vagrant**", vagrant),
        ("file /etc/sudoers.d/vagrant", vagrant),
        ("file /boot/grub**", boot),
        ("file /etc/fstab", boot),
        ("file /etc/network/interfaces**", boot),
        ("file /etc/systemd/system/**towpath-host-keys.service", boot),
        ("unit towpath-host-keys.service", boot),
    ]
    .into_iter()
    .map(|(subject, reason)| AllowRule::new(subject, reason))
    // Users and groups are also compared one by one.
    .chain(["passwd", "group", "gshadow"].map(|f| AllowRule::new(format!("file /etc/{f}"), vagrant).only("content")))
    .chain([AllowRule::new("file /usr/sbin/docker-init", "of the container that plays the instance")])
    .collect()
}

/// moto, and the container that stands for every instance of it.
struct Aws {
    moto: Moto,
    instance: Sshd,
}

impl Aws {
    fn start() -> Result<Self> {
        let missing = |what: &str| Error::new(ErrorKind::ToolMissing, "bake_everywhere", "start", what);
        let moto = Moto::start().ok_or_else(|| missing("moto can't be had: see above"))?;
        let instance = Sshd::start_from(BASE, ".ci/box-image").ok_or_else(|| missing("no base: see above"))?;
        Ok(Self { moto, instance })
    }

    fn builder(&self) -> Result<AwsImageBuilder> {
        let secret = |word: &str| json!({"command": ["echo", word]});
        let config = json!({
            "client": {
                "region": "us-east-1",
                "endpoint_url": self.moto.endpoint(),
                "credentials": {"access_key_id": secret("example"), "secret_access_key": secret("example-of-a-secret")},
            },
            "ssh_from": ["127.0.0.0/8"],
            "connection": {
                "kind": "ssh", "address": "127.0.0.1", "port": self.instance.port, "user": "deploy",
                "options": {"known_hosts": self.instance.known_hosts(), "identity_file": self.instance.key()},
            },
            "wait": {"poll_ms": 50},
        });
        AwsImageBuilder::new(parse::<AwsImageConfig>(config)?)
    }
}

fn parse<T: serde::de::DeserializeOwned>(config: Json) -> Result<T> {
    serde_json::from_value(config).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "bake_everywhere", "config", "the config is wrong").caused_by(e)
    })
}

/// Boxes are baked in a container that is thrown away.
fn vagrant(store: &Path) -> Result<VagrantBox> {
    let machine = |spec| -> Result<Arc<dyn Provisioner>> { Ok(Arc::new(DockerEnvironment::new(parse(spec)?)?)) };
    let spec = json!({"pull": "never", "containers": {"web": {"image": "{base}", "command": ["sleep", "infinity"]}}});
    VagrantBox::new(VagrantBoxConfig::new(store.join("boxes")))?.with_machine(machine, spec)
}

async fn run(options: &Options) -> Result<bool> {
    if options.fresh {
        let _ = std::fs::remove_dir_all(&options.store);
    }
    let aws = tokio::task::spawn_blocking(Aws::start).await.expect("a thread")?;
    let cx = Context::builder().listener(Arc::new(Progress::stderr())).build();
    let docker = Arc::new(DockerImageBuilder::new(DockerImageConfig::default())?);
    let exec = || Arc::new(DockerConnector::default());
    let bake = Bake::new(options.store.join("records"))
        .source(env!("CARGO_MANIFEST_DIR"))
        .image("docker", docker, image(BASE, ArtifactKind::DockerImage, exec())?)
        .image("vagrant", Arc::new(vagrant(&options.store)?), image(BASE, ArtifactKind::VagrantBox, exec())?)
        .image(
            "aws",
            Arc::new(aws.builder()?),
            image("amazon/*", ArtifactKind::Ami, Arc::new(Ssh::new(Default::default())))?,
        );
    let bake = allowed().into_iter().fold(bake, Bake::allow);
    let report = bake.run(&cx).await?;
    print!("{report}");
    let begun = Instant::now();
    let again = bake.run(&cx).await?;
    println!(
        "again: {} built, {:.2} s",
        again.artifacts.iter().filter(|a| a.built).count(),
        begun.elapsed().as_secs_f64()
    );
    Ok(report.is_equal())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run(&options)) {
        Ok(equal) => ExitCode::from(u8::from(!equal)),
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
