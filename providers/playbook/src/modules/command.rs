//! `command`, `shell` and `raw`.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::spec::Rules;
use super::{Call, Decision, Module, Output, Pending, Place, fields};
use crate::load::split_words;

/// `command`.
pub(super) const COMMAND: Module = Module {
    names: &["command"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// `shell`.
pub(super) const SHELL: Module =
    Module { names: &["shell"], rules: Rules { free: true, ..Rules::NONE }, missing: &[], place: Place::Host, prepare };

/// `raw`.
pub(super) const RAW: Module =
    Module { names: &["raw"], rules: Rules { free: true, ..Rules::NONE }, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    let strip = call.yes("strip_empty_ends")?.unwrap_or(true);
    let argv = match call.list("argv") {
        Some(argv) => Some(argv),
        None if call.action == "command" => Some(split_words(&call.any(&["_raw_params", "cmd"]).unwrap_or_default())),
        None => None,
    };
    let line = call.any(&["_raw_params", "cmd"]).unwrap_or_default();
    if argv.as_ref().map_or(line.trim().is_empty(), Vec::is_empty) {
        return Err("no command given".into());
    }
    let shown = argv.clone().map_or_else(|| json!(line), |a| json!(a));
    let mut script = String::new();
    let cd = call.text("chdir").map(|d| format!("cd {} || exit 1\n", shell_quote(&d))).unwrap_or_default();
    script.push_str(&cd);
    for (k, v) in &call.env {
        script.push_str(&format!("export {k}={}\n", shell_quote(v)));
    }
    let run = match &argv {
        Some(argv) => argv.iter().map(|a| shell_quote(a)).collect::<Vec<_>>().join(" "),
        None => {
            let shell = call.text("executable").unwrap_or_else(|| "/bin/sh".into());
            format!("{} -c {}", shell_quote(&shell), shell_quote(&line))
        }
    };
    // `env` keeps a command's name from being one of the shell's own words.
    let run = if argv.is_some() { format!("env -- {run}") } else { run };
    match call.text("stdin") {
        Some(text) => {
            let newline = if call.yes("stdin_add_newline")?.unwrap_or(true) { "\n" } else { "" };
            script.push_str(&format!("{} | {run}\n", super::content::print(format!("{text}{newline}").as_bytes())));
        }
        None => script.push_str(&format!("{run}\n")),
    }
    let subject = if line.is_empty() { "command".to_owned() } else { format!("command {}", short(&line)) };
    let pending = move |shown: towpath_core::Json| Pending {
        script,
        action: Action::Run,
        subject,
        path: None,
        before: None,
        after: None,
        certain: false,
        foreign: true,
        expected: fields([("changed", json!(true)), ("cmd", shown.clone())]),
        finish: Box::new(move |out: Output| {
            let tidy = |s: String| if strip { s.trim_end_matches(['\r', '\n']).to_owned() } else { s };
            let (stdout, stderr) = (tidy(out.text()), tidy(out.error_text()));
            let lines = |s: &str| json!(s.lines().collect::<Vec<_>>());
            let mut all = fields([
                ("changed", json!(true)),
                ("cmd", shown),
                ("rc", json!(out.rc)),
                ("stdout_lines", lines(&stdout)),
                ("stderr_lines", lines(&stderr)),
                ("stdout", json!(stdout)),
                ("stderr", json!(stderr)),
            ]);
            if out.rc != 0 {
                all.insert("failed".into(), true.into());
                all.insert("msg".into(), "non-zero return code".into());
            }
            all
        }),
    };
    let (creates, removes) = (call.text("creates"), call.text("removes"));
    if creates.is_none() && removes.is_none() {
        return Ok(Decision::Change(pending(shown)));
    }
    // Both are shell patterns.
    let glob = |p: &str| {
        p.chars()
            .map(|c| if "*?[]".contains(c) { c.to_string() } else { shell_quote(&c.to_string()) })
            .collect::<String>()
    };
    let mut probe = cd;
    if let Some(c) = &creates {
        probe.push_str(&format!("for f in {}; do if [ -e \"$f\" ]; then echo creates; exit; fi; done\n", glob(c)));
    }
    if let Some(r) = &removes {
        probe.push_str(&format!("for f in {}; do if [ -e \"$f\" ]; then exit; fi; done\necho removes\n", glob(r)));
    }
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let said = match out.text().trim() {
                "creates" => format!("skipped, since {} exists", creates.unwrap_or_default()),
                "removes" => format!("skipped, since {} does not exist", removes.unwrap_or_default()),
                _ => return Ok(Decision::Change(pending(shown))),
            };
            Ok(Decision::Done(fields([
                ("changed", json!(false)),
                ("cmd", shown),
                ("rc", json!(0)),
                ("stdout", json!(said)),
                ("stderr", json!("")),
                ("stdout_lines", json!([said])),
                ("stderr_lines", json!([])),
            ])))
        }),
    ))
}

fn short(line: &str) -> String {
    let line = line.lines().next().unwrap_or_default();
    if line.chars().count() > 80 { line.chars().take(77).chain("...".chars()).collect() } else { line.to_owned() }
}
