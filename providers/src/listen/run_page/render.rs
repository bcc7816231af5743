//! The page as a whole.

use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use towpath_core::{Certainty, Change, RunState, StepState, TaskStatus};

use super::html::{Html, count, cut, lasting, moment};
use super::model::Model;
use super::steps::{chip, error, failed_task, log, state_name, steps};
use super::{graph, hosts, timeline};

const STYLE: &str = include_str!("page.css");
/// More steps than this are not listed one by one.
const STEPS: usize = 400;
const PLANNED: usize = 500;

/// Makes the page. Its size is bounded, whatever the model holds.
pub(super) fn page(model: &Model) -> String {
    let mut html = Html::default();
    let shown = shown(model);
    head(&mut html, model);
    html.raw("<main>");
    what_is_left_out(&mut html, model, shown.len());
    failures(&mut html, model);
    timeline::timeline(&mut html, model, &shown);
    graph::graph(&mut html, model);
    steps(&mut html, model, &shown);
    hosts::hosts(&mut html, model);
    plan(&mut html, model);
    rest(&mut html, model);
    html.raw("</main></body></html>\n");
    html.finish()
}

/// The steps that are listed, in the pipeline's order: all, or those that say most.
fn shown(model: &Model) -> Vec<usize> {
    let mut all: Vec<usize> = (0..model.steps.len()).collect();
    if all.len() > STEPS {
        let now = model.now();
        all.sort_by_cached_key(|i| {
            let Some(step) = model.steps.get(*i) else { return (3, 0) };
            let rank = match step.state {
                Some(StepState::Failed | StepState::RolledBack | StepState::Ignored) => 0,
                None if step.running() => 1,
                _ => 2,
            };
            let ms = std::time::Duration::try_from_secs_f64(step.seconds(now)).unwrap_or_default().as_millis();
            (rank, u64::MAX - u64::try_from(ms).unwrap_or_default())
        });
        all.truncate(STEPS);
        all.sort_unstable();
    }
    all
}

fn head(html: &mut Html, model: &Model) {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    // Nothing may be loaded, run or sent, whatever a host has put into its output.
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-")
        .text(&digest);
    html.raw("'; base-uri 'none'; form-action 'none'\"><meta name=\"referrer\" content=\"no-referrer\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">");
    let under_way = model.state.is_none() && model.stopped.is_none();
    if under_way {
        html.raw("<meta http-equiv=\"refresh\" content=\"3\">");
    }
    let (class, state) = run_state(model);
    html.put("<title>", &model.pipeline, ": ")
        .text(state)
        .raw("</title><style>")
        .raw(STYLE)
        .raw("</style></head><body>");
    html.raw("<header class=\"").raw(class).raw("\"><div class=\"title\"><h1>").text(&model.pipeline);
    html.put("<small> in ", &model.environment, "</small></h1>");
    chip(html, class, state);
    html.raw("</div><dl class=\"about\">");
    let lasted = std::time::Duration::from_millis(model.now()).as_secs_f64();
    for (name, value) in [
        ("took", lasting(lasted)),
        ("started", model.started.map(moment).unwrap_or_default()),
        (if under_way { "as of" } else { "ended" }, moment(model.last)),
        ("run", model.run.as_ref().map(ToString::to_string).unwrap_or_default()),
    ] {
        html.put("<div><dt>", name, "</dt>").put("<dd>", &value, "</dd></div>");
    }
    html.raw("</dl><ul class=\"tiles\">");
    tiles(html, model);
    html.raw("</ul></header>");
    if under_way {
        html.raw("<p class=\"banner\">The run was under way when this was written. The page loads itself again every 3 seconds. If the time above stands still, its process is gone: run the pipeline again, and it goes on.</p>");
    }
}

fn run_state(model: &Model) -> (&'static str, &'static str) {
    match model.state {
        Some(RunState::Done) => ("done", "done"),
        Some(RunState::Failed) => ("failed", "FAILED"),
        Some(RunState::RolledBack) => ("rolledback", "ROLLED BACK"),
        Some(RunState::Cancelled) => ("interrupted", "cancelled"),
        Some(RunState::Unfinished) => ("interrupted", "unfinished"),
        None if model.stopped.is_some() => ("failed", "STOPPED, unfinished"),
        None => ("running", "under way"),
    }
}

fn tiles(html: &mut Html, model: &Model) {
    let mut states: Vec<(&'static str, &'static str, usize)> = Vec::new();
    for step in &model.steps {
        let (class, name) = (super::steps::step_class(step), state_name(step));
        match states.iter_mut().find(|(_, n, _)| *n == name) {
            Some(found) => found.2 += 1,
            None => states.push((class, name, 1)),
        }
    }
    let mut tile = |class: &'static str, n: usize, name: &str| {
        html.raw("<li class=\"").raw(class).raw("\"><b>").int(n).put("</b> ", name, "</li>");
    };
    tile("", model.steps.len(), if model.steps.len() == 1 { "step" } else { "steps" });
    for (class, name, n) in states {
        tile(class, n, name);
    }
    let retries: u32 = model.steps.iter().map(|s| s.tries.saturating_sub(1)).sum();
    if retries > 0 {
        let n = usize::try_from(retries).unwrap_or_default();
        tile("retried", n, if n == 1 { "retry" } else { "retries" });
    }
    if !model.hosts.is_empty() {
        tile("", model.hosts.len(), if model.hosts.len() == 1 { "host" } else { "hosts" });
        for (i, (_, name)) in super::model::STATUSES.iter().enumerate() {
            let n: usize = model.hosts.values().filter_map(|h| h.counts.get(i)).sum();
            if n > 0 && matches!(*name, "changed" | "failed" | "unreachable") {
                tile(name, n, &format!("{} {name}", if n == 1 { "task" } else { "tasks" }));
            }
        }
    }
}

