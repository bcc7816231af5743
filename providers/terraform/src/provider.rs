use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::OnceCell;
use towpath_core::{
    Applied, Capabilities, Certainty, Context, Destroyed, Error, ErrorKind, Json, Plan, Preflight, Probed, Provisioner,
    Result, digest_json,
};

use crate::TerraformConfig;
use crate::apply::Work;
use crate::command::Aim;
use crate::run::Site;
use crate::tool::Tool;

/// Name of the provider in errors and registries.
pub(crate) const TERRAFORM: &str = "terraform";

/// Provisions with the real `terraform` or `tofu`.
#[derive(Debug)]
pub struct Terraform {
    config: TerraformConfig,
    tool: OnceCell<Tool>,
}

impl Terraform {
    /// Starts the config of a root module.
    pub fn module(module: impl Into<PathBuf>) -> TerraformConfig {
        TerraformConfig::module(module)
    }

    /// A provisioner with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a variable is given twice, or a name that can't be one.
    pub fn new(config: TerraformConfig) -> Result<Self> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, TERRAFORM, "config", message));
        if let Some(twice) = config.secret_vars.keys().find(|name| config.vars.contains_key(*name)) {
            return invalid(format!("the variable `{twice}` is both in `vars` and in `secret_vars`"));
        }
        if let Some(twice) = config.secret_env.keys().find(|name| config.env.contains_key(*name)) {
            return invalid(format!("the variable `{twice}` is both in `env` and in `secret_env`"));
        }
        if let Some(wrong) =
            config.env.keys().chain(config.secret_env.keys()).find(|n| n.is_empty() || n.contains(['=', '\0']))
        {
            return invalid(format!("`{wrong}` is no name of an environment variable"));
        }
        if config.env.contains_key("TF_WORKSPACE") && config.workspace.is_some() {
            return invalid("`workspace` and `TF_WORKSPACE` in `env` say the same thing: give one".to_owned());
        }
        if let Some(download) = &config.download {
            download.check()?;
            if config.program.is_some() {
                return invalid("`program` and `download` both say which program: give one".to_owned());
            }
        }
        if config.parallelism == Some(0) {
            return invalid("`parallelism` must be 1 or more".to_owned());
        }
        Ok(Self { config: absolute(config)?, tool: OnceCell::new() })
    }

    /// The config.
    pub fn config(&self) -> &TerraformConfig {
        &self.config
    }

    /// Looks at what somebody changed behind the tool's back, and nothing else (`plan -refresh-only`): a change for each resource, from what the state
    /// says to what is there. No drift is an empty plan.
    ///
    /// # Errors
    ///
    /// As [`plan`](Provisioner::plan).
    pub async fn drift(&self, cx: &Context) -> Result<Plan> {
        let ready = self.ready(cx, "drift").await?;
        let folder = ready.site.folder("drift")?;
        let planned = ready.work(&self.config, "drift").plan(cx, Aim::Refreshed, &folder).await?;
        Ok(planned.saved.drift(&ready.site.stack))
    }

    /// Where the tool keeps what `init` prepared, if the backend's settings are from here: two providers of one module, or a hand that
    /// prepares it for another backend, must not redirect each other.
    fn own_data_dir(&self) -> Option<PathBuf> {
        if self.config.backend.is_empty() && self.config.backend_files.is_empty() {
            return None;
        }
        let digest = digest_json(&json!([self.config.backend, self.config.backend_files]));
        let short = digest.get(..12).unwrap_or_default();
        Some(PathBuf::from(".terraform").join("towpath").join(format!("data-{short}")))
    }

    async fn tool(&self, cx: &Context) -> Result<&Tool> {
        self.tool.get_or_try_init(|| Tool::find(cx, &self.config)).await
    }

    async fn ready(&self, cx: &Context, operation: &'static str) -> Result<Ready> {
        cx.check(TERRAFORM, operation)?;
        let tool = self.tool(cx).await?.clone();
        let module = self.config.module.clone();
        let workspace = self.config.workspace.as_ref().map(|w| w.replace("{environment}", cx.environment()));
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        // No question that nobody would answer, no call home, and advice for programs instead of for people at a terminal.
        for (name, value) in [("TF_IN_AUTOMATION", "1"), ("TF_INPUT", "0"), ("CHECKPOINT_DISABLE", "1")] {
            env.push((name.into(), value.into()));
        }
        env.extend(self.config.env.iter().map(|(name, value)| (name.into(), value.into())));
        let mut secret_env: Vec<(OsString, OsString)> = Vec::new();
        for (name, secret) in &self.config.secret_env {
            secret_env.push((name.into(), cx.resolve(secret).await?.expose().into()));
        }
        if let Some(workspace) = &workspace {
            env.push(("TF_WORKSPACE".into(), workspace.into()));
        }
        let mut vars = serde_json::Map::new();
        vars.extend(self.config.vars.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, secret) in &self.config.secret_vars {
            vars.insert(name.clone(), cx.resolve(secret).await?.expose().into());
        }
        let data = self.config.env.get("TF_DATA_DIR").map(PathBuf::from);
        let data = data.or_else(|| std::env::var_os("TF_DATA_DIR").map(PathBuf::from));
        let data = data.unwrap_or_else(|| {
            let Some(own) = self.own_data_dir() else { return ".terraform".into() };
            env.push(("TF_DATA_DIR".into(), own.clone().into()));
            own
        });
        let name = module.file_name().map_or_else(|| "terraform".into(), |n| n.to_string_lossy().into_owned());
        let stack = workspace.map_or_else(|| name.clone(), |w| format!("{name}/{w}"));
        let site = Site {
            tool,
            data_dir: module.join(data),
            module,
            env,
            secret_env,
            stack,
            grace: Duration::from_secs(self.config.interrupt_s.into()),
        };
        Ok(Ready { site, vars: Json::Object(vars) })
    }
}

