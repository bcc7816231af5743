//! `pause`.

use std::time::Duration;

use serde_json::json;

use super::spec::Rules;
use super::{Call, Decision, Module, Place, fields};

/// `pause` for a time, or without one where nobody is to be asked: then it goes on at once, as Ansible does without a terminal.
pub(super) const MODULE: Module = Module {
    names: &["pause"],
    rules: Rules { mutually_exclusive: &[&["minutes", "seconds"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// The result of a pause that somebody ended with an answer.
pub(crate) fn answered(text: &str, echo: bool, begun: std::time::Instant, start: String) -> super::Fields {
    let passed = begun.elapsed().as_secs_f64();
    let minutes = (passed / 60.0 * 100.0).round() / 100.0;
    fields([
        ("changed", json!(false)),
        ("rc", json!(0)),
        ("stderr", json!("")),
        ("stdout", json!(format!("Paused for {minutes:?} minutes"))),
        ("start", json!(start)),
        ("stop", json!(super::clock::now())),
        ("delta", json!(passed as i64)),
        ("echo", json!(echo)),
        ("user_input", json!(text)),
    ])
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let amount = |key: &str| {
        call.text(key).map(|t| t.parse::<f64>().map_err(|_| format!("argument '{key}' must be a number, not `{t}`")))
    };
    let (minutes, seconds) = (amount("minutes").transpose()?, amount("seconds").transpose()?);
    // Less than a second is a second.
    let wait = match (minutes, seconds) {
        (Some(m), _) => Some((m * 60.0).max(1.0)),
        (_, Some(s)) => Some(s.max(1.0)),
        (None, None) => None,
    };
    let unit = if seconds.is_some() { "seconds" } else { "minutes" };
    let echo = call.yes("echo")? != Some(false);
    // A plan does not wait.
    let idle = call.check && call.diff;
    Ok(Decision::Drive(Box::new(move |remote| {
        Box::pin(async move {
            let begun = std::time::Instant::now();
            let start = super::clock::now();
            if let Some(wait) = wait.filter(|_| !idle) {
                remote.cx().sleep(crate::PLAYBOOK, "pause", Duration::from_secs_f64(wait)).await?;
            }
            let passed = begun.elapsed().as_secs_f64();
            let shown = if unit == "minutes" { passed / 60.0 } else { passed };
            let shown = (shown * 100.0).round() / 100.0;
            Ok(Ok(Decision::Done(fields([
                ("changed", json!(false)),
                ("rc", json!(0)),
                ("stderr", json!("")),
                ("stdout", json!(format!("Paused for {shown:?} {unit}"))),
                ("start", json!(start)),
                ("stop", json!(super::clock::now())),
                ("delta", json!(passed as i64)),
                ("echo", json!(echo)),
                ("user_input", json!("")),
            ]))))
        })
    })))
}