fn what_is_left_out(html: &mut Html, model: &Model, shown: usize) {
    if model.steps.len() > shown {
        html.raw("<p class=\"banner\">The run has ").int(model.steps.len()).raw(" steps; ").int(shown);
        html.raw(" are shown: those that failed, those under way, then those that took longest. The run’s JSON lines and the store hold all of them.</p>");
    }
}

fn failures(html: &mut Html, model: &Model) {
    let failed: Vec<_> = model.steps.iter().enumerate().filter(|(_, s)| s.failed()).collect();
    // Tasks that are allowed to fail are nothing that went wrong in a run that did not.
    if failed.is_empty()
        && model.failed_tasks.iter().all(|t| t.status == TaskStatus::Ignored)
        && model.stopped.is_none()
    {
        return;
    }
    html.raw("<section id=\"failures\"><h2>What went wrong</h2>");
    if let Some(e) = &model.stopped {
        html.raw("<p>The run stopped here and is not finished. Run the pipeline again when the cause is gone: it goes on.</p>");
        error(html, e);
    }
    for (at, step) in failed.iter().take(20) {
        html.raw("<h3><a href=\"#step-").int(*at).put("\">", &step.name, "</a> ");
        chip(html, super::steps::step_class(step), state_name(step));
        html.raw("</h3>");
        match &step.error {
            Some(e) => error(html, e),
            None => {
                html.raw("<p class=\"note\">No reason was given.</p>");
            }
        }
    }
    if failed.len() > 20 {
        html.put("<p class=\"note\">", &count(failed.len() - 20, "more failed step"), " stand below.</p>");
    }
    let (ignored, failed): (Vec<_>, Vec<_>) = model.failed_tasks.iter().partition(|t| t.status == TaskStatus::Ignored);
    if !failed.is_empty() {
        html.raw("<h3>Failed tasks</h3>");
        failed.iter().take(50).for_each(|t| failed_task(html, model, t));
    }
    if !ignored.is_empty() {
        html.put("<details class=\"more\"><summary>", &count(ignored.len(), "failed task"), " that may fail</summary>");
        ignored.iter().take(50).for_each(|t| failed_task(html, model, t));
        html.raw("</details>");
    }
    let more = failed.len().saturating_sub(50) + ignored.len().saturating_sub(50) + model.failed_tasks_left_out;
    if more > 0 {
        html.put("<p class=\"note\">", &count(more, "more failed result"), " left out.</p>");
    }
    html.raw("</section>");
}

