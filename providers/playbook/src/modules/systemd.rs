//! `systemd_service`, `systemd`: units.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields};

/// `systemd_service`, `systemd`.
pub(super) const MODULE: Module = Module {
    names: &["systemd_service", "systemd"],
    rules: Rules { required_by: &[("state", &["name"]), ("enabled", &["name"]), ("masked", &["name"])], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare: |call| Ok(start(Want::of(call)?)),
};

/// What a task asks of a unit.
#[derive(Default)]
pub(super) struct Want {
    pub(super) name: Option<String>,
    pub(super) state: Option<String>,
    pub(super) enabled: Option<bool>,
    masked: Option<bool>,
    reload: bool,
    reexec: bool,
    scope: Option<String>,
    flags: String,
}

impl Want {
    fn of(call: &Call) -> Result<Self, String> {
        let mut flags = String::new();
        for (option, flag) in [("no_block", " --no-block"), ("force", " --force")] {
            if call.yes(option)? == Some(true) {
                flags.push_str(flag);
            }
        }
        Ok(Self {
            name: call.text("name"),
            state: call.text("state"),
            enabled: call.yes("enabled")?,
            masked: call.yes("masked")?,
            reload: call.yes("daemon_reload")? == Some(true),
            reexec: call.yes("daemon_reexec")? == Some(true),
            scope: call.text("scope").filter(|s| s != "system"),
            flags,
        })
    }
}

/// `systemctl show`, as a map; a value may go over several lines between braces.
pub(super) fn properties(text: &str) -> Fields {
    let mut all = Fields::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        if let Some((key, mut value)) = open.take() {
            value.push('\n');
            value.push_str(line);
            if line.trim_end().ends_with('}') {
                all.insert(key, value.into());
            } else {
                open = Some((key, value));
            }
        } else if let Some((key, value)) = line.split_once('=') {
            if key.starts_with("Exec") && value.starts_with('{') && !value.trim_end().ends_with('}') {
                open = Some((key.to_owned(), value.to_owned()));
            } else {
                all.insert(key.to_owned(), value.into());
            }
        }
    }
    all
}

fn failed(msg: String) -> Decided {
    Err(msg)
}

/// Looks at the unit, then changes what differs.
pub(super) fn start(want: Want) -> Decision {
    if let Some((name, c)) =
        want.name.as_ref().and_then(|n| Some((n, n.chars().find(|c| matches!(c, '*' | '?' | '['))?)))
    {
        let msg =
            format!("This module does not currently support using glob patterns, found '{c}' in service name: {name}");
        return Decision::Done(fields([("failed", json!(true)), ("msg", json!(msg))]));
    }
    let scope = want.scope.as_ref().map(|s| format!(" --{s}")).unwrap_or_default();
    let mut script = "tp_n=\n".to_owned();
    if let Some(name) = &want.name {
        script = format!("tp_n={}\n", shell_quote(name));
    }
    script.push_str(
        "command -v systemctl >/dev/null 2>&1 || { echo 'Failed to find required executable \"systemctl\" in paths: '\"$PATH\" >&2; exit 127; }\n",
    );
    if want.scope.is_some() {
        script.push_str(&format!(
            "export XDG_RUNTIME_DIR=\"${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}\"\nsystemctl{scope} >/dev/null || exit\n"
        ));
    }
    if want.name.is_some() {
        script.push_str(&format!("systemctl{scope} show -- \"$tp_n\"\n"));
    }
    Decision::Probe(script, Box::new(move |out| decide(want, &scope, &out)))
}

