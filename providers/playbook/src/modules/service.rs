//! `service`: units where systemd runs, else init scripts or OpenRC.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head, systemd, sysvinit};

/// `service`.
pub(super) const MODULE: Module =
    Module { names: &["service"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// Which manager is there, as the fact `service_mgr` tells it for this purpose.
const MANAGER: &str = "tp_c=; read -r tp_c </proc/1/comm 2>/dev/null\n\
    if [ -d /run/systemd/system ]; then echo mgr=systemd\n\
    elif [ -e /sbin/openrc ]; then echo mgr=openrc\n\
    else case $tp_c in init|*sh) if [ -h /sbin/init ] && [ /sbin/init -ef /lib/systemd/systemd ]; then echo mgr=systemd; elif [ -d /etc/init.d ]; then echo mgr=sysvinit; fi;; esac; fi\n";

fn prepare(call: &Call) -> Decided {
    let sleep = call.text("sleep").and_then(|s| s.parse().ok()).unwrap_or(1);
    let want = sysvinit::Want {
        name: call.need("name")?,
        state: call.text("state"),
        enabled: call.yes("enabled")?,
        runlevels: None,
        arguments: call.text("arguments").unwrap_or_default(),
        pattern: call.text("pattern"),
        sleep,
        daemonize: false,
    };
    let runlevel = call.text("runlevel").unwrap_or_else(|| "default".into());
    let using = call.text("use").unwrap_or_else(|| "auto".into());
    match using.as_str() {
        "systemd" => return Ok(systemd::start(systemd::simple(want.name, want.state, want.enabled))),
        "sysvinit" => return sysvinit::begin(want),
        _ => {}
    }
    let script = format!("{MANAGER}echo\nexit 0\n");
    let check = call.check;
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, _) = head(&out);
            let manager = seen.get("mgr").cloned().unwrap_or_default();
            match manager.as_str() {
                "systemd" if using == "auto" => {
                    Ok(systemd::start(systemd::simple(want.name, want.state, want.enabled)))
                }
                "sysvinit" if using == "auto" => sysvinit::begin(want),
                _ => plain(want, manager, runlevel, check),
            }
        }),
    ))
}

/// `service` by itself: with a result of its own.
fn plain(want: sysvinit::Want, manager: String, runlevel: String, check: bool) -> Decided {
    if want.state.is_none() && want.enabled.is_none() {
        return Err("one of the following is required: state, enabled".into());
    }
    let n = shell_quote(&want.name);
    let look = match manager.as_str() {
        "systemd" => format!(
            "tp_n={n}\nsystemctl cat -- \"$tp_n\" >/dev/null 2>&1 && echo there=1\nsystemctl is-active --quiet -- \"$tp_n\" && echo up=1\n\
             systemctl is-enabled --quiet -- \"$tp_n\" 2>/dev/null && echo on_2=1\necho\nexit 0\n"
        ),
        "openrc" => format!(
            "tp_n={n}\n[ -e \"/etc/init.d/$tp_n\" ] && echo there=1\nrc-service \"$tp_n\" status >/dev/null 2>&1 && echo up=1\n\
             [ -e \"/etc/runlevels/\"{}\"/$tp_n\" ] && echo on_2=1\necho\nexit 0\n",
            shell_quote(&runlevel)
        ),
        _ => sysvinit::look(&want, true),
    };
    Ok(Decision::Probe(look, Box::new(move |out| decide(&want, &manager, &runlevel, check, &out))))
}

fn decide(want: &sysvinit::Want, manager: &str, runlevel: &str, check: bool, out: &Output) -> Decided {
    let (seen, _) = head(out);
    if !seen.contains_key("there") {
        return Err(format!("Could not find the requested service {}: host", want.name));
    }
    let up = seen.get("up").is_some_and(|u| u == "1");
    let boots = seen.keys().any(|k| k.starts_with("on_"));
    let args = sysvinit::words(&want.arguments);
    let run = |verb: &str| match manager {
        "systemd" => format!("systemctl {verb} -- \"$tp_n\""),
        "openrc" => format!("rc-service \"$tp_n\" {verb}{args}"),
        _ => format!("\"/etc/init.d/$tp_n\" {verb}{args}"),
    };
    let switch = want.enabled.filter(|e| *e != boots);
    let verb = match want.state.as_deref() {
        Some("started") if !up => Some(run("start")),
        Some("stopped") if up => Some(run("stop")),
        Some("restarted") if manager == "systemd" => Some(run("restart")),
        Some("restarted") => Some(format!("{{ {}; }}; sleep {} && {}", run("stop"), want.sleep, run("start"))),
        Some("reloaded") if !up => Some(run("start")),
        Some("reloaded") => Some(run("reload")),
        _ => None,
    };
    let changed = switch.is_some() || verb.is_some();
    let mut result = fields([("name", json!(want.name)), ("changed", json!(changed))]);
    result.extend(want.enabled.map(|e| ("enabled".to_owned(), json!(e))));
    result.extend(
        want.state.as_ref().map(|s| ("state".to_owned(), json!(if s == "stopped" { s.as_str() } else { "started" }))),
    );
    if !changed {
        return Ok(Decision::Done(result));
    }
    let mut script = format!("tp_n={}\nPATH=$PATH:/usr/sbin:/sbin\n", shell_quote(&want.name));
    if let Some(on) = switch {
        let command = match manager {
            "systemd" => format!("systemctl {} -- \"$tp_n\"", if on { "enable" } else { "disable" }),
            "openrc" => {
                format!("rc-update {} \"$tp_n\" {}", if on { "add" } else { "del" }, shell_quote(runlevel))
            }
            _ => sysvinit::enable(on, &[], true),
        };
        script.push_str(&format!("{{ {command}\n}} >/dev/null || exit\n"));
    }
    script.extend(verb.map(|v| format!("{v} || exit\n")));
    let expected: Fields = if check && want.state.is_some() && switch.is_none() {
        fields([("changed", json!(true)), ("msg", json!("service state changed"))])
    } else {
        result.clone()
    };
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
            if out.rc == 0 {
                return result;
            }
            let text = if out.stderr.is_empty() { out.text() } else { out.error_text() };
            fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(text))])
        }),
    }))
}