fn plan(html: &mut Html, model: &Model) {
    html.raw("<section id=\"plan\"><h2>Plan</h2>");
    match &model.plan {
        Some(plan) => {
            html.raw("<p class=\"note\">What was planned before the run, and then carried out.</p>");
            changes(html, plan.changes.iter().map(|c| (c, false)), plan.changes.len());
            for deferred in plan.deferred.iter().take(PLANNED) {
                html.put("<p>", &deferred.step, ": planned when it starts, waits for ");
                html.text(&deferred.waits_for.join(", ")).raw("</p>");
            }
            for warning in plan.warnings.iter().take(PLANNED) {
                html.put("<p class=\"l warn\">", &cut(warning, 1_000), "</p>");
            }
        }
        None if model.changes.is_empty() => {
            html.raw("<p class=\"note\">The run was started without a saved plan, so every step was planned as it started. To see a plan first, and run exactly that: <code>towpath plan FILE --out PLAN</code>, then <code>towpath run --plan PLAN</code>.</p>");
        }
        None => {}
    }
    if !model.changes.is_empty() {
        let all = model.changes.len() + model.changes_left_out;
        changes(html, model.changes.iter().map(|(c, made)| (c, *made)), all);
    }
    html.raw("</section>");
}

fn changes<'a>(html: &mut Html, changes: impl Iterator<Item = (&'a Change, bool)>, all: usize) {
    html.raw("<div class=\"scroll\"><table class=\"plan\"><thead><tr><th>step</th><th>target</th><th>what</th><th>change</th><th></th></tr></thead><tbody>");
    let mut listed = 0;
    for (change, made) in changes.take(PLANNED) {
        listed += 1;
        let (class, sure) = match change.certainty {
            _ if made => ("changed", "made"),
            Certainty::Will => ("changed", "will"),
            Certainty::WillNot => ("ok", "will not change"),
            Certainty::CannotKnow => ("ignored", "cannot know"),
        };
        let action = match change.certainty {
            Certainty::WillNot => String::new(),
            _ => format!(" {:?}", change.action).to_lowercase(),
        };
        html.put("<tr><td>", &change.stage, "</td>").put("<td>", &change.target, "</td>");
        html.put("<td>", &cut(&change.subject, 300), "</td>").raw("<td class=\"").raw(class).raw("\">").raw(sure);
        html.text(&action).put("</td><td class=\"uses\">", change.reason.as_deref().unwrap_or_default(), "</td></tr>");
    }
    html.raw("</tbody></table></div>");
    if all > listed {
        html.put("<p class=\"note\">", &count(all - listed, "more change"), " left out.</p>");
    }
}

fn rest(html: &mut Html, model: &Model) {
    if !model.warnings.is_empty() {
        html.raw("<section id=\"warnings\"><h2>Warnings</h2><ul>");
        for (step, warning) in &model.warnings {
            html.put("<li><b>", step.as_deref().unwrap_or_default(), "</b> ").put("", warning, "</li>");
        }
        html.raw("</ul>");
        if model.warnings_left_out > 0 {
            html.put("<p class=\"note\">", &count(model.warnings_left_out, "more warning"), " left out.</p>");
        }
        html.raw("</section>");
    }
    if !model.log.lines.is_empty() {
        html.raw("<section id=\"run-log\"><h2>The run itself</h2>");
        log(html, &model.log);
        html.raw("</section>");
    }
    html.raw("<footer>Written by towpath. This page loads nothing and runs nothing; times are UTC, in logs seconds since the start.</footer>");
}
