//! Every step: its state, error, tasks and log.

use towpath_core::{ErrorRecord, Json};

use super::hosts;
use super::html::{Html, count, cut, lasting};
use super::model::{FailedTask, Log, Model, StepModel, status_name};
use super::timeline::{state_class, took};

const CAUSE_CHARS: usize = 20_000;
const RESULT_CHARS: usize = 6_000;

pub(super) fn state_name(step: &StepModel) -> &'static str {
    match step.state {
        Some(state) => crate::listen::step_state(state),
        None if step.asks.is_some() => "waits for an answer",
        None if step.running() => "under way",
        None if step.attempts.is_empty() => "not started",
        None => "not finished",
    }
}

pub(super) fn step_class(step: &StepModel) -> &'static str {
    match step.state {
        Some(state) => state_class(state),
        None if step.running() || step.asks.is_some() => "running",
        None if step.attempts.is_empty() => "waits",
        None => "interrupted",
    }
}

pub(super) fn chip(html: &mut Html, class: &'static str, text: &str) {
    html.raw("<span class=\"chip ").raw(class).put("\">", text, "</span>");
}

pub(super) fn steps(html: &mut Html, model: &Model, shown: &[usize]) {
    html.raw("<section id=\"steps\"><h2>Steps</h2>");
    for (at, step) in shown.iter().filter_map(|i| Some((*i, model.steps.get(*i)?))) {
        let open = step.failed() || (model.state.is_none() && step.running()) || model.steps.len() == 1;
        html.raw(if open { "<details open class=\"step\">" } else { "<details class=\"step\">" }).raw("<summary>");
        chip(html, step_class(step), state_name(step));
        html.put("<b>", &step.name, "</b>").put("<span class=\"uses\">", &step.uses, "</span>");
        html.put("<span class=\"took\">", &took(step, model.now()), "</span></summary>");
        html.raw("<div class=\"body\" id=\"step-").int(at).raw("\">");
        facts(html, model, step);
        if let Some(e) = &step.error {
            error(html, e);
        }
        if step.attempts.len() > 1 || step.attempts.iter().any(|a| a.error.is_some() && step.error != a.error) {
            attempts(html, step);
        }
        hosts::tasks(html, step);
        log(html, &step.log);
        html.raw("</div></details>");
    }
    html.raw("</section>");
}

fn facts(html: &mut Html, model: &Model, step: &StepModel) {
    html.raw("<p class=\"facts\">");
    if step.needs.is_empty() {
        html.raw("Needs no other step.");
    } else {
        html.raw("Needs ");
        for (n, need) in step.needs.iter().take(40).enumerate() {
            let name = model.steps.get(*need).map_or("", |s| s.name.as_str());
            html.raw(if n == 0 { "<a href=\"#step-" } else { ", <a href=\"#step-" })
                .int(*need)
                .put("\">", name, "</a>");
        }
        if step.needs.len() > 40 {
            html.raw(" and ").int(step.needs.len() - 40).raw(" more");
        }
        html.raw(".");
    }
    if step.tries > 0 {
        html.raw(" ").text(&count(usize::try_from(step.tries).unwrap_or_default(), "attempt")).raw(".");
    }
    if step.earlier {
        html.raw(" Finished by an earlier process of this run, of which this page saw nothing more.");
    }
    if let Some((message, done, total)) = step.progress.as_ref().filter(|_| step.state.is_none()) {
        html.raw(" ").text(message).text(&format!(": {done} of {total}."));
    }
    if let Some((question, service)) = &step.asks {
        html.put(" It asks: <q>", question, "</q> The answer is given with <code>towpath ");
        match service {
            Some(service) => html.put("rollout ", service, " approve</code>."),
            None => {
                let run = model.run.as_ref().map_or("", |r| r.0.as_str());
                html.put("approve ", run, " '").put("", &step.name, "'</code>.")
            }
        };
    }
    html.raw("</p>");
}

