use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Nowhere, Shared, error, host};
use crate::testkit::deployer::DeployerFixture;
use crate::{
    Artifact, ArtifactKind, Capabilities, Context, Deployer, ErrorKind, GroupJob, GroupState, Inventory, Preflight,
    Provenance, Release, Result, Staged, Target, TargetGroup, TargetState,
};

/// Deploys to targets and groups in memory. The artifact called `missing` does not exist; all others do.
#[derive(Debug, Clone, Default)]
pub struct MemoryDeployer {
    targets: Shared<BTreeMap<String, TargetState>>,
    groups: Shared<BTreeMap<String, GroupState>>,
}

/// A deployer to whose target nothing was deployed.
pub fn deployer() -> DeployerFixture {
    let provider = MemoryDeployer::default();
    let targets = provider.targets.clone();
    let serving = move |()| {
        let state = targets.lock().get("web-1").cloned().unwrap_or_default();
        Box::pin(async move { state.current.filter(|_| state.running) }) as _
    };
    let release = |version: &str| Release {
        service: "web".into(),
        version: version.into(),
        artifact: Some(Artifact {
            name: "web".into(),
            kind: ArtifactKind::Archive,
            id: version.into(),
            digest: String::new(),
            provenance: Provenance::default(),
        }),
        env: BTreeMap::new(),
    };
    DeployerFixture {
        provider: Arc::new(provider),
        target: Target { host: host("web-1"), connector: Arc::new(Nowhere) },
        group: TargetGroup { name: "web".into(), inventory: Inventory::default(), connector: Arc::new(Nowhere) },
        v1: release("v1"),
        v2: release("v2"),
        missing: release("missing"),
        cx: Context::new(),
        serving: Box::new(serving),
        keep: Box::new(()),
    }
}

#[async_trait]
impl Deployer for MemoryDeployer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["per_target", "group"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged> {
        cx.check("memory", "stage")?;
        if release.artifact.as_ref().is_some_and(|a| a.id == "missing") {
            return Err(error(ErrorKind::NotFound, "stage", "there is no such artifact"));
        }
        let mut targets = self.targets.lock();
        let staged = &mut targets.entry(target.host.name.clone()).or_default().staged;
        let changed = !staged.contains(&release.version);
        if changed {
            staged.push(release.version.clone());
        }
        Ok(Staged { changed })
    }

    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()> {
        cx.check("memory", "activate")?;
        let mut targets = self.targets.lock();
        let state = targets.entry(target.host.name.clone()).or_default();
        if !state.staged.contains(&release.version) {
            return Err(error(ErrorKind::NotFound, "activate", "the release is not staged"));
        }
        state.current = Some(release.version.clone());
        state.running = true;
        Ok(())
    }

    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()> {
        cx.check("memory", "deactivate")?;
        self.targets.lock().entry(target.host.name.clone()).or_default().running = false;
        Ok(())
    }

    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState> {
        cx.check("memory", "probe")?;
        Ok(self.targets.lock().get(&target.host.name).cloned().unwrap_or_default())
    }

    async fn start(&self, cx: &Context, group: &TargetGroup, release: &Release) -> Result<GroupJob> {
        cx.check("memory", "start")?;
        let state = GroupState { current: Some(release.version.clone()), moving: false, healthy: true };
        self.groups.lock().insert(group.name.clone(), state);
        Ok(GroupJob { id: group.name.clone(), detail: crate::Json::Null })
    }

    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState> {
        cx.check("memory", "follow")?;
        let state = self.groups.lock().get(&job.id).cloned();
        state.ok_or_else(|| error(ErrorKind::NotFound, "follow", "there is no such job"))
    }

    async fn cancel(&self, cx: &Context, _: &GroupJob) -> Result<()> {
        // A job is over at once, so there is nothing to stop.
        cx.check("memory", "cancel")
    }

    async fn probe_group(&self, cx: &Context, group: &TargetGroup) -> Result<GroupState> {
        cx.check("memory", "probe_group")?;
        Ok(self.groups.lock().get(&group.name).cloned().unwrap_or_default())
    }
}
