//! `group`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::steps::{PATHS, Steps, failed, lines, no_program};
use super::{Call, Decision, Fields, Module, Pending, Place, fields};

/// `group`.
pub(super) const MODULE: Module = Module {
    names: &["group"],
    rules: Rules { required_if: &[("non_unique", "True", &["gid"], false)], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

struct Want {
    name: String,
    absent: bool,
    gid: Option<String>,
    system: bool,
    local: bool,
    force: bool,
    non_unique: bool,
    min: Option<String>,
    max: Option<String>,
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let yes = |k: &str| Ok::<_, String>(call.yes(k)?.unwrap_or(false));
    let want = Want {
        name: call.need("name")?,
        absent: call.text("state").as_deref() == Some("absent"),
        gid: call.text("gid"),
        system: yes("system")?,
        local: yes("local")?,
        force: yes("force")?,
        non_unique: yes("non_unique")?,
        min: call.text("gid_min"),
        max: call.text("gid_max"),
    };
    if want.local {
        if want.force {
            return Err(
                "force is not a valid option for local, force=True and local=True are mutually exclusive".into()
            );
        }
        if let Some(key) = ["gid_min", "gid_max"].iter().find(|k| call.text(k).is_some()) {
            return Err(format!("'{key}' can not be used with 'local'"));
        }
    }
    let same_id = match &want.gid {
        Some(g) if want.local => {
            format!("awk -F: -v g={} '$3 == g {{ print \"taken=\" $1; exit }}' /etc/group\n", shell_quote(g))
        }
        _ => String::new(),
    };
    let probe = format!(
        "{PATHS}{}{same_id}echo \"path=$PATH\"\n\
         for t in groupadd lgroupadd lgroupmod lgroupdel; do command -v $t >/dev/null && echo $t=1; done\nexit 0\n",
        look(&want.name),
    );
    let check = call.check;
    Ok(Decision::Probe(probe, Box::new(move |out| decide(want, &lines(out.stdout), check))))
}

/// Prints `gid=`, nothing if there is no such group.
fn look(name: &str) -> String {
    let n = shell_quote(name);
    format!(
        "if command -v getent >/dev/null; then l=$(getent group {n}); else l=$(grep {} /etc/group); fi\n\
         if [ -n \"$l\" ]; then l=${{l#*:}}; l=${{l#*:}}; echo \"gid=${{l%%:*}}\"; fi\n",
        shell_quote(&format!("^{}:", regex::escape(name)))
    )
}

fn decide(want: Want, seen: &std::collections::HashMap<String, String>, check: bool) -> Result<Decision, String> {
    let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
    let there = seen.contains_key("gid");
    let now = get("gid").to_owned();
    let number = |text: &str| text.parse::<i64>().map_or(Json::Null, Json::from);
    let system = want.system;
    let mut result = fields([
        ("name", json!(want.name)),
        ("state", json!(if want.absent { "absent" } else { "present" })),
        ("changed", json!(true)),
    ]);
    if !want.absent {
        result.insert("system".into(), system.into());
    }
    let differs = want.gid.as_ref().is_some_and(|g| *g != now);
    if want.absent && !there || !want.absent && there && !differs {
        result.insert("changed".into(), false.into());
        if there {
            result.insert("gid".into(), number(&now));
        }
        return Ok(Decision::Done(result));
    }
    let n = shell_quote(&want.name);
    let (tool, flags) = match (want.absent, there) {
        (true, _) => ("groupdel", if want.force { "-f " } else { "" }.to_owned()),
        (_, true) => ("groupmod", String::new()),
        (_, false) => ("groupadd", String::new()),
    };
    let mut flags = flags;
    if !want.absent {
        if let Some(g) = &want.gid {
            flags.push_str(&format!("-g {} ", shell_quote(g)));
            if want.non_unique && !want.local {
                flags.push_str("-o ");
            }
        }
        if !there {
            if system {
                flags.push_str("-r ");
            }
            for (key, value) in [("GID_MIN", &want.min), ("GID_MAX", &want.max)] {
                flags.push_str(&value.as_ref().map(|v| format!("-K {key}={} ", shell_quote(v))).unwrap_or_default());
            }
        }
    }
    let command = if want.local {
        if let (Some(g), Some(other), false) = (&want.gid, seen.get("taken"), want.absent) {
            if get(&format!("l{tool}")) == "1" {
                return Err(format!("GID '{g}' already exists with group '{other}'"));
            }
        }
        if get(&format!("l{tool}")) != "1" {
            return Err(no_program(&format!("l{tool}"), get("path")));
        }
        format!("l{tool} {flags}{n}")
    } else if get("groupadd") != "1" && tool == "groupadd" {
        let id = want.gid.as_ref().map(|g| format!("-g {} ", shell_quote(g))).unwrap_or_default();
        format!("addgroup {}{id}{n}", if system { "-S " } else { "" })
    } else if get("groupadd") != "1" && tool == "groupdel" {
        format!("delgroup {n}")
    } else {
        format!("{tool} {flags}{n}")
    };
    let steps = Steps::new();
    let script = steps.script(&format!("{PATHS}{command} || exit $?\n"), &look(&want.name));
    let mut expected = result.clone();
    if there && !want.absent {
        expected.insert("gid".into(), number(&now));
    } else if check {
        expected = fields([("changed", json!(true))]);
    }
    let name = want.name.clone();
    Ok(Decision::Change(Pending {
        script,
        action: match (want.absent, there) {
            (true, _) => Action::Delete,
            (_, true) => Action::Update,
            (_, false) => Action::Create,
        },
        subject: format!("group {name}"),
        path: None,
        before: there.then(|| json!({ "gid": now })),
        after: (!want.absent).then(|| json!({ "gid": want.gid })),
        certain: true,
        foreign: false,
        expected,
        finish: Box::new(move |out| {
            let (out, after) = steps.split(out);
            let Some(after) = after else {
                return failed(fields([("name", json!(name))]), out.error_text());
            };
            let mut all: Fields = result;
            super::steps::said(&mut all, &out, false);
            if let Some(g) = after.get("gid") {
                all.insert("gid".into(), number(g));
            }
            all
        }),
    }))
}