/// All that is known of an error.
pub(super) fn error(html: &mut Html, error: &ErrorRecord) {
    html.raw("<div class=\"error\"><p><b>").text(&cut(&error.message, CAUSE_CHARS)).raw("</b></p><dl>");
    for (key, value) in &error.context {
        html.put("<dt>", key, "</dt><dd>").put("", &cut(value, CAUSE_CHARS), "</dd>");
    }
    html.put("<dt>said by</dt><dd>", &error.provider, " ").put("", &error.operation, " (kind ");
    html.text(error.kind.as_str()).raw(match error.retry {
        towpath_core::Retry::Later => "; may pass by itself, so trying again may help)</dd></dl>",
        towpath_core::Retry::Never => "; fails again until somebody changes something)</dd></dl>",
    });
    for cause in &error.causes {
        html.raw("<p class=\"cause\">caused by</p>").put("<pre>", &cut(cause.trim_end(), CAUSE_CHARS), "</pre>");
    }
    html.raw("</div>");
}

fn attempts(html: &mut Html, step: &StepModel) {
    html.raw("<h3>Attempts</h3><ol class=\"attempts\">");
    for attempt in &step.attempts {
        let ms = attempt.to.unwrap_or(attempt.from).saturating_sub(attempt.from);
        html.raw("<li><span class=\"at\">").text(&format!("{}: ", attempt.number));
        html.text(&lasting(std::time::Duration::from_millis(ms).as_secs_f64())).raw("</span> ");
        match &attempt.error {
            Some(e) if step.error.as_ref() == Some(e) => html.text("failed as said above"),
            Some(e) => html.text(&cut(&e.to_string(), RESULT_CHARS)),
            None => html.text(match attempt.outcome {
                super::model::Outcome::Running => "under way",
                super::model::Outcome::Interrupted => "interrupted",
                _ => "no error",
            }),
        };
        html.raw("</li>");
    }
    html.raw("</ol>");
}

pub(super) fn log(html: &mut Html, log: &Log) {
    if log.lines.is_empty() {
        return;
    }
    html.raw("<h3>Log</h3><div class=\"log\">");
    if log.left_out > 0 {
        html.put("<p class=\"note\">", &count(log.left_out, "older line"), " left out; ");
        html.raw("the run’s JSON lines hold all of them.</p>");
    }
    for line in &log.lines {
        let at = std::time::Duration::from_millis(line.at).as_secs_f64();
        html.raw("<div class=\"l ").raw(line.kind).put("\"><span class=\"at\">", &format!("{at:.1}"), "</span>");
        if let Some(host) = &line.host {
            html.put("<span class=\"host\">", host, "</span>");
        }
        html.put("<span class=\"t\">", &line.text, "</span></div>");
    }
    html.raw("</div>");
}

/// A failed task, with what it returned.
pub(super) fn failed_task(html: &mut Html, model: &Model, failed: &FailedTask) {
    let step = failed.step.and_then(|i| model.steps.get(i)).map_or("", |s| s.name.as_str());
    html.raw("<div class=\"error task\"><p>");
    chip(html, status_name(failed.status), status_name(failed.status));
    html.put("<b>", &failed.task, "</b> on ").put("<b>", &failed.host, "</b></p><dl>");
    html.put("<dt>step</dt><dd>", step, "</dd>");
    if failed.times > 1 {
        html.raw("<dt>times</dt><dd>").int(failed.times).raw("; the last one is shown</dd>");
    }
    if let Some(file) = &failed.file {
        html.put("<dt>file</dt><dd>", file, "</dd>");
    }
    let mut rest = failed.result.clone();
    if let Json::Object(map) = &mut rest {
        for key in ["msg", "cmd", "rc"] {
            if let Some(value) = map.shift_remove(key) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                html.put("<dt>", key, "</dt><dd>").put("", &cut(text.trim_end(), RESULT_CHARS), "</dd>");
            }
        }
        // Said already by the state, or line by line below.
        map.retain(|k, v| {
            !matches!(k.as_str(), "failed" | "changed" | "stdout_lines" | "stderr_lines") && v.as_str() != Some("")
        });
        for key in ["stderr", "stdout"] {
            if let Some(Json::String(text)) = map.shift_remove(key) {
                html.put("<dt>", key, "</dt><dd><pre>").put("", &cut(text.trim_end(), RESULT_CHARS), "</pre></dd>");
            }
        }
    }
    let empty = rest.is_null() || rest.as_object().is_some_and(serde_json::Map::is_empty);
    if !empty {
        let text = serde_json::to_string_pretty(&rest).unwrap_or_default();
        html.put("<dt>result</dt><dd><pre>", &cut(&text, RESULT_CHARS), "</pre></dd>");
    }
    html.raw("</dl></div>");
}
