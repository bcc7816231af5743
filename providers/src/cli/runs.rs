//! The verbs that run something: what they listen with, and how they end.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_core::pipeline::{Engine, Pipeline, PipelinePlan, ResumeOptions, RunOptions, RunReport, StepReport, Verb};
use towpath_core::{Error, Json, Listener, Plan, Result, RunId, RunState, StepState};

use super::display::Display;
use super::options::{Common, Watch};
use super::verbs::{bad, engine_with, folder, pretty, values};
use super::{Exit, print, say};
use crate::Guardian;
use crate::listen::{JsonLines, Left, RunFiles, RunPage, run_state, step_state};

/// More steps than this are not listed one by one at the end of a run, unless something is the matter with them.
const LISTED: usize = 60;

pub(super) enum From<'a> {
    File(&'a Path, Vec<String>),
    Plan(&'a Path),
}

/// Who listens to a run.
struct Watchers {
    display: Arc<Display>,
    files: RunFiles,
}

impl Watchers {
    fn new(common: &Common, watch: &Watch, plan: Option<&Plan>, display: &Arc<Display>) -> Result<Self> {
        let page = match &watch.page {
            _ if watch.no_page => None,
            Some(path) => Some(RunPage::new(path)),
            None => Some(RunPage::in_folder(common.runs())),
        };
        let journal = match &watch.journal {
            Some(path) => JsonLines::append_to(path)?,
            None => JsonLines::in_folder(common.runs()),
        };
        let files = RunFiles::new(page.map(|page| page.plan(plan)), Some(journal));
        Ok(Self { display: Arc::clone(display), files })
    }

    fn listen(&self, engine: Engine) -> Engine {
        self.files.listen(engine.listener(Arc::clone(&self.display) as Arc<dyn Listener>))
    }

    /// Where page and journal are. One that could not be written is told.
    fn close(&self, error: Option<&Error>) -> Left {
        self.display.close();
        let left = self.files.close(error);
        left.failed.iter().for_each(|e| say(&format!("warning: {}", e.report())));
        left
    }
}

fn deploys(pipeline: &Pipeline) -> bool {
    pipeline.steps.iter().any(|step| step.uses.verb == Verb::Deploy)
}

/// A guardian for a pipeline that deploys. Without one a run is as safe, only later, so a failure is told and no more.
fn guardian(common: &Common, watch: &Watch, deploys: bool) -> Option<Guardian> {
    let url = common.store_url();
    if watch.no_guardian || !deploys || url.starts_with("memory:") {
        return None;
    }
    let beside = url.strip_prefix("sqlite:").and_then(|path| Path::new(path).parent());
    let log = beside.map(|folder| folder.join("guardian.log"));
    Guardian::start(&url, log.as_deref()).map_err(|e| say(&format!("warning: {}", e.report()))).ok()
}

pub(super) async fn start(common: &Common, from: From<'_>, fresh: bool, watch: &Watch) -> Result<Exit> {
    let registry = common.registry();
    let display = Arc::new(Display::new(watch.plain));
    match from {
        From::File(file, set) => {
            let pipeline = Pipeline::load(file, &registry)?;
            let options = RunOptions { values: values(&set)?, fresh };
            // Before the store is made.
            pipeline.with_values(&options.values)?;
            let engine = engine_with(common, registry, folder(file), &display).await?;
            let watchers = Watchers::new(common, watch, None, &display)?;
            let _guardian = guardian(common, watch, deploys(&pipeline));
            let report = watchers.listen(engine).run(&pipeline, options).await;
            finish(common, &watchers, report)
        }
        From::Plan(file) => {
            let fail = |e: Box<dyn std::error::Error + Send + Sync>| {
                bad("the plan can't be read: make it again with `towpath plan --out`")
                    .with("file", file.display())
                    .caused_by(e)
            };
            let text = std::fs::read(file).map_err(|e| fail(e.into()))?;
            let plan: PipelinePlan = serde_json::from_slice(&text).map_err(|e| fail(e.into()))?;
            let engine = engine_with(common, registry, folder(file), &display).await?;
            let watchers = Watchers::new(common, watch, Some(&plan.plan), &display)?;
            let _guardian = guardian(common, watch, deploys(&plan.pipeline));
            let report = watchers.listen(engine).apply(&plan).await;
            finish(common, &watchers, report)
        }
    }
}

pub(super) async fn resume(
    common: &Common,
    run: Option<RunId>,
    options: ResumeOptions,
    base_dir: PathBuf,
    watch: &Watch,
) -> Result<Exit> {
    let display = Arc::new(Display::new(watch.plain));
    let engine = engine_with(common, common.registry(), base_dir, &display).await?;
    let watchers = Watchers::new(common, watch, None, &display)?;
    // Which pipeline it was is known only once the run is found.
    let _guardian = guardian(common, watch, true);
    let report = watchers.listen(engine).resume(run.as_ref(), options).await;
    finish(common, &watchers, report)
}

fn finish(common: &Common, watchers: &Watchers, report: Result<RunReport>) -> Result<Exit> {
    let Left { page, journal, .. } = watchers.close(report.as_ref().err());
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            if let Some(page) = page {
                say(&format!("page: {}", page.display()));
            }
            return Err(error);
        }
    };
    if common.json {
        let mut all = serde_json::to_value(&report).unwrap_or_default();
        if let Some(all) = all.as_object_mut() {
            for (name, path) in [("run_page", page), ("journal", journal)] {
                all.insert(name.to_owned(), path.map_or(Json::Null, |p| p.display().to_string().into()));
            }
        }
        print(&pretty(&all));
    } else {
        // A person who watched has read these lines just above.
        let read = watchers.display.is_live() && std::io::stdout().is_terminal();
        let over = report.steps.len() <= LISTED && report.state != RunState::Cancelled;
        if !(read && over) {
            print(&table(&report.steps));
        }
        print(&format!("run {}: {} in {:.1} s", report.run, run_state(report.state), report.seconds));
        if let Some(page) = page {
            print(&format!("page: {}", page.display()));
        }
    }
    Ok(Exit::of(report.state))
}

/// A line for each step, in columns.
fn table(steps: &[StepReport]) -> String {
    let well = |s: &&StepReport| matches!(s.state, Some(StepState::Done | StepState::Unchanged));
    let listed: Vec<&StepReport> = match steps.len() {
        0..=LISTED => steps.iter().collect(),
        _ => steps.iter().filter(|s| !well(s)).take(LISTED).collect(),
    };
    let rows: Vec<[String; 4]> = listed
        .iter()
        .map(|s| {
            let attempts = match s.attempts {
                0 => String::new(),
                1 => "1 attempt".to_owned(),
                n => format!("{n} attempts"),
            };
            let time = if s.attempts == 0 { String::new() } else { format!("{:.1} s", s.seconds) };
            [s.name.clone(), s.state.map_or("not finished", step_state).to_owned(), time, attempts]
        })
        .collect();
    let width =
        |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or_default();
    let (name, state, time) = (width(0), width(1), width(2));
    let mut lines: Vec<String> = rows
        .iter()
        .map(|[n, s, t, a]| format!("{n:<name$}  {s:<state$}  {t:>time$}  {a}").trim_end().to_owned())
        .collect();
    if listed.len() < steps.len() {
        let good = steps.iter().filter(well).count();
        lines.push(format!("{} steps, {good} of them done or unchanged", steps.len()));
    }
    lines.join("\n")
}
