//! `sysvinit`: init scripts.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `sysvinit`.
pub(super) const MODULE: Module = Module {
    names: &["sysvinit"],
    rules: Rules { required_one_of: &[&["state", "enabled"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare: |call| begin(Want::of(call)?),
};

/// What a task asks of an init script.
pub(super) struct Want {
    pub(super) name: String,
    pub(super) state: Option<String>,
    pub(super) enabled: Option<bool>,
    pub(super) runlevels: Option<Vec<String>>,
    pub(super) arguments: String,
    pub(super) pattern: Option<String>,
    pub(super) sleep: i64,
    pub(super) daemonize: bool,
}

impl Want {
    fn of(call: &Call) -> Result<Self, String> {
        Ok(Self {
            name: call.need("name")?,
            state: call.text("state"),
            enabled: call.yes("enabled")?,
            runlevels: call.list("runlevels"),
            arguments: call.text("arguments").unwrap_or_default(),
            pattern: call.text("pattern"),
            sleep: call.text("sleep").and_then(|s| s.parse().ok()).unwrap_or(1),
            daemonize: call.yes("daemonize")? == Some(true),
        })
    }
}

/// Words of a text, each quoted for the shell.
pub(super) fn words(text: &str) -> String {
    text.split_whitespace().map(|w| format!(" {}", shell_quote(w))).collect()
}

/// Script that tells `there`, `up` (`1`, `0` or nothing where it can't be told) and the runlevels in which it starts.
pub(super) fn look(want: &Want, arguments: bool) -> String {
    let status = match &want.pattern {
        // The own shell has the pattern in its script, not in its arguments.
        Some(pattern) => format!(
            "tp_up=0; tp_l=$(ps -ef 2>/dev/null || ps); case $tp_l in *{}*) tp_up=1;; esac; echo up=$tp_up; echo asked=ps\n",
            shell_quote(pattern)
        ),
        None => format!(
            "tp_o=$(\"/etc/init.d/$tp_n\" status{} 2>&1 </dev/null); tp_r=$?\n\
             case $tp_o in *'not running'*|*stopped*|*'is dead'*|*inactive*) echo up=0;; *running*|*started*|*' active'*) echo up=1;;\n\
             *) case $tp_r in 0) echo up=1;; 1|2|3) echo up=0;; *) echo up=;; esac;; esac\n",
            if arguments { words(&want.arguments) } else { String::new() }
        ),
    };
    format!(
        "tp_n={}\nPATH=$PATH:/usr/sbin:/sbin\nif [ -e \"/etc/init.d/$tp_n\" ]; then echo there=1\n{status}\
         for f in /etc/rc[0-6S].d/S[0-9][0-9]\"$tp_n\" /etc/rc.d/rc[0-6].d/S[0-9][0-9]\"$tp_n\"; do [ -e \"$f\" ] || continue; \
         l=${{f%.d/*}}; echo \"on_${{l##*rc}}=1\"; done\nfi\necho\nexit 0\n",
        shell_quote(&want.name)
    )
}

/// Commands that make it start at boot, or not. Runlevels are told to what takes them. `whole`: also a script that was
/// disabled before, which `sysvinit` itself, as Ansible's, does not enable again unless it is told runlevels.
pub(super) fn enable(on: bool, runlevels: &[String], whole: bool) -> String {
    let levels = words(&runlevels.join(" "));
    let verb = if on { "enable" } else { "disable" };
    let flag = if on { "on" } else { "off" };
    let level =
        if runlevels.is_empty() { String::new() } else { format!(" --levels {}", shell_quote(&runlevels.concat())) };
    let debian = match (on, whole, runlevels.is_empty()) {
        (true, false, true) => "update-rc.d \"$tp_n\" defaults".to_owned(),
        (_, false, _) => format!("update-rc.d \"$tp_n\" {verb}{levels}"),
        (_, true, _) => {
            format!("update-rc.d \"$tp_n\" defaults >/dev/null && update-rc.d \"$tp_n\" {verb}{levels}")
        }
    };
    format!(
        "if command -v update-rc.d >/dev/null 2>&1; then {debian}\n\
         elif command -v chkconfig >/dev/null 2>&1; then chkconfig --add \"$tp_n\" && chkconfig{level} \"$tp_n\" {flag}\n\
         else echo 'no tool that enables init scripts: neither update-rc.d nor chkconfig' >&2; false; fi"
    )
}

/// Looks at the script, then changes what differs.
pub(super) fn begin(want: Want) -> Decided {
    Ok(Decision::Probe(look(&want, false), Box::new(move |out| decide(want, &out))))
}

fn nothing() -> Fields {
    fields([("changed", json!(false)), ("rc", Json::Null), ("stdout", Json::Null), ("stderr", Json::Null)])
}

fn decide(want: Want, out: &Output) -> Decided {
    let (seen, _) = head(out);
    if !seen.contains_key("there") {
        return Err(format!("Could not find the requested service {}: ", want.name));
    }
    let levels = want.runlevels.clone().unwrap_or_default();
    let boots = if levels.is_empty() {
        seen.keys().any(|k| k.starts_with("on_"))
    } else {
        levels.iter().all(|l| seen.contains_key(&format!("on_{l}")))
    };
    let up = seen.get("up").is_some_and(|u| u == "1");
    let mut warnings = Vec::new();
    if seen.get("up").is_none_or(String::is_empty) || (seen.contains_key("asked") && !up) {
        warnings.push("Unable to determine if service is up, assuming it is down");
    }
    let n = format!("tp_n={}\nPATH=$PATH:/usr/sbin:/sbin\n", shell_quote(&want.name));
    let args = words(&want.arguments);
    // A daemon of its own session, with no descriptor of ours.
    let run = |verb: &str| match want.daemonize {
        true => format!("( setsid \"/etc/init.d/$tp_n\" {verb}{args} ) </dev/null"),
        false => format!("\"/etc/init.d/$tp_n\" {verb}{args}"),
    };
    let switch = want.enabled.filter(|e| *e != boots);
    let verb = match want.state.as_deref() {
        Some("started") if !up => Some(run("start")),
        Some("stopped") if up => Some(run("stop")),
        Some("restarted") => Some(format!("{{ {}; }} && sleep {} && {{ {}; }}", run("stop"), want.sleep, run("start"))),
        Some("reloaded") => Some(run("reload")),
        _ => None,
    };
    let changed = switch.is_some() || verb.is_some();
    let mut of_enabled = nothing();
    if switch.is_some() {
        of_enabled.insert("changed".into(), json!(true));
    }
    if want.enabled.is_some() && !levels.is_empty() {
        of_enabled.insert("runlevels".into(), json!(levels));
    }
    let mut of_state = nothing();
    if verb.is_some() {
        of_state.insert("changed".into(), json!(true));
    }
    let key = want.state.clone().unwrap_or_else(|| "null".into());
    let name = want.name.clone();
    let make = move |of_enabled: Fields, of_state: Fields| {
        let mut status = fields([("enabled", Json::Object(of_enabled))]);
        status.insert(key.clone(), of_state.into());
        let mut all = fields([("name", json!(name)), ("changed", json!(changed)), ("status", Json::Object(status))]);
        if !warnings.is_empty() {
            all.insert("warnings".into(), json!(warnings));
        }
        all
    };
    let expected = make(of_enabled.clone(), of_state.clone());
    if !changed {
        return Ok(Decision::Done(expected));
    }
    let mut script = n;
    if let Some(on) = switch {
        script.push_str(&format!("{} || exit 91\n", enable(on, &levels, false)));
    }
    // What is before the mark belongs to enabling.
    script.push_str("printf '\\001'; printf '\\001' >&2\n");
    if let Some(verb) = &verb {
        script.push_str(&format!("{verb} || exit 92\n"));
    }
    let (did_switch, did_state) = (switch.is_some(), verb.is_some());
    Ok(Decision::Change(Pending {
        script,
        action: Action::Update,
        subject: format!("service {}", want.name),
        path: None,
        before: Some(json!({ "up": up, "enabled": boots })),
        after: Some(json!({ "state": want.state, "enabled": want.enabled })),
        certain: true,
        // A daemon that an init script starts holds the script's output.
        foreign: true,
        expected,
        finish: Box::new(move |out: Output| {
            let (stdout, stderr) = (out.text(), out.error_text());
            let (a, b) = stdout.split_once('\u{1}').unwrap_or((stdout.as_str(), ""));
            let (c, d) = stderr.split_once('\u{1}').unwrap_or((stderr.as_str(), ""));
            if out.rc != 0 {
                let msg = format!("{}{}", d.trim(), b.trim());
                let msg = if msg.is_empty() { format!("{}{}", c.trim(), a.trim()) } else { msg };
                return fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(msg))]);
            }
            let fill = |mut of: Fields, did: bool, out: &str, err: &str| {
                if did {
                    of.extend(fields([("rc", json!(0)), ("stdout", json!(out)), ("stderr", json!(err))]));
                }
                of
            };
            make(fill(of_enabled, did_switch, a, c), fill(of_state, did_state, b, d))
        }),
    }))
}
