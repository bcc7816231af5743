use std::sync::Arc;

use async_trait::async_trait;
use towpath_core::testkit::deployer::{DeployerFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{
    Capabilities, Context, Deployer, ErrorKind, GroupJob, GroupState, Preflight, Release, Result, Staged, Target,
    TargetGroup, TargetState,
};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Deployer>,
    defect: Defect,
}

#[async_trait]
impl Deployer for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged> {
        let staged = self.real.stage(cx, target, release).await;
        match (self.defect.name, staged) {
            ("stage_of_a_missing_artifact_fails_and_harms_nothing", Err(_)) => Ok(Staged { changed: true }),
            ("stage_is_idempotent" | "an_earlier_release_comes_back", Ok(_)) => Ok(Staged { changed: true }),
            ("stage_touches_nothing_that_runs", Ok(staged)) => {
                self.real.activate(cx, target, release).await?;
                Ok(staged)
            }
            (_, staged) => staged,
        }
    }

    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()> {
        let mut cx = cx.clone();
        match self.defect.name {
            "activate_runs_the_release" => return Ok(()),
            "activate_is_idempotent" if self.defect.before() > 0 => return Err(error(ErrorKind::Conflict)),
            "activate_without_stage_fails_and_harms_nothing" => drop(self.real.stage(&cx, target, release).await?),
            "a_later_release_replaces_the_one_before" if self.defect.before() > 0 => return Ok(()),
            "a_cancelled_activate_changes_nothing" => cx = cx.shielded(),
            _ => {}
        }
        self.real.activate(&cx, target, release).await
    }

    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()> {
        if self.defect.is("deactivate_stops_what_runs_and_is_idempotent") {
            return Ok(());
        }
        self.real.deactivate(cx, target).await
    }

    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState> {
        let state = self.real.probe(cx, target).await?;
        if self.defect.is("an_empty_target_runs_nothing") && state.staged.is_empty() {
            return Err(error(ErrorKind::NotFound));
        }
        Ok(state)
    }

    async fn start(&self, cx: &Context, group: &TargetGroup, release: &Release) -> Result<GroupJob> {
        self.real.start(cx, group, release).await
    }

    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState> {
        let mut state = self.real.follow(cx, job).await?;
        match self.defect.name {
            "a_group_moves_and_is_followed" => state.moving = true,
            "a_group_job_is_found_again_by_its_handle" if self.defect.before() > 0 => {
                return Err(error(ErrorKind::NotFound));
            }
            _ => {}
        }
        Ok(state)
    }

    async fn cancel(&self, cx: &Context, job: &GroupJob) -> Result<()> {
        if self.defect.is("a_group_job_that_is_over_is_cancelled_without_harm") {
            return Err(error(ErrorKind::Conflict));
        }
        self.real.cancel(cx, job).await
    }

    async fn probe_group(&self, cx: &Context, group: &TargetGroup) -> Result<GroupState> {
        self.real.probe_group(cx, group).await
    }
}

#[tokio::test]
async fn deployer() {
    trial(
        behaviours(),
        async || reference::deployer(),
        async |defect| {
            let f = reference::deployer();
            let provider = Broken { real: f.provider, defect: Defect::new(defect) };
            DeployerFixture { provider: Arc::new(provider), ..f }
        },
    )
    .await;
}
