use std::sync::Arc;

use async_trait::async_trait;
use towpath_core::testkit::configurator::{ConfiguratorFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{
    Action, Capabilities, Change, Configurator, Configured, Context, ErrorKind, Plan, Preflight, Result, Targets,
};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Configurator>,
    defect: Defect,
}

#[async_trait]
impl Configurator for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn plan(&self, cx: &Context, targets: &Targets) -> Result<Plan> {
        let mut plan = self.real.plan(cx, targets).await?;
        match self.defect.name {
            "plan_says_what_will_change_and_changes_nothing" => drop(self.real.apply(cx, targets).await?),
            "plan_is_the_same_twice" => plan.warnings.push(format!("call {}", self.defect.before())),
            "nothing_is_planned_after_apply" => plan.changes.push(Change::will("web-1", "task", Action::Update)),
            _ => {}
        }
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured> {
        let applied = match self.defect.name {
            "a_limit_leaves_other_hosts_alone" => {
                self.real.apply(cx, &Targets { limit: None, ..targets.clone() }).await
            }
            "a_cancelled_apply_changes_nothing" => self.real.apply(&cx.shielded(), targets).await,
            "a_disturbed_host_is_repaired_and_no_other" if self.defect.before() > 0 => {
                // What is there already is not looked at.
                let mut done = self.real.apply(cx, targets).await?;
                done.hosts.values_mut().for_each(|h| h.changed = 0);
                return Ok(done);
            }
            _ => self.real.apply(cx, targets).await,
        };
        let mut applied = match (self.defect.name, applied) {
            ("an_unknown_limit_is_refused", Err(_)) => return Ok(Configured::default()),
            ("a_failed_task_names_host_and_task", Err(e)) => {
                return Err(error(e.kind()).with("host", e.get("host").unwrap_or_default()));
            }
            ("an_unreachable_host_is_named", Err(_)) => return Err(error(ErrorKind::ToolFailed)),
            (_, applied) => applied?,
        };
        match self.defect.name {
            "apply_counts_every_host" => drop(applied.hosts.pop_last()),
            "apply_is_idempotent" => applied.hosts.values_mut().for_each(|h| h.changed = 1),
            _ => {}
        }
        Ok(applied)
    }

    async fn digest(&self, cx: &Context) -> Result<String> {
        let digest = self.real.digest(cx).await?;
        Ok(match self.defect.name {
            "the_digest_is_stable_and_tells_definitions_apart" => "always the same".into(),
            _ => digest,
        })
    }
}

#[tokio::test]
async fn configurator() {
    trial(
        behaviours(),
        async || reference::configurator(),
        async |defect| {
            let f = reference::configurator();
            let broken = |real| -> Arc<dyn Configurator> { Arc::new(Broken { real, defect: Defect::new(defect) }) };
            ConfiguratorFixture {
                provider: broken(f.provider),
                other: broken(f.other),
                failing: broken(f.failing),
                ..f
            }
        },
    )
    .await;
}
