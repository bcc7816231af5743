use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Shared, error, targets};
use crate::testkit::configurator::ConfiguratorFixture;
use crate::{
    Action, Capabilities, Change, Configurator, Configured, Context, ErrorKind, Host, HostSummary, Plan, Preflight,
    Result, Targets, digest_json,
};

const FAR: &str = "far";

/// Configures hosts in memory: a host is configured or is not.
#[derive(Debug, Clone)]
pub struct MemoryConfigurator {
    /// What it does; decides the digest.
    definition: String,
    /// Whether its one task fails.
    fails: bool,
    done: Shared<BTreeSet<String>>,
}

/// A configurator with two hosts that are not configured yet.
pub fn configurator() -> ConfiguratorFixture {
    let provider = MemoryConfigurator { definition: "a".into(), fails: false, done: Shared::default() };
    let done = provider.done.clone();
    let disturb = move |host: String| {
        done.lock().remove(&host);
        Box::pin(async {}) as _
    };
    ConfiguratorFixture {
        other: Arc::new(MemoryConfigurator { definition: "b".into(), ..provider.clone() }),
        failing: Arc::new(MemoryConfigurator { fails: true, ..provider.clone() }),
        provider: Arc::new(provider),
        targets: targets(&["web-1", "web-2"]),
        unreachable: targets(&[FAR]),
        cx: Context::new(),
        disturb: Box::new(disturb),
        keep: Box::new(()),
    }
}

fn chosen(targets: &Targets) -> Result<Vec<&Host>> {
    let fits = |h: &&Host| targets.limit.as_ref().is_none_or(|l| *l == h.name);
    let hosts: Vec<&Host> = targets.inventory.hosts.iter().filter(fits).collect();
    if hosts.is_empty() {
        return Err(error(ErrorKind::InvalidInput, "apply", "the limit matches no host"));
    }
    Ok(hosts)
}

#[async_trait]
impl Configurator for MemoryConfigurator {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn plan(&self, cx: &Context, targets: &Targets) -> Result<Plan> {
        cx.check("memory", "plan")?;
        let done = self.done.lock();
        let change = |host: &Host| match done.contains(&host.name) {
            true => Change::will_not(&host.name, "task"),
            false => Change::will(&host.name, "task", Action::Update),
        };
        Ok(Plan { changes: chosen(targets)?.into_iter().map(change).collect(), ..Plan::default() })
    }

    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured> {
        cx.check("memory", "apply")?;
        let mut configured = Configured::default();
        for host in chosen(targets)? {
            if host.name == FAR {
                return Err(error(ErrorKind::Unreachable, "apply", "the host does not answer").with("host", &host.name));
            }
            if self.fails {
                return Err(error(ErrorKind::ToolFailed, "apply", "a task failed")
                    .with("host", &host.name)
                    .with("task", "task"));
            }
            let changed = usize::from(self.done.lock().insert(host.name.clone()));
            configured.hosts.insert(host.name.clone(), HostSummary { ok: 1, changed, ..HostSummary::default() });
        }
        Ok(configured)
    }

    async fn digest(&self, _: &Context) -> Result<String> {
        Ok(digest_json(&self.definition.as_str().into()))
    }
}
