use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Action, BecomeChoice, Capabilities, Change, Configurator, Configured, Context, FORKS, Plan, Preflight, Result,
    Secret, SecretRef, Targets, digest_json, each_host,
};

use crate::host::Job;
use crate::load::{self, Part};
use crate::{CHEF, ChefConfig, ChefMode, ChefPlan, check, settings};

/// Runs chef-solo or chef-client on hosts.
#[derive(Debug, Clone)]
pub struct Chef {
    config: ChefConfig,
    base_dir: PathBuf,
}

impl Chef {
    /// A configurator with this config. Relative paths start at `base_dir`. Files are read when they are needed.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](towpath_core::ErrorKind::InvalidInput): the config says what can't be meant, for example `cookbook_paths` with
    /// `mode: client`.
    pub fn new(config: ChefConfig, base_dir: &Path) -> Result<Self> {
        check::check(&config)?;
        Ok(Self { config, base_dir: base_dir.to_owned() })
    }

    /// The config.
    pub fn config(&self) -> &ChefConfig {
        &self.config
    }

    async fn jobs<'a>(
        &'a self,
        cx: &Context,
        targets: &Targets,
        parts: &'a [Part],
        operation: &'static str,
    ) -> Result<Vec<Job<'a>>> {
        let config = &self.config;
        let hosts = targets.selected(CHEF, operation)?;
        if let (Some(name), true) = (&config.node_name, hosts.len() > 1) {
            let message =
                format!("`node_name` is `{name}` for {} hosts: leave it out, or limit the step to one", hosts.len());
            return Err(check::wrong(message));
        }
        let bag_secret = secret(cx, config.encrypted_data_bag_secret.as_ref()).await?;
        let validation_key = secret(cx, config.validation_key.as_ref()).await?;
        let mut attributes = Vec::new();
        for (path, wanted) in &config.secret_attributes {
            attributes.extend(secret(cx, Some(wanted)).await?.map(|value| (path.clone(), value)));
        }
        let node_json = Secret::new(settings::node_json(config, &attributes)?);
        let digest = load::digest(config, parts);
        let mut jobs = Vec::new();
        for host in hosts {
            let to = BecomeChoice::resolve(config.r#become.as_ref(), cx, &host).await?;
            let client = (config.mode == ChefMode::Client).then(|| host.name.clone());
            jobs.push(Job {
                config,
                parts,
                to,
                node_name: config.node_name.clone().or(client),
                node_json: node_json.clone(),
                bag_secret: bag_secret.clone(),
                validation_key: validation_key.clone(),
                key: format!("{}/{}", host.name, digest.get(..12).unwrap_or(&digest)),
                host,
            });
        }
        Ok(jobs)
    }

    fn forks(&self) -> usize {
        self.config.forks.unwrap_or(FORKS)
    }
}

async fn secret(cx: &Context, wanted: Option<&SecretRef>) -> Result<Option<Secret>> {
    match wanted {
        Some(wanted) => cx.resolve(wanted).await.map(Some),
        None => Ok(None),
    }
}

#[async_trait]
impl Configurator for Chef {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        let parts = load::load(&self.config, &self.base_dir).await?;
        let ok = parts.iter().map(|p| format!("{}: {} files", p.source, p.files.len())).collect();
        let mut warnings = Vec::new();
        if self.config.chef_license.is_none() {
            warnings.push("`chef_license` is not given: Chef 15 and later stop and ask, Cinc does not".to_owned());
        }
        Ok(Preflight { ok, warnings })
    }

    async fn plan(&self, cx: &Context, targets: &Targets) -> Result<Plan> {
        cx.check(CHEF, "plan")?;
        let parts = load::load(&self.config, &self.base_dir).await?;
        let jobs = self.jobs(cx, targets, &parts, "plan").await?;
        if self.config.plan == ChefPlan::None {
            let why = "only Chef can tell, while it runs; `plan: why_run` asks it";
            let change = |job: &Job<'_>| Change::cannot_know(&job.host.name, self.config.program(), Action::Run, why);
            return Ok(Plan { changes: jobs.iter().map(change).collect(), ..Plan::default() });
        }
        let connector = &*targets.connector;
        let work: Vec<_> = jobs.iter().map(|job| job.why_run(cx, connector)).collect();
        let planned = each_host(self.forks(), work).await;
        Configured::plan_of_hosts(jobs.iter().map(|job| job.host.name.clone()).zip(planned))
    }

    /// The run on each host is an effect of its own. Chef is run again after a crash.
    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured> {
        cx.check(CHEF, "apply")?;
        let parts = load::load(&self.config, &self.base_dir).await?;
        let jobs = self.jobs(cx, targets, &parts, "apply").await?;
        let cx = &cx.scoped(CHEF);
        let connector = &*targets.connector;
        let work: Vec<_> = jobs.iter().map(|job| job.apply(cx, connector)).collect();
        Configured::of_hosts(each_host(self.forks(), work).await)
    }

    async fn digest(&self, _: &Context) -> Result<String> {
        let parts = load::load(&self.config, &self.base_dir).await?;
        Ok(digest_json(&json!([load::digest(&self.config, &parts)])))
    }
}
