//! Releases on Auto Scaling groups: against a simulator for what moto has not, and moto for what it has.

mod before;
mod moving;
mod rollouts;
mod simulator;

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_aws::{AwsAutoScaling, AwsAutoScalingConfig, RefreshConfig, Replacement, RollingConfig};
use towpath_core::testkit::deployer::DeployerFixture;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{
    Artifact, ArtifactKind, Context, GroupJob, Host, Inventory, Provenance, Release, Target, TargetGroup,
};

use crate::support::{client, fast};
pub(crate) use simulator::query_error;
use simulator::{GROUP, Simulator};

fn release(version: &str, ami: &str) -> Release {
    let artifact = Artifact {
        name: "web".into(),
        kind: ArtifactKind::Ami,
        id: ami.into(),
        digest: format!("ami:{ami}"),
        provenance: Provenance::default(),
    };
    Release { service: "web".into(), version: version.into(), artifact: Some(artifact), env: BTreeMap::new() }
}

fn group() -> TargetGroup {
    TargetGroup { name: GROUP.into(), inventory: Inventory::default(), connector: Arc::new(Nowhere) }
}

fn config(simulator: &Simulator, how: Replacement) -> AwsAutoScalingConfig {
    AwsAutoScalingConfig { wait: fast(), ..AwsAutoScalingConfig::default() }.client(client(&simulator.url())).how(how)
}

fn deployer(simulator: &Simulator, how: Replacement) -> AwsAutoScaling {
    AwsAutoScaling::new(config(simulator, how)).unwrap()
}

fn refresh() -> Replacement {
    Replacement::Refresh(RefreshConfig::default())
}

fn rolling() -> Replacement {
    Replacement::Rolling(RollingConfig { limit_s: 1, ..RollingConfig::default() })
}

fn fixture_of(how: Replacement) -> DeployerFixture {
    let simulator = Simulator::start(2, 4);
    DeployerFixture {
        provider: Arc::new(deployer(&simulator, how)),
        target: Target { host: Host { name: "web-1".into(), ..Host::default() }, connector: Arc::new(Nowhere) },
        group: group(),
        v1: release("v1", "ami-00aa"),
        v2: release("v2", "ami-00bb"),
        missing: release("missing", "ami-0404"),
        cx: Context::new(),
        serving: Box::new(|()| Box::pin(async { None })),
        keep: Box::new(simulator),
    }
}

mod behaviour_by_refresh {
    async fn fixture() -> Option<towpath_core::testkit::deployer::DeployerFixture> {
        Some(super::fixture_of(super::refresh()))
    }
    towpath_core::deployer_behaviour!(fixture);
}

mod behaviour_by_rolling {
    async fn fixture() -> Option<towpath_core::testkit::deployer::DeployerFixture> {
        Some(super::fixture_of(super::rolling()))
    }
    towpath_core::deployer_behaviour!(fixture);
}

/// Both ways of replacing.
fn both() -> [Replacement; 2] {
    [refresh(), rolling()]
}

async fn moves(deployer: &AwsAutoScaling, release: &Release) -> towpath_core::Result<GroupJob> {
    use towpath_core::Deployer as _;
    let cx = Context::new();
    let job = deployer.start(&cx, &group(), release).await?;
    deployer.follow(&cx, &job).await.map(|_| job)
}
