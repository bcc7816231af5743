//! The suite that every configurator runs.

use std::sync::Arc;

use serde_json::json;
use towpath_core::testkit::configurator::ConfiguratorFixture;
use towpath_core::{Inventory, Targets};

use crate::support::World;

async fn fixture() -> Option<ConfiguratorFixture> {
    let world = World::new(2).await?;
    world.write("files/conf", "port=80\n");
    let steps = |greeting: &str| {
        json!([
            { "run": { "name": "Folder", "script": "mkdir /srv/app", "creates": "/srv/app", "become": true } },
            { "upload": { "source": "files", "path": "/srv/app/etc", "become": true } },
            { "upload": { "content": greeting, "path": "/srv/app/motd", "mode": "0644", "become": true } }
        ])
    };
    let failing = json!([{ "run": { "name": "Break", "script": "echo no >&2; exit 3" } }]);
    let mut gone = world.servers[0].host("gone-1");
    gone.connection.port = Some(9);
    let gone = Inventory { hosts: vec![gone], ..Inventory::default() };
    let ids: Vec<(String, String)> =
        world.servers.iter().enumerate().map(|(i, s)| (format!("web-{}", i + 1), s.id.clone())).collect();
    Some(ConfiguratorFixture {
        provider: Arc::new(world.script(steps("hello\n"))),
        other: Arc::new(world.script(steps("hi\n"))),
        failing: Arc::new(world.script(failing)),
        targets: world.targets.clone(),
        unreachable: Targets { inventory: gone, ..world.targets.clone() },
        cx: world.cx.clone(),
        disturb: Box::new(move |name| {
            let id = ids.iter().find(|(n, _)| *n == name).unwrap().1.clone();
            Box::pin(async move {
                let remove = tokio::process::Command::new("docker").args(["exec", &id, "rm", "/srv/app/motd"]).status();
                assert!(remove.await.unwrap().success());
            })
        }),
        keep: Box::new(world),
    })
}

towpath_core::configurator_behaviour!(fixture);
