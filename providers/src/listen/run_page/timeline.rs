//! Every attempt of every step as a bar.

use towpath_core::StepState;

use super::html::{Html, count, lasting};
use super::model::{Attempt, Model, Outcome, StepModel};

/// Width of the time line in its own units; the browser stretches it.
const WIDTH: f64 = 1000.0;

pub(super) fn timeline(html: &mut Html, model: &Model, shown: &[usize]) {
    let now = model.now().max(1);
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a run fit")]
    let scale = |ms: u64| ms as f64 / now as f64 * WIDTH;
    html.raw("<section id=\"timeline\"><h2>Time line</h2><div class=\"timeline\"><div class=\"row axis\"><span></span><span class=\"ticks\">");
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let whole = std::time::Duration::from_millis(now).as_secs_f64();
        html.put("<span>", &lasting(whole * part), "</span>");
    }
    html.raw("</span><span></span></div>");
    for (at, step) in shown.iter().filter_map(|i| Some((i, model.steps.get(*i)?))) {
        html.raw("<div class=\"row\"><a class=\"name\" href=\"#step-").int(*at).raw("\" title=\"").text(&step.name);
        html.put("\">", &step.name, "</a>");
        html.raw("<svg class=\"bars\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
        html.text(&spoken(step, model.now())).raw("\">");
        for seam in &model.seams {
            let x = scale(*seam);
            html.raw("<path class=\"seam\" d=\"M")
                .at(x)
                .raw(" 0V20\"><title>a later process went on here</title></path>");
        }
        for pair in step.attempts.windows(2) {
            if let [a, b] = pair
                && let Some(to) = a.to
            {
                html.raw("<path class=\"pause\" d=\"M").at(scale(to)).raw(" 10H").at(scale(b.from)).raw("\"/>");
            }
        }
        for attempt in &step.attempts {
            let (from, to) = (scale(attempt.from), scale(attempt.to.unwrap_or(now)));
            let width = (to - from).max(3.0);
            html.raw("<rect class=\"").raw(class(attempt.outcome)).raw("\" x=\"").at(from.min(WIDTH - width));
            html.raw("\" y=\"3\" width=\"").at(width).raw("\" height=\"14\"><title>");
            html.text(&tip(attempt, now)).raw("</title></rect>");
        }
        html.raw("</svg>").put("<span class=\"took\">", &took(step, model.now()), "</span></div>");
    }
    html.raw("</div>");
    if !model.seams.is_empty() {
        let times = count(model.seams.len(), "time");
        html.put("<p class=\"note\">The run was interrupted and taken up again ", &times, "; ");
        html.raw("the time in between is left out. Dashed lines stand where it went on.</p>");
    }
    html.raw("</section>");
}

pub(super) fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Running => "running",
        Outcome::Over(state) => state_class(state),
        Outcome::Retried => "retried",
        Outcome::Interrupted => "interrupted",
    }
}

pub(super) fn state_class(state: StepState) -> &'static str {
    match state {
        StepState::Done => "done",
        StepState::Unchanged => "unchanged",
        StepState::Ignored => "ignored",
        StepState::Skipped => "skipped",
        StepState::Failed => "failed",
        StepState::RolledBack => "rolledback",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Running => "under way",
        Outcome::Over(state) => crate::listen::step_state(state),
        Outcome::Retried => "failed, tried again",
        Outcome::Interrupted => "interrupted",
    }
}

fn tip(attempt: &Attempt, now: u64) -> String {
    let ms = attempt.to.unwrap_or(now).saturating_sub(attempt.from);
    let (began, lasted) = (std::time::Duration::from_millis(attempt.from), std::time::Duration::from_millis(ms));
    format!(
        "attempt {}: {}, {} from {}",
        attempt.number,
        outcome_name(attempt.outcome),
        lasting(lasted.as_secs_f64()),
        lasting(began.as_secs_f64())
    )
}

fn spoken(step: &StepModel, now: u64) -> String {
    format!("{}: {}, {}", step.name, super::steps::state_name(step), took(step, now))
}

/// How long a step took, where that is known and means something.
pub(super) fn took(step: &StepModel, now: u64) -> String {
    if step.attempts.is_empty() { String::new() } else { lasting(step.seconds(now)) }
}
