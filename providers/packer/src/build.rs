//! One image: its content, what can be reused, and the build itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use towpath_core::{
    Action, Artifact, ArtifactKind, Change, Context, Error, ErrorKind, EventKind, ImageDefinition, Json, Provenance,
    Result,
};

use crate::artifact::{Made, Making, collect, is_file, kind_name, unreadable};
use crate::files::{blocking, storage, write_json};
use crate::output::Report;
use crate::process::{self, Ended};
use crate::program::{self, Program, WITH_INIT};
use crate::provider::PACKER;
use crate::record::{Record, Records, Which, are_whole};
use crate::references::{self, Template};
use crate::run::{Finished, Run, aftermath};
use crate::work::{self, Work};
use crate::{PackerConfig, Reuse, command, diagnostic, docker, key, vars};

/// An image's definition that was found in order.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    pub(crate) config: &'a PackerConfig,
    pub(crate) image: &'a ImageDefinition,
    /// The base as a source names it.
    pub(crate) base: String,
    /// The base as the content key has it.
    pub(crate) base_key: Json,
    pub(crate) records: Records,
}

/// What an image is made from.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) key: String,
    template: Template,
    /// The template that a definition became.
    definition: Option<Json>,
    vars: Map<String, Json>,
}

/// What came of a build. It is what the journal keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) artifacts: Vec<Artifact>,
    /// Whether Packer ran for it; else somebody else had built it in the meantime.
    pub(crate) built: bool,
}

impl Content {
    /// What the content key can't see.
    pub(crate) fn warnings(&self) -> Vec<String> {
        if self.template.unknown.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "a change of what these options name builds nothing anew, since only packer knows it; list the files in `key_files`: {}",
            self.template.unknown.join(", ")
        )]
    }
}

