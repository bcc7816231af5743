//! The suite that every configurator runs, without plans and with why-run.

use std::sync::Arc;

use serde_json::{Value, json};
use towpath_core::testkit::configurator::ConfiguratorFixture;
use towpath_core::{Inventory, Targets};

use crate::support::World;

async fn fixture(plan: &str) -> Option<ConfiguratorFixture> {
    let world = World::new(2).await?;
    world.write("cookbooks/broken/recipes/default.rb", "execute \"break\" do\n  code \"echo no; exit 3\"\nend\n");
    let with = |more: Value| {
        let mut all = json!({ "plan": plan });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Arc::new(world.chef(all))
    };
    let mut gone = world.servers[0].host("gone-1");
    gone.connection.port = Some(9);
    let gone = Inventory { hosts: vec![gone], ..Inventory::default() };
    let ids: Vec<(String, String)> =
        world.servers.iter().enumerate().map(|(i, s)| (format!("web-{}", i + 1), s.id.clone())).collect();
    Some(ConfiguratorFixture {
        provider: with(json!({})),
        other: with(json!({ "attributes": { "greeting": "hi" } })),
        failing: with(json!({ "run_list": ["broken"] })),
        targets: world.targets.clone(),
        unreachable: Targets { inventory: gone, ..world.targets.clone() },
        cx: world.cx.clone(),
        disturb: Box::new(move |name| {
            let id = ids.iter().find(|(n, _)| *n == name).unwrap().1.clone();
            Box::pin(async move {
                let remove = tokio::process::Command::new("docker").args(["exec", &id, "rm", "/srv/motd"]).status();
                assert!(remove.await.unwrap().success());
            })
        }),
        keep: Box::new(world),
    })
}

async fn without_plans() -> Option<ConfiguratorFixture> {
    fixture("none").await
}

towpath_core::configurator_behaviour!(without_plans);

/// Those behaviours that look at plans.
mod why_run {
    use towpath_core::testkit::configurator;

    #[tokio::test(flavor = "multi_thread")]
    async fn plan_says_what_will_change_and_changes_nothing() {
        let Some(fixture) = super::fixture("why_run").await else { return };
        configurator::plan_says_what_will_change_and_changes_nothing(fixture).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn plan_is_the_same_twice() {
        let Some(fixture) = super::fixture("why_run").await else { return };
        configurator::plan_is_the_same_twice(fixture).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_planned_after_apply() {
        let Some(fixture) = super::fixture("why_run").await else { return };
        configurator::nothing_is_planned_after_apply(fixture).await;
    }
}
