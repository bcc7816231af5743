use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use towpath_core::testkit::provisioner::{ProvisionerFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{
    Action, Applied, Capabilities, Change, Context, Destroyed, ErrorKind, Plan, Preflight, Probed, Provisioner, Result,
};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Provisioner>,
    defect: Defect,
    /// What the first apply gave.
    first: Mutex<Option<Applied>>,
}

#[async_trait]
impl Provisioner for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let mut plan = self.real.plan(cx).await?;
        match self.defect.name {
            "plan_lists_changes_and_makes_none" => drop(self.real.apply(cx).await?),
            "plan_is_empty_after_apply" => plan.changes.push(Change::will("web-1", "host", Action::Update)),
            "plan_is_the_same_twice" => plan.warnings.push(format!("call {}", self.defect.before())),
            _ => {}
        }
        Ok(plan)
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        let first = self.first.lock().unwrap().clone();
        match (self.defect.name, first) {
            ("a_cancelled_apply_makes_nothing", _) => return self.real.apply(&cx.shielded()).await,
            ("a_disturbed_world_is_seen_and_repaired" | "apply_works_again_after_destroy", Some(applied)) => {
                return Ok(Applied { changed: 0, ..applied });
            }
            _ => {}
        }
        let mut applied = self.real.apply(cx).await?;
        *self.first.lock().unwrap() = Some(applied.clone());
        match self.defect.name {
            "apply_makes_what_is_there_then" => applied.environment.name = "another".into(),
            "apply_is_idempotent" => applied.changed = applied.changed.max(1),
            _ => {}
        }
        Ok(applied)
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        let mut probed = self.real.probe(cx).await?;
        if self.defect.is("probe_of_an_empty_world_finds_nothing") && probed.environment.is_none() {
            return Err(error(ErrorKind::NotFound));
        }
        if self.defect.is("probe_finds_what_apply_made")
            && let Some(environment) = &mut probed.environment
        {
            environment.inventory.hosts.pop();
        }
        Ok(probed)
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        if self.defect.is("destroy_leaves_nothing") {
            return Ok(Destroyed { changed: 2 });
        }
        let destroyed = self.real.destroy(cx).await?;
        if self.defect.is("destroy_is_idempotent") && destroyed.changed == 0 {
            return Err(error(ErrorKind::NotFound));
        }
        Ok(destroyed)
    }
}

#[tokio::test]
async fn provisioner() {
    trial(
        behaviours(),
        async || reference::provisioner(),
        async |defect| {
            let f = reference::provisioner();
            let provider = Broken { real: f.provider, defect: Defect::new(defect), first: Mutex::default() };
            ProvisionerFixture { provider: Arc::new(provider), ..f }
        },
    )
    .await;
}
