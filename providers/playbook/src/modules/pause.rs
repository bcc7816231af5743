//! `pause`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields};

/// `pause` for a time, or without one where nobody is to be asked: then it goes on at once, as Ansible does without a terminal.
pub(super) const MODULE: Module = Module {
    names: &["pause"],
    rules: Rules { mutually_exclusive: &[&["minutes", "seconds"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// A pause that has begun.
pub(crate) struct Begun {
    at: Instant,
    start: String,
    minutes: bool,
    echo: bool,
}

impl Begun {
    /// Begins one now. `minutes`: in which unit its length is told; `echo`: whether an answer may be seen.
    pub(crate) fn now(minutes: bool, echo: bool) -> Self {
        Self { at: Instant::now(), start: super::clock::now(), minutes, echo }
    }

    /// Its result, with what was answered.
    pub(crate) fn over(self, answer: &str) -> Fields {
        let passed = self.at.elapsed().as_secs_f64();
        let (shown, unit) = if self.minutes { (passed / 60.0, "minutes") } else { (passed, "seconds") };
        let shown = (shown * 100.0).round() / 100.0;
        fields([
            ("changed", json!(false)),
            ("rc", json!(0)),
            ("stderr", json!("")),
            ("stdout", json!(format!("Paused for {shown:?} {unit}"))),
            ("start", json!(self.start)),
            ("stop", json!(super::clock::now())),
            ("delta", json!(passed as i64)),
            ("echo", json!(self.echo)),
            ("user_input", json!(answer)),
        ])
    }
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
    let minutes = seconds.is_none();
    let echo = call.yes("echo")? != Some(false);
    // A plan does not wait.
    let idle = call.check && call.diff;
    Ok(Decision::Drive(Box::new(move |remote| {
        Box::pin(async move {
            let begun = Begun::now(minutes, echo);
            if let Some(wait) = wait.filter(|_| !idle) {
                remote.cx().sleep(crate::PLAYBOOK, "pause", Duration::from_secs_f64(wait)).await?;
            }
            Ok(Ok(Decision::Done(begun.over(""))))
        })
    })))
}
