//! Plans into a file, applies exactly that file, and finds an apply again that outlived its process.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::json;
use towpath_core::local_tool::{Growing, Waited, writer_of};
use towpath_core::{Applied, Context, Error, ErrorKind, Json, Result, digest_json};

use crate::TerraformConfig;
use crate::command::{self, Aim};
use crate::diagnostic::Severity;
use crate::hosts::meant;
use crate::provider::TERRAFORM;
use crate::run::{Ran, Site};
use crate::run_folder::{APPLY_LOG, PLAN, RunFolder, VARS};
use crate::show::SavedPlan;
use crate::state::State;
use crate::stream::Seen;

/// Under this note an apply keeps where its output is.
const LOG: &str = "log";

/// A saved plan, its file, and what the tool warned of.
pub(crate) struct Planned {
    pub(crate) saved: SavedPlan,
    file: PathBuf,
    pub(crate) warnings: Vec<String>,
}

/// A site with the provider's config.
pub(crate) struct Work<'a> {
    pub(crate) site: &'a Site,
    pub(crate) config: &'a TerraformConfig,
    pub(crate) operation: &'static str,
    /// Variables as the tool's file of variables wants them, secrets resolved.
    pub(crate) vars: &'a Json,
}

impl Work<'_> {
    /// Makes a plan in `folder`. Nothing is changed but the tool's own data folder.
    pub(crate) async fn plan(&self, cx: &Context, aim: Aim, folder: &RunFolder) -> Result<Planned> {
        let prepared = self.site.init(cx, self.operation, self.config, false).await?;
        let vars = match self.vars.as_object().is_some_and(|v| !v.is_empty()) {
            true => Some(folder.write(VARS, self.vars.to_string().as_bytes(), self.operation)?),
            false => None,
        };
        let file = folder.path(PLAN);
        let argv = command::plan(self.config, aim, vars.as_deref(), &file);
        let mut ran = self.site.follow(cx, self.operation, &argv, &folder.path("plan.jsonl"), true).await?;
        if !ran.status.success() && !prepared {
            // Perhaps something that `init` would have noticed: a provider that was removed, another backend.
            self.site.init(cx, self.operation, self.config, true).await?;
            ran = self.site.follow(cx, self.operation, &argv, &folder.path("plan2.jsonl"), true).await?;
        }
        if let Some(vars) = &vars {
            let _ = std::fs::remove_file(vars);
        }
        if !ran.status.success() {
            return Err(self.plan_failed(cx, ran).await);
        }
        let shown = self.site.read(cx, self.operation, &command::show(Some(&file))).await?;
        let saved: SavedPlan = self.parse(&shown)?;
        if aim == Aim::Configured {
            self.check(&saved)?;
        }
        // Masked when they were read.
        let warnings = ran.seen.diagnostics.iter().map(ToString::to_string).collect();
        Ok(Planned { saved, file, warnings })
    }

    /// A configuration that is wrong is bad input; anything else failed in the world.
    async fn plan_failed(&self, cx: &Context, ran: Ran) -> Error {
        let first = ran.seen.diagnostics.iter().find(|d| d.severity == Severity::Error);
        let of_resource = first.is_some_and(|d| d.address.is_some());
        let mut wrong = !of_resource;
        if of_resource && let Ok(said) = self.site.read(cx, self.operation, &command::validate()).await {
            let valid = serde_json::from_slice::<Json>(&said).ok().and_then(|v| v.get("valid").and_then(Json::as_bool));
            wrong = valid == Some(false);
        }
        self.site.failed(self.operation, ran, wrong)
    }

    fn parse<T: DeserializeOwned>(&self, shown: &[u8]) -> Result<T> {
        serde_json::from_slice(shown).map_err(|e| {
            Error::new(
                ErrorKind::Protocol,
                TERRAFORM,
                self.operation,
                "`show -json` gave something else than its documentation says",
            )
            .with("module", self.site.module.display())
            .with("version", &self.site.tool.version)
            .caused_by(e)
        })
    }

    /// What the tool itself would only warn of, or tell after the apply.
    fn check(&self, saved: &SavedPlan) -> Result<()> {
        let invalid = |message: String| {
            Err(Error::new(ErrorKind::InvalidInput, TERRAFORM, self.operation, message)
                .with("module", self.site.module.display()))
        };
        for name in self.vars.as_object().into_iter().flatten().map(|(name, _)| name) {
            let Some((_, sensitive)) = saved.variables().find(|(declared, _)| declared == name) else {
                let meant = meant(name, saved.variables().map(|(declared, _)| declared));
                return invalid(format!("the module declares no variable `{name}`; {meant}"));
            };
            // Else plans and errors of the tool would show it.
            if self.config.secret_vars.contains_key(name) && !sensitive {
                return invalid(format!(
                    "`{name}` is given by `secret_vars`, and the module's variable is not secret: declare it with `sensitive = true`"
                ));
            }
        }
        let here = |e: Error| e.with("module", self.site.module.display());
        self.config.hosts.iter().try_for_each(|mapping| mapping.check(saved.outputs()).map_err(here))
    }

    /// The state as it is.
    pub(crate) async fn state(&self, cx: &Context) -> Result<State> {
        self.parse(&self.site.read(cx, self.operation, &command::show(None)).await?)
    }

    /// Makes a plan and applies it, as an effect: a process that dies meanwhile leaves the tool at work, and the next one finds it.
    pub(crate) async fn apply(&self, cx: &Context, aim: Aim) -> Result<Applied> {
        if let Some(unsaved) = self.site.unsaved_state() {
            return Err(Error::new(
                ErrorKind::Conflict,
                TERRAFORM,
                self.operation,
                "an earlier run could not save its state, and what it made is known from that file only",
            )
            .with("module", self.site.module.display())
            .with("unsaved_state", unsaved));
        }
        let intent = json!({"module": self.site.module.display().to_string(), "stack": self.site.stack, "operation": self.operation});
        // Two configurations of one step must not take each other's work for their own.
        let which = json!([
            self.site.module,
            self.site.data_dir,
            self.site.stack,
            self.config.backend,
            self.config.backend_files
        ]);
        cx.effect(
            &format!("{}/{}", self.operation, digest_json(&which)),
            intent,
            |cx| async move {
                let changed = self.plan_and_apply(&cx, aim).await?;
                self.done(&cx, aim, changed).await
            },
            |cx| async move {
                match self.find_again(&cx).await? {
                    Some(changed) => self.done(&cx, aim, changed).await.map(Some),
                    None => Ok(None),
                }
            },
        )
        .await
    }

    /// What is there after it.
    async fn done(&self, cx: &Context, aim: Aim, changed: usize) -> Result<Applied> {
        let state = self.state(cx).await?;
        if aim != Aim::Destroyed {
            return Ok(Applied { environment: state.environment(cx, self.config)?, changed });
        }
        // Hosts may be gone before the outputs that named them.
        let environment = state.environment(cx, &TerraformConfig { hosts: Vec::new(), ..self.config.clone() })?;
        // With targets only a part was meant.
        if !environment.resources.is_empty() && self.config.targets.is_empty() {
            let left: Vec<&str> = environment.resources.iter().map(|r| r.address.as_str()).collect();
            return Err(Error::new(ErrorKind::ToolFailed, TERRAFORM, self.operation, "some resources are still there")
                .with("module", self.site.module.display())
                .with("resources", left.join(" ")));
        }
        Ok(Applied { environment, changed })
    }

    async fn plan_and_apply(&self, cx: &Context, aim: Aim) -> Result<usize> {
        let folder = self.site.folder(self.operation)?;
        let planned = self.plan(cx, aim, &folder).await?;
        if !planned.saved.does_something() {
            return Ok(0);
        }
        let log = folder.path(APPLY_LOG);
        // Before the tool starts: whoever continues looks there.
        cx.note(LOG, json!(log.display().to_string())).await?;
        let argv = command::apply(self.config, &planned.file);
        let ran = self.site.follow(cx, self.operation, &argv, &log, false).await?;
        if !ran.status.success() {
            return Err(self.apply_failed(ran));
        }
        Ok(planned.saved.changed())
    }

    fn apply_failed(&self, ran: Ran) -> Error {
        let error = self.site.failed(self.operation, ran, false);
        match self.site.unsaved_state() {
            Some(unsaved) => error.with("unsaved_state", unsaved),
            None => error,
        }
    }

    /// After a crash: waits for a tool that is still at work, and reads what it did. `None`: it was not done to the end.
    async fn find_again(&self, cx: &Context) -> Result<Option<usize>> {
        let Some(log) = cx.recall(LOG).and_then(|log| log.as_str().map(PathBuf::from)) else { return Ok(None) };
        let Ok(mut said) = Growing::open(&log) else { return Ok(None) };
        let mut seen = Seen::default();
        let mut waited = Waited::Done(());
        if let Some(tool) = writer_of(&log) {
            let (product, pid) = (self.site.tool.product, tool.pid());
            cx.warn(format!("{product} still runs as process {pid} since the crash: waiting for it"));
            let look = || said.lines(|line| seen.take(cx, &self.site.stack, line, false));
            waited = self.site.interrupt(&log).wait_for_survivor(cx, tool, look).await;
            if let Waited::Left(why) = waited {
                return Err(self.site.still_runs(self.operation, why, pid));
            }
        }
        let unread = said.finish(|line| seen.take(cx, &self.site.stack, line, false));
        if let Waited::Stopped((), why) = waited {
            return Err(self.site.interrupted(self.operation, why, &seen));
        }
        if unread.is_err() {
            // The state knows as much, and is planned against.
            return Ok(None);
        }
        remove_folder(&log);
        Ok(seen.applied().then_some(seen.changed.len()))
    }
}

fn remove_folder(log: &Path) {
    if let Some(folder) =
        log.parent().filter(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("run-")))
    {
        let _ = std::fs::remove_dir_all(folder);
    }
}