impl Image<'_> {
    /// Where its records, locks and runs are.
    pub(crate) fn dir(&self) -> PathBuf {
        self.config.state_dir.join(&self.image.name)
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.cancel_grace_s))
    }

    /// Reads everything that the image is made from.
    pub(crate) async fn content(&self, operation: &'static str, program: &Program) -> Result<Content> {
        let program = program.clone();
        let definition = self.config.definition.as_ref().map(|d| d.to_template(self.config)).transpose()?;
        let (config, name, base) = (self.config.clone(), self.image.name.clone(), self.base.clone());
        let base_key = self.base_key.clone();
        let read = move || -> Result<Content> {
            let template = match (&config.template, &definition) {
                (Some(path), _) => references::read(path, &config.working_dir, &config.vars)
                    .map_err(|e| unreadable(operation, path, e))?,
                (None, Some(json)) => Template::of_definition(json, &config.working_dir, &config.vars),
                (None, None) => Template::default(),
            };
            let vars = vars::open_vars(&config, &template, &name, &base)?;
            let plugins = program::wanted(&config, &program, &template);
            let content = key::Content {
                name: &name,
                program: &program,
                plugins: &plugins,
                base: base_key,
                vars: &vars,
                template: &template,
                definition: definition.as_ref(),
            };
            let key = key::of(&config, &content).map_err(|e| {
                Error::new(ErrorKind::Storage, PACKER, operation, "a file that the image is made from can't be read")
                    .caused_by(e)
            })?;
            Ok(Content { key, template, definition, vars })
        };
        blocking(read).await.map_err(|e| storage(operation, &self.dir(), e))?
    }

    /// The artifacts of an earlier build of the same content, if they can be taken.
    pub(crate) async fn reusable(&self, cx: &Context, content: &Content) -> Result<Option<Record>> {
        if self.config.reuse == Reuse::Never {
            return Ok(None);
        }
        let Some(record) = self.records.read(cx, &content.key, Which::Whole).await? else { return Ok(None) };
        if !are_whole(&record.artifacts).await {
            return Ok(None);
        }
        if self.config.reuse == Reuse::Verified && !self.are_there(cx, &record.artifacts).await? {
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// Says whether everything that is no file is there.
    async fn are_there(&self, cx: &Context, artifacts: &[Artifact]) -> Result<bool> {
        let beyond: Vec<&Artifact> = artifacts.iter().filter(|a| !is_file(a.kind)).collect();
        if beyond.is_empty() {
            return Ok(true);
        }
        if !beyond.iter().all(|a| self.config.reuse.looks_at(a.kind) && docker::check("build", a).is_ok()) {
            return Ok(false);
        }
        let images = match docker::Images::list(cx, self.config, "build").await {
            Err(e) if e.kind() == ErrorKind::ToolMissing => return Ok(false),
            images => images?,
        };
        Ok(beyond.into_iter().all(|a| images.look(a) == Ok(true)))
    }

    /// What an earlier process of this very run has built, and written down: to take it is to finish that build, whatever
    /// `reuse` says.
    async fn built_by_this_run(&self, cx: &Context, content: &Content) -> Result<Option<Outcome>> {
        let record = self.records.read(cx, &content.key, Which::Whole).await?;
        let Some(record) = record.filter(|r| r.is_of_run(cx)) else { return Ok(None) };
        if !are_whole(&record.artifacts).await {
            return Ok(None);
        }
        self.tell(cx, &record.artifacts);
        Ok(Some(Outcome { artifacts: record.artifacts, built: true }))
    }

    /// Chooses what is wanted: all of each kind, in the order of the kinds. With this build's labels.
    pub(crate) fn wanted(&self, operation: &'static str, all: &[Artifact]) -> Result<Vec<Artifact>> {
        let mut kinds: Vec<ArtifactKind> = Vec::new();
        let named = self.image.artifacts.iter().copied();
        let made = all.iter().map(|a| a.kind);
        let everything = self.image.artifacts.is_empty();
        for kind in named.chain(made.filter(|_| everything)) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let mut chosen = Vec::new();
        for kind in kinds {
            let before = chosen.len();
            chosen.extend(all.iter().filter(|a| a.kind == kind).cloned());
            if chosen.len() == before {
                let list: Vec<String> = all.iter().map(describe).collect();
                let made = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
                return Err(Error::new(
                    ErrorKind::NotFound,
                    PACKER,
                    operation,
                    format!("the template makes no `{}`; name the kinds that it makes", kind_name(kind)),
                )
                .with("image", &self.image.name)
                .with("made", made));
            }
        }
        for artifact in &mut chosen {
            artifact.provenance.labels.clone_from(&self.image.labels);
        }
        Ok(chosen)
    }

    /// Has Packer check the template, for a plan. Gives a warning where it could not.
    pub(crate) async fn check_template(
        &self,
        cx: &Context,
        program: &Program,
        content: &Content,
    ) -> Result<Option<String>> {
        if self.installs_plugins(program, content) {
            let what = "the template is checked when it is built, after `packer init` has installed its plugins";
            return Ok(Some(what.to_owned()));
        }
        self.validate(cx, program, content, "plan").await.map(|()| None)
    }

    fn installs_plugins(&self, program: &Program, content: &Content) -> bool {
        self.config.init && content.template.required_plugins && program.version >= WITH_INIT
    }

    /// Writes what Packer reads into the run's private folder. Gives the template's path.
    async fn prepare(&self, cx: &Context, content: &Content, work: &Work, operation: &'static str) -> Result<PathBuf> {
        vars::learn_sensitive(cx, self.config, &content.template);
        let vars = vars::with_secrets(cx, self.config, content.vars.clone()).await?;
        write_json(&work.vars(), &vars).map_err(|e| storage(operation, &work.dir, e))?;
        match (&content.definition, &self.config.template) {
            (Some(template), _) => {
                write_json(&work.template(), template).map_err(|e| storage(operation, &work.dir, e))?;
                Ok(work.template())
            }
            (None, Some(template)) => Ok(template.clone()),
            (None, None) => Err(Error::new(ErrorKind::Internal, PACKER, operation, "neither template nor definition")),
        }
    }

    async fn validate(
        &self,
        cx: &Context,
        program: &Program,
        content: &Content,
        operation: &'static str,
    ) -> Result<()> {
        let work = Work::new(&self.dir(), operation, None)?;
        let template = self.prepare(cx, content, &work, operation).await?;
        let args = command::validate(self.config, &work.vars(), &template);
        let done = self.run(program, args, operation, false).finish(cx, &work).await?;
        done.settle(&work);
        match done.stopped {
            Some(stopped) => Err(stopped.error(self.config, operation)),
            None if done.status.success() => Ok(()),
            None => {
                let error = diagnostic::invalid(cx, operation, &done.report, &done.stderr, &template, &work.dir);
                Err(error.with("image", &self.image.name))
            }
        }
    }

    fn run(&self, program: &Program, args: Vec<std::ffi::OsString>, operation: &'static str, tell: bool) -> Run<'_> {
        Run { config: self.config, program: program.path.clone(), args, operation, tell }
    }

    /// Installs the plugins that the template requires. Gives the content as it is then: a plugin that was not there is part of it.
    pub(crate) async fn with_plugins(&self, cx: &Context, program: &Program, content: Content) -> Result<Content> {
        if !self.installs_plugins(program, &content) {
            return Ok(content);
        }
        self.init(cx, program, &content).await?;
        self.content("build", program).await
    }

    /// Checks the template, and builds.
    pub(crate) async fn build(&self, cx: &Context, program: &Program, content: &Content) -> Result<Outcome> {
        self.validate(cx, program, content, "build").await?;
        let intent =
            json!({"image": self.image.name, "content_key": content.key, "packer": program.version.to_string()});
        // Whether this process has told the listeners what was made; else another one has, whose listeners are gone.
        let told = AtomicBool::new(false);
        let told = &told;
        let act = |cx: Context| async move {
            told.store(true, Ordering::Relaxed);
            self.act(&cx, program, content).await
        };
        let probe = |cx: Context| async move {
            told.store(true, Ordering::Relaxed);
            let _lock = work::lock(&cx, &self.dir(), "build").await?;
            match self.recover(&cx, content).await? {
                Some(found) => Ok(Some(found)),
                None => self.built_by_this_run(&cx, content).await,
            }
        };
        let outcome: Outcome = cx.effect(&format!("build/{}", content.key), intent, act, probe).await?;
        // A finished effect of the run is replayed, though somebody may have removed its files since.
        if !are_whole(&outcome.artifacts).await {
            return self.act(cx, program, content).await;
        }
        if outcome.built && !told.load(Ordering::Relaxed) {
            self.tell(cx, &outcome.artifacts);
        }
        Ok(outcome)
    }

    /// Runs `packer init`, which downloads what is missing and never takes anything away.
    async fn init(&self, cx: &Context, program: &Program, content: &Content) -> Result<()> {
        let Some(template) = &self.config.template else { return Ok(()) };
        let name = format!("init/{}", content.key);
        let intent = json!({"template": template.display().to_string()});
        cx.effect_idempotent(&name, intent, |cx| async move {
            let work = Work::new(&self.dir(), "init", None)?;
            let done = self.run(program, command::init(template), "init", true).finish(&cx, &work).await?;
            done.settle(&work);
            match done.stopped {
                Some(stopped) => Err(stopped.error(self.config, "init")),
                None if done.status.success() => Ok(()),
                None => {
                    let text = [done.report.shown.join("\n"), done.stderr].join("\n");
                    Err(diagnostic::tool_failed(
                        &cx,
                        "init",
                        "packer can't install the template's plugins",
                        done.status,
                        &text,
                    ))
                }
            }
        })
        .await
    }

    async fn act(&self, cx: &Context, program: &Program, content: &Content) -> Result<Outcome> {
        let _lock = work::lock(cx, &self.dir(), "build").await?;
        // A program without a journal may have died here, too; and another may have built while this one waited.
        if let Some(found) = self.recover(cx, content).await? {
            return Ok(found);
        }
        if let Some(record) = self.reusable(cx, content).await? {
            return Ok(Outcome { artifacts: record.artifacts, built: false });
        }
        let work = Work::new(&self.dir(), "build", Some(&content.key))?;
        let making = self.making(cx, content);
        work.describe(&making).map_err(|e| storage("build", &work.dir, e))?;
        let template = self.prepare(cx, content, &work, "build").await?;
        let args = command::build(self.config, &work.vars(), &template);
        let finished = self.run(program, args, "build", true).finish(cx, &work).await?;
        let Finished { report, status, stderr, stopped, .. } = &finished;
        let made = self.made(report, &making).await?;
        let whole = status.success() && stopped.is_none();
        let mut which = if whole { Which::Whole } else { Which::Rest };
        if whole && !self.is_unchanged(program, content).await {
            // It was made of something between the two, which has no key.
            cx.warn(
                "files that the image is made from were changed while it was built, so that it is built again next time; if the build \
                 itself has changed them, let it write elsewhere",
            );
            which = Which::Rest;
        }
        // Until it is written down, the folder stays, so that a later build can.
        self.keep(cx, which, &making, &made.artifacts).await?;
        finished.settle(&work);
        self.tell(cx, &made.artifacts);
        if whole {
            for other in &made.others {
                cx.emit(EventKind::Progress { message: format!("no artifact: {other}"), done: None, total: None });
            }
            return Ok(Outcome { artifacts: made.artifacts, built: true });
        }
        let mut error = match stopped {
            Some(stopped) => stopped.error(self.config, "build"),
            None => diagnostic::failed(cx, report, stderr, *status),
        };
        error = error.with("image", &self.image.name);
        if !made.artifacts.is_empty() {
            // Not lost: `Packer::recorded` lists them.
            error = error.with("built", made.artifacts.iter().map(describe).collect::<Vec<_>>().join(", "));
        }
        Err(error)
    }

    /// Says whether all that the image is made from is as it was.
    async fn is_unchanged(&self, program: &Program, content: &Content) -> bool {
        self.content("build", program).await.is_ok_and(|now| now.key == content.key)
    }

    fn making(&self, cx: &Context, content: &Content) -> Making {
        Making {
            name: self.image.name.clone(),
            provenance: Provenance {
                content_key: content.key.clone(),
                base: self.base.clone(),
                labels: self.image.labels.clone(),
            },
            working_dir: self.config.working_dir.clone(),
            run: cx.run().cloned(),
        }
    }

    async fn made(&self, report: &Report, making: &Making) -> Result<Made> {
        let (raws, making) = (report.artifacts.clone(), making.clone());
        blocking(move || collect(&raws, &making)).await.map_err(|e| storage("build", &self.dir(), e))?
    }

    /// Writes down what was made.
    async fn keep(&self, cx: &Context, which: Which, making: &Making, artifacts: &[Artifact]) -> Result<()> {
        // Without artifacts there is nothing to reuse: the next call runs again.
        if artifacts.is_empty() {
            return Ok(());
        }
        let known = artifacts.iter().map(describe).collect::<Vec<_>>().join(", ");
        self.records.save(cx, which, making, artifacts).await.map_err(|e| e.with("built", known))
    }

    /// Tells the listeners what was made.
    fn tell(&self, cx: &Context, artifacts: &[Artifact]) {
        for artifact in artifacts {
            let change = Change::will(&self.image.name, describe(artifact), Action::Create);
            cx.emit(EventKind::Change { change, made: true });
        }
    }

    /// Looks after runs whose towpath is gone, where nothing is built.
    pub(crate) async fn tidy(&self, cx: &Context, content: &Content) -> Result<()> {
        if work::has_abandoned(&self.dir()) {
            let _lock = work::lock(cx, &self.dir(), "build").await?;
            self.recover(cx, content).await?;
        }
        Ok(())
    }

    /// Looks after runs whose towpath is gone: ends those that go on, and takes what finished ones made. One that this does not get to, or
    /// that fails here, stays for the next build.
    async fn recover(&self, cx: &Context, content: &Content) -> Result<Option<Outcome>> {
        let mut outcome = None;
        for work in work::abandoned(&self.dir(), "build")? {
            if let Some(found) = self.take_over(cx, content, &work).await? {
                outcome = Some(found);
            }
        }
        Ok(outcome)
    }

    async fn take_over(&self, cx: &Context, content: &Content, work: &Work) -> Result<Option<Outcome>> {
        let ended = process::end(cx, "build", work, self.grace()).await?;
        let gone = || match ended.left.as_slice() {
            [] => {
                work.settle();
                Ok(())
            }
            left => {
                let what = "a run of packer whose towpath is gone can't be ended; end it, then run again";
                Err(Error::new(ErrorKind::Conflict, PACKER, "build", what).with("still_running", left.join(", ")))
            }
        };
        let Some(making) = work.making(&self.image.name, &self.config.working_dir) else {
            return gone().map(|()| None);
        };
        if !work.stdout().exists() {
            return gone().map(|()| None); // nothing was started yet
        }
        let report = work.report();
        let made = self.made(&report, &making).await?;
        let finished = ended.found.is_empty() && ended.left.is_empty() && report.is_complete();
        if finished && work.has_written_last(&made.artifacts) {
            // Under the key of what it was made from, which may be another than that of today.
            self.keep(cx, Which::Whole, &making, &made.artifacts).await?;
            gone()?;
            if making.provenance.content_key != content.key {
                cx.warn("packer had finished after towpath was gone; what it built is kept for when its definition comes back");
                return Ok(None);
            }
            cx.warn("packer had finished after towpath was gone; what it built is taken");
            self.tell(cx, &made.artifacts);
            return Ok(Some(Outcome { artifacts: made.artifacts, built: true }));
        }
        self.keep(cx, Which::Rest, &making, &made.artifacts).await?;
        if ended.left.is_empty() {
            cx.warn(interrupted(self.config, &ended, &made.artifacts));
        }
        gone().map(|()| None)
    }
}

/// What is said of a run that a crash interrupted.
fn interrupted(config: &PackerConfig, ended: &Ended, made: &[Artifact]) -> String {
    let mut text = "towpath was gone while packer was building; packer ".to_owned();
    text.push_str(match ended.found.is_empty() {
        true => "has ended since, without saying that it finished: what its builders started (containers, instances) may be left",
        false => aftermath(config, ended.killed),
    });
    if !made.is_empty() {
        text.push_str("; it had built ");
        text.push_str(&made.iter().map(describe).collect::<Vec<_>>().join(", "));
    }
    text
}

/// `ami eu-west-1:ami-1`
fn describe(artifact: &Artifact) -> String {
    format!("{} {}", kind_name(artifact.kind), artifact.id)
}
