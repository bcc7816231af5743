//! The rollout over a fleet in memory: strategies, policies, orders, hooks, and a crash at every point of the journal.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod blue_green;
mod canary;
mod crash;
mod dying;
mod groups;
mod hooks;
mod ledgers;
mod orders;
mod queue;
mod rolling;
mod world;

use std::sync::Arc;

use towpath_core::pipeline::ProviderRef;
use towpath_core::rollout::{Rolling, Rollout, RolloutControl, RolloutReport};
use towpath_core::{Check, Context, Gate, Json, MemoryStore, Store};
use world::{World, release};

/// A fleet with a store, as a program has them.
struct Desk {
    world: World,
    store: Arc<dyn Store>,
}

impl Desk {
    fn of(hosts: &[&str]) -> Self {
        Self { world: World::of(hosts), store: Arc::new(MemoryStore::new()) }
    }

    fn rollout(&self, strategy: Rolling) -> Rollout {
        Rollout::new(Arc::new(self.world.clone()), strategy)
            .balancer(Arc::new(self.world.clone()))
            .monitor(Arc::new(self.world.clone()))
    }

    fn cx(&self) -> Context {
        Context::builder().store(Arc::clone(&self.store)).build()
    }

    async fn run(&self, strategy: Rolling, version: &str) -> RolloutReport {
        self.rollout(strategy).run(&self.cx(), &release(version), &self.world.targets()).await.unwrap()
    }

    fn control(&self) -> RolloutControl {
        RolloutControl::new(Arc::clone(&self.store), self.cx().environment(), "web")
    }

    /// The documents that a rollout left in the store: none, when it is over.
    async fn left(&self) -> Vec<(String, Json)> {
        self.store.documents(&format!("rollout/{}/web", self.cx().environment())).await.unwrap()
    }
}

/// One at a time, behind the balancer, with a health check.
fn strategy() -> Rolling {
    let world = || Some(ProviderRef { provider: "world".into(), config: Json::Null });
    Rolling { balancer: world(), monitor: world(), backend_port: Some(80.into()), ..Rolling::default() }.health(gate())
}

fn gate() -> Gate {
    Gate::of(vec![Check::tcp(80)])
}

fn holding(seconds: f64) -> Gate {
    Gate { hold_s: seconds, ..gate() }
}
