use towpath_core::testkit::deployer::DeployerFixture;
use towpath_core::{Host, Target};

use towpath_core::testkit::reference::Nowhere;

use crate::support::{World, group, release};

async fn fixture() -> Option<DeployerFixture> {
    let world = World::new(&[("prepare", "echo made"), ("test", "true"), ("deploy", "echo deployed")]).await?;
    let host: Host = serde_json::from_value(serde_json::json!({ "name": "web-1" })).unwrap();
    Some(DeployerFixture {
        provider: std::sync::Arc::new(world.strider(|c| c.branch("release-{version}"))),
        target: Target { host, connector: std::sync::Arc::new(Nowhere) },
        group: group(),
        v1: release("v1"),
        v2: release("v2"),
        missing: release("v9"),
        cx: world.cx.clone(),
        serving: Box::new(|()| Box::pin(async { None })),
        keep: Box::new(world),
    })
}

mod suite {
    towpath_core::deployer_behaviour!(super::fixture);
}