fn decide(want: Want, scope: &str, out: &Output) -> Decided {
    let seen = properties(&out.text());
    if out.rc != 0 && seen.is_empty() {
        let said = out.error_text();
        let msg = said.trim().to_owned();
        let mut all = fields([("failed", json!(true)), ("msg", json!(msg))]);
        if out.rc != 127 {
            all.extend(fields([
                ("rc", json!(out.rc)),
                ("cmd", json!(format!("/usr/bin/systemctl{scope}"))),
                ("stdout", json!("")),
                ("stderr", json!(said)),
                ("stdout_lines", json!([])),
                ("stderr_lines", json!(said.lines().collect::<Vec<_>>())),
            ]));
        }
        return Ok(Decision::Done(all));
    }
    let get = |k: &str| seen.get(k).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (load, active, file) = (get("LoadState"), get("ActiveState"), get("UnitFileState"));
    let name = want.name.clone().unwrap_or_default();
    if want.name.is_some() && load == "not-found" && (want.state.is_some() || want.enabled.is_some()) {
        return failed(format!("Could not find the requested service {name}: host"));
    }
    let masked = load == "masked" || file.starts_with("masked");
    let enabled = matches!(
        file.as_str(),
        "enabled" | "enabled-runtime" | "static" | "indirect" | "generated" | "alias" | "transient"
    );
    let up = matches!(active.as_str(), "active" | "activating");
    let ctl = format!("systemctl{scope}{}", want.flags);
    let mut script = format!("tp_n={}\n", shell_quote(&name));
    if !scope.is_empty() {
        script.push_str("export XDG_RUNTIME_DIR=\"${XDG_RUNTIME_DIR:-/run/user/$(id -u)}\"\n");
    }
    let mut steps = 0;
    // Each step tells by its number which one failed.
    let mut step = |command: &str| {
        steps += 1;
        script.push_str(&format!("{command} || {{ echo 'step {steps}'; exit 1; }}\n"));
    };
    let mut names: Vec<String> = Vec::new();
    if want.reload {
        step(&format!("{ctl} daemon-reload >/dev/null"));
        names.push("failure 1 during daemon-reload: ".into());
    }
    if want.reexec {
        step(&format!("{ctl} daemon-reexec >/dev/null"));
        names.push("failure 1 during daemon-reexec: ".into());
    }
    let mut changed = false;
    if let Some(mask) = want.masked.filter(|m| *m != masked) {
        changed = true;
        let verb = if mask { "mask" } else { "unmask" };
        step(&format!("{ctl} {verb} -- \"$tp_n\" >/dev/null"));
        names.push(format!("Failed to {verb} the service ({name}): "));
    }
    if let Some(enable) = want.enabled.filter(|e| *e != enabled) {
        changed = true;
        let verb = if enable { "enable" } else { "disable" };
        step(&format!("{ctl} {verb} -- \"$tp_n\" >/dev/null"));
        names.push(format!("Unable to {verb} service {name}: "));
    }
    let verb = match want.state.as_deref() {
        Some("started") if !up => Some("start"),
        Some("stopped") if up || active == "deactivating" => Some("stop"),
        Some("restarted") => Some(if up { "restart" } else { "start" }),
        Some("reloaded") => Some(if up { "reload" } else { "start" }),
        _ => None,
    };
    if let Some(verb) = verb {
        changed = true;
        step(&format!("{ctl} {verb} -- \"$tp_n\" >/dev/null"));
        names.push(format!("Unable to {verb} service {name}: "));
    }
    let mut result = fields([("name", json!(want.name)), ("changed", json!(changed)), ("status", Json::Object(seen))]);
    result.extend(want.enabled.map(|e| ("enabled".to_owned(), json!(e))));
    result.extend(want.state.as_ref().map(|s| ("state".to_owned(), json!(if s == "stopped" { s } else { "started" }))));
    if names.is_empty() {
        return Ok(Decision::Done(result));
    }
    let now = json!({ "state": active, "enabled": enabled, "masked": masked });
    let then = json!({ "state": want.state, "enabled": want.enabled.unwrap_or(enabled), "masked": want.masked.unwrap_or(masked) });
    Ok(Decision::Change(Pending {
        script,
        action: Action::Update,
        subject: if name.is_empty() { "systemd".to_owned() } else { format!("service {name}") },
        path: None,
        before: want.name.as_ref().map(|_| now),
        after: want.name.as_ref().map(|_| then),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: Box::new(move |out: Output| {
            if out.rc == 0 {
                return result;
            }
            let text = out.text();
            let at = text.lines().rev().find_map(|l| l.strip_prefix("step ")?.parse::<usize>().ok()).unwrap_or(1);
            let what = names.get(at - 1).cloned().unwrap_or_default();
            let said = out.error_text();
            let said = if what.contains("mask the service") { said.trim().to_owned() } else { said };
            fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(format!("{what}{said}")))])
        }),
    }))
}

/// A unit by name and nothing else, for `service`.
pub(super) fn simple(name: String, state: Option<String>, enabled: Option<bool>) -> Want {
    Want { name: Some(name), state, enabled, ..Want::default() }
}
