//! `service`, `systemd`: systemd where it runs, else init scripts.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `service`.
pub(super) const SERVICE: Module = Module {
    names: &["service"],
    rules: Rules::NONE,
    missing: &["arguments", "pattern", "runlevel", "sleep", "use"],
    place: Place::Host,
    prepare,
};

/// `systemd_service`, `systemd`.
pub(super) const SYSTEMD: Module = Module {
    names: &["systemd_service", "systemd"],
    rules: Rules::NONE,
    missing: &["daemon_reexec", "force", "masked", "no_block", "scope"],
    place: Place::Host,
    prepare,
};

/// `sysvinit`.
pub(super) const SYSVINIT: Module = Module {
    names: &["sysvinit"],
    rules: Rules::NONE,
    missing: &["arguments", "daemonize", "pattern", "runlevels", "sleep"],
    place: Place::Host,
    prepare,
};

fn prepare(call: &Call) -> Result<Decision, String> {
    let reload = call.yes("daemon_reload")?.or(call.yes("daemon-reload")?).unwrap_or(false);
    let name = call.any(&["name", "service", "unit"]);
    let state = call.text("state");
    let enabled = call.yes("enabled")?;
    let Some(name) = name else {
        if reload {
            return Ok(Decision::Change(change(
                "systemctl daemon-reload\n".into(),
                "systemd",
                fields([("changed", json!(false))]),
                None,
                None,
            )));
        }
        return Err("missing required argument: name".into());
    };
    if let Some(s) = &state {
        if !["started", "stopped", "restarted", "reloaded"].contains(&s.as_str()) {
            return Err(format!("value of state must be one of reloaded, restarted, started, stopped, got: {s}"));
        }
    }
    let n = shell_quote(&name);
    let base = shell_quote(name.trim_end_matches(".service"));
    let script = format!(
        "n={n}; b={base}\nPATH=$PATH:/usr/sbin:/sbin\n\
         if [ -d /run/systemd/system ]; then echo init=systemd\n\
         systemctl cat -- \"$n\" >/dev/null 2>&1 && echo there=1\n\
         systemctl is-active --quiet -- \"$n\" && echo active=1\n\
         systemctl is-enabled --quiet -- \"$n\" 2>/dev/null && echo enabled=1\n\
         else echo init=sysv\n\
         if [ -x \"/etc/init.d/$b\" ]; then echo there=1; \"/etc/init.d/$b\" status >/dev/null 2>&1 </dev/null && echo active=1; fi\n\
         for f in /etc/rc[2345].d/S[0-9][0-9]\"$b\"; do [ -e \"$f\" ] && echo enabled=1 && break; done\n\
         fi\nexit 0\n"
    );
    let prefix = format!("n={n}; b={base}\nPATH=$PATH:/usr/sbin:/sbin\nset -e\n");
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, _) = head(&Output { stdout: [out.stdout.as_slice(), b"\n"].concat(), ..out });
            let is = |k: &str| seen.get(k).is_some_and(|v| v == "1");
            let systemd = seen.get("init").is_some_and(|v| v == "systemd");
            if !is("there") {
                return Err(format!("Could not find the requested service {name}: host"));
            }
            let mut todo = Vec::new();
            if reload && systemd {
                todo.push("systemctl daemon-reload\n".to_owned());
            }
            let mut changed = false;
            if let Some(want) = enabled.filter(|w| *w != is("enabled")) {
                changed = true;
                let verb = if want { "enable" } else { "disable" };
                todo.push(if systemd {
                    format!("systemctl {verb} -- \"$n\"\n")
                } else if want {
                    "update-rc.d \"$b\" defaults >/dev/null && update-rc.d \"$b\" enable >/dev/null\n".to_owned()
                } else {
                    "update-rc.d \"$b\" disable >/dev/null\n".to_owned()
                });
            }
            let active = is("active");
            let verb = match state.as_deref() {
                Some("started") if !active => Some("start"),
                Some("stopped") if active => Some("stop"),
                Some("restarted") => Some("restart"),
                Some("reloaded") if active => Some("reload"),
                Some("reloaded") => Some("start"),
                _ => None,
            };
            if let Some(verb) = verb {
                changed = true;
                todo.push(if systemd {
                    format!("systemctl {verb} -- \"$n\"\n")
                } else {
                    format!("\"/etc/init.d/$b\" {verb}\n")
                });
            }
            let mut result = fields([("changed", json!(changed)), ("name", json!(name))]);
            result.extend(state.as_ref().map(|s| {
                ("state".to_owned(), json!(if matches!(s.as_str(), "restarted" | "reloaded") { "started" } else { s }))
            }));
            result.extend(enabled.map(|e| ("enabled".to_owned(), json!(e))));
            if todo.is_empty() {
                return Ok(Decision::Done(result));
            }
            let now = json!({ "state": if active { "started" } else { "stopped" }, "enabled": is("enabled") });
            let then = json!({ "state": state, "enabled": enabled.unwrap_or(is("enabled")) });
            Ok(Decision::Change(change(
                format!("{prefix}{}", todo.concat()),
                &format!("service {name}"),
                result,
                Some(now),
                Some(then),
            )))
        }),
    ))
}

fn change(script: String, subject: &str, result: Fields, before: Option<Json>, after: Option<Json>) -> Pending {
    Pending {
        script,
        action: Action::Update,
        subject: subject.to_owned(),
        path: None,
        before,
        after,
        certain: true,
        // A daemon that an init script starts holds the script's output.
        foreign: true,
        expected: result.clone(),
        finish: Box::new(move |out: Output| {
            let mut all = result;
            if out.rc != 0 {
                all.insert("changed".into(), false.into());
                all.insert("failed".into(), true.into());
                all.insert("rc".into(), out.rc.into());
                let text = if out.stderr.is_empty() { out.text() } else { out.error_text() };
                all.insert("msg".into(), text.trim().to_owned().into());
            }
            all
        }),
    }
}
