use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Shared, host};
use crate::testkit::provisioner::ProvisionerFixture;
use crate::{
    Action, Applied, Capabilities, Change, Context, Destroyed, Environment, Inventory, Plan, Preflight, Probed,
    Provisioner, Resource, Result,
};

const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// Makes two hosts that exist in memory only.
#[derive(Debug, Clone, Default)]
pub struct MemoryProvisioner {
    /// Hosts by name, with the number under which each was made.
    world: Shared<BTreeMap<String, u64>>,
}

/// A provisioner with an empty world.
pub fn provisioner() -> ProvisionerFixture {
    let provider = MemoryProvisioner::default();
    let world = provider.world.clone();
    let disturb = move |environment: Environment| {
        world.lock().remove(&environment.inventory.hosts[0].name);
        Box::pin(async {}) as _
    };
    ProvisionerFixture {
        provider: Arc::new(provider),
        cx: Context::new(),
        disturb: Box::new(disturb),
        keep: Box::new(()),
    }
}

impl MemoryProvisioner {
    fn changes(&self) -> Plan {
        let world = self.world.lock();
        let change = |name: &str| match world.contains_key(name) {
            true => Change::will_not(name, format!("host {name}")),
            false => Change::will(name, format!("host {name}"), Action::Create),
        };
        Plan { changes: HOSTS.map(change).into(), ..Plan::default() }
    }

    fn environment(&self, cx: &Context) -> Environment {
        let world = self.world.lock();
        let resource = |(name, id): (&String, &u64)| Resource {
            address: format!("host {name}"),
            id: id.to_string(),
            detail: crate::Json::Null,
        };
        Environment {
            name: cx.environment().to_owned(),
            inventory: Inventory { hosts: world.keys().map(|n| host(n)).collect(), ..Inventory::default() },
            resources: world.iter().map(resource).collect(),
            ..Environment::default()
        }
    }
}

#[async_trait]
impl Provisioner for MemoryProvisioner {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        cx.check("memory", "plan")?;
        Ok(self.changes())
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        cx.check("memory", "apply")?;
        let mut changed = 0;
        {
            let mut world = self.world.lock();
            for name in HOSTS {
                if !world.contains_key(name) {
                    changed += 1;
                    let id = world.values().max().map_or(1, |last| last + 1);
                    world.insert(name.to_owned(), id);
                }
            }
        }
        Ok(Applied { environment: self.environment(cx), changed })
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        cx.check("memory", "probe")?;
        let there = !self.world.lock().is_empty();
        Ok(Probed { environment: there.then(|| self.environment(cx)), drift: self.changes() })
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        cx.check("memory", "destroy")?;
        let mut world = self.world.lock();
        let changed = world.len();
        world.clear();
        Ok(Destroyed { changed })
    }
}
