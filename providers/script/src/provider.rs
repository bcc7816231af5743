use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Capabilities, Configurator, Configured, Context, Plan, Preflight, Result, Targets, digest_json, each_host,
};

use crate::load::{Work, load};
use crate::{SCRIPT, ScriptConfig, check, host, plan};

/// Runs scripts and uploads files.
#[derive(Debug, Clone)]
pub struct Script {
    config: ScriptConfig,
    base_dir: PathBuf,
}

impl Script {
    /// A configurator with this config. Relative paths start at `base_dir`. Files are read when they are needed.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](towpath_core::ErrorKind::InvalidInput): the config says what can't be meant, for example both `script` and
    /// `file`.
    pub fn new(config: ScriptConfig, base_dir: &Path) -> Result<Self> {
        check::check(&config)?;
        Ok(Self { config, base_dir: base_dir.to_owned() })
    }

    /// The config.
    pub fn config(&self) -> &ScriptConfig {
        &self.config
    }

    /// Everything that is needed from this machine, and for every host.
    async fn jobs(&self, cx: &Context, targets: &Targets, operation: &'static str) -> Result<Vec<host::Job>> {
        cx.check(SCRIPT, operation)?;
        let steps = load(&self.config, &self.base_dir).await?;
        let hosts = targets.selected(SCRIPT, operation)?;
        host::prepare(cx, &self.config, &steps, hosts).await
    }
}

#[async_trait]
impl Configurator for Script {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        let steps = load(&self.config, &self.base_dir).await?;
        let mut scripts = 0;
        let mut files = 0;
        for step in &steps {
            match &step.work {
                Work::Run(..) => scripts += 1,
                Work::Upload(_, items) => files += items.len(),
            }
        }
        Ok(Preflight { ok: vec![format!("{scripts} scripts, {files} files to upload")], warnings: Vec::new() })
    }

    async fn plan(&self, cx: &Context, targets: &Targets) -> Result<Plan> {
        let jobs = self.jobs(cx, targets, "plan").await?;
        let connector = &*targets.connector;
        let work: Vec<_> = jobs.iter().map(|job| plan::plan(cx, job, connector)).collect();
        let planned = each_host(self.config.forks, work).await;
        Configured::plan_of_hosts(jobs.iter().map(|job| job.host.name.clone()).zip(planned))
    }

    /// Each step of each host is an effect of its own. An upload is done again after a crash; a script with a guard is asked for by
    /// its guard; one without is *opaque*: the resumed run stops and asks.
    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured> {
        let jobs = self.jobs(cx, targets, "apply").await?;
        let cx = &cx.scoped(SCRIPT);
        let connector = &*targets.connector;
        let work: Vec<_> = jobs.iter().map(|job| host::apply(cx, job, connector)).collect();
        Configured::of_hosts(each_host(self.config.forks, work).await)
    }

    async fn digest(&self, _: &Context) -> Result<String> {
        let steps = load(&self.config, &self.base_dir).await?;
        let last = steps.last().map(|s| s.digest.as_str()).unwrap_or_default();
        Ok(digest_json(&json!([last, self.config.r#become])))
    }
}