/// With paths that hold wherever the tool runs, and whatever the working directory is by then.
fn absolute(mut config: TerraformConfig) -> Result<TerraformConfig> {
    let here = |path: &mut PathBuf| -> Result<()> {
        *path = std::path::absolute(&*path).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, TERRAFORM, "config", "a path of the config is none")
                .with("path", path.display())
                .caused_by(e)
        })?;
        Ok(())
    };
    here(&mut config.module)?;
    config.var_files.iter_mut().chain(&mut config.backend_files).try_for_each(here)?;
    // A bare name is looked for on `PATH`.
    config.program.iter_mut().filter(|p| p.components().count() > 1).try_for_each(here)?;
    Ok(config)
}

struct Ready {
    site: Site,
    vars: Json,
}

impl Ready {
    fn work<'a>(&'a self, config: &'a TerraformConfig, operation: &'static str) -> Work<'a> {
        Work { site: &self.site, config, operation, vars: &self.vars }
    }
}

#[async_trait]
impl Provisioner for Terraform {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let missing = |what: &str, path: &std::path::Path| {
            Error::new(ErrorKind::NotFound, TERRAFORM, "preflight", format!("{what} does not exist"))
                .with("path", path.display())
        };
        let ready = self.ready(cx, "preflight").await?;
        if !ready.site.module.is_dir() {
            return Err(missing("the module's folder", &ready.site.module));
        }
        for file in self.config.var_files.iter().chain(&self.config.backend_files) {
            if !file.is_file() {
                return Err(missing("a file of the config", file));
            }
        }
        let tool = &ready.site.tool;
        let mut found = Preflight { ok: vec![format!("{} {}", tool.product, tool.version)], warnings: Vec::new() };
        let cli_config = std::env::var_os("TF_CLI_CONFIG_FILE").map(PathBuf::from);
        if let Some(file) = cli_config.filter(|f| !f.is_file() && !self.config.env.contains_key("TF_CLI_CONFIG_FILE")) {
            found.warnings.push(format!("TF_CLI_CONFIG_FILE names a file that does not exist: {}", file.display()));
        }
        Ok(found)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let ready = self.ready(cx, "plan").await?;
        let folder = ready.site.folder("plan")?;
        let planned = ready.work(&self.config, "plan").plan(cx, Aim::Configured, &folder).await?;
        let mut plan = planned.saved.plan(&ready.site.stack);
        plan.warnings = planned.warnings;
        Ok(plan)
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        let ready = self.ready(cx, "apply").await?;
        ready.work(&self.config, "apply").apply(cx, Aim::Configured).await
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        let ready = self.ready(cx, "probe").await?;
        let work = ready.work(&self.config, "probe");
        let folder = ready.site.folder("probe")?;
        let planned = work.plan(cx, Aim::Configured, &folder).await?;
        let state = work.state(cx).await?;
        let environment = if state.is_empty() { None } else { Some(state.environment(cx, &self.config)?) };
        let mut drift = planned.saved.drift(&ready.site.stack);
        drift.extend(planned.saved.plan(&ready.site.stack));
        drift.changes.retain(|c| c.certainty != Certainty::WillNot);
        Ok(Probed { environment, drift })
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        let ready = self.ready(cx, "destroy").await?;
        let work = ready.work(&self.config, "destroy");
        ready.site.init(cx, "destroy", &self.config, false).await?;
        if work.state(cx).await?.is_empty() {
            return Ok(Destroyed { changed: 0 });
        }
        let changed = work.apply(cx, Aim::Destroyed).await?.changed;
        Ok(Destroyed { changed })
    }
}
