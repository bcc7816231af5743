//! `file`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, STAT};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Pending, Place, finish, head};

/// `file`.
pub(super) const MODULE: Module = Module {
    names: &["file"],
    rules: Rules::NONE,
    missing: &[
        "access_time_format",
        "attributes",
        "modification_time_format",
        "selevel",
        "serole",
        "setype",
        "seuser",
        "unsafe_writes",
    ],
    place: Place::Host,
    prepare,
};

fn prepare(call: &Call) -> Result<Decision, String> {
    let path = call.any(&["path", "dest", "name"]).ok_or("missing required argument: path")?;
    let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
    let src = call.text("src");
    let state = call.text("state").unwrap_or_else(|| if src.is_some() { "link".into() } else { "file".into() });
    if !["absent", "directory", "file", "hard", "link", "touch"].contains(&state.as_str()) {
        return Err(format!("value of state must be one of absent, directory, file, hard, link, touch, got: {state}"));
    }
    let attrs = Attrs::of(call)?;
    let recurse = call.yes("recurse")?.unwrap_or(false);
    let force = call.yes("force")?.unwrap_or(false);
    let keep_times = ["modification_time", "access_time"].iter().all(|k| call.text(k).as_deref() == Some("preserve"));
    let follow = if matches!(state.as_str(), "absent" | "link" | "hard") { "''" } else { "-L" };
    let p = shell_quote(&path);
    let mut script = format!("{STAT}p={p}\ntp_stat \"$p\" {follow}\n");
    if state == "hard" {
        script
            .push_str(&format!("[ \"$p\" -ef {} ] && echo same=1\n", shell_quote(src.as_deref().unwrap_or_default())));
    }
    if recurse {
        // Everything below that differs, found without listing it.
        let mut tests = Vec::new();
        for (flag, id, want) in [("-user", "-uid", &attrs.owner), ("-group", "-gid", &attrs.group)] {
            if let Some(w) = want {
                let flag = if w.bytes().all(|b| b.is_ascii_digit()) { id } else { flag };
                tests.push(format!("! {flag} {}", shell_quote(w)));
            }
        }
        if let Some(bits) = attrs.bits(0, true)? {
            tests.push(format!("! -type l ! -perm {bits:o}"));
        }
        for t in tests {
            script.push_str(&format!(
                "[ -d \"$p\" ] && [ -n \"$(find \"$p\" {t} 2>/dev/null | head -n 1)\" ] && echo below=1\n"
            ));
        }
    }
    script.push_str("exit 0\n");
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, _) = head(&super::Output { stdout: [out.stdout.as_slice(), b"\n"].concat(), ..out });
            let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
            let now = get("type").to_owned();
            let mut action = if now == "absent" { Action::Create } else { Action::Update };
            let mut script = format!("set -e\np={p}\n");
            let mut changed = false;
            let link = matches!(state.as_str(), "link");
            match state.as_str() {
                "absent" => {
                    changed = now != "absent";
                    action = Action::Delete;
                    script.push_str("rm -rf -- \"$p\"\n");
                }
                "directory" => match now.as_str() {
                    "directory" => {}
                    "absent" => {
                        changed = true;
                        script.push_str("mkdir -p \"$p\"\n");
                    }
                    other => return Err(format!("{path} already exists as a {other}")),
                },
                "file" => match now.as_str() {
                    "file" => {}
                    "absent" => return Err(format!("file ({path}) is absent, cannot continue")),
                    other => return Err(format!("file ({path}) is {other}, cannot continue")),
                },
                "touch" if keep_times && now != "absent" => {}
                "touch" => {
                    changed = true;
                    script.push_str("touch \"$p\"\n");
                }
                kind => {
                    let src = src.clone().ok_or("src is required for creating new links")?;
                    let same = if link { now == "link" && get("target") == src } else { get("same") == "1" };
                    if !same {
                        if now != "absent" && now != "link" && !force {
                            return Err(format!("refusing to convert from {now} to {kind} for {path}"));
                        }
                        changed = true;
                        let flag = if link { "-s " } else { "" };
                        script.push_str(&format!(
                            "rm -rf -- \"$p.towpath.$$\"\nln {flag}-- {} \"$p.towpath.$$\"\n{}mv -fT \"$p.towpath.$$\" \"$p\" 2>/dev/null || {{ rm -f \"$p\"; mv -f \"$p.towpath.$$\" \"$p\"; }}\n",
                            shell_quote(&src),
                            if now == "absent" || now == "link" { "" } else { "rm -rf -- \"$p\"\n" }
                        ));
                    }
                }
            }
            let (mut before, mut after) = (Fields::new(), Fields::new());
            if state != "absent" {
                let (b, a, mend) = attrs.differing(&seen, link)?;
                changed |= !mend.is_empty() && now != "absent";
                script.push_str(&mend);
                (before, after) = (b, a);
                if recurse {
                    changed |= get("below") == "1";
                    for (tool, want) in [("chown -R", &attrs.owner), ("chgrp -R", &attrs.group)] {
                        if let Some(w) = want {
                            script.push_str(&format!("{tool} {} \"$p\"\n", shell_quote(w)));
                        }
                    }
                    if let Some(bits) = attrs.bits(0, true)? {
                        script.push_str(&format!("find \"$p\" ! -type l -exec chmod {bits:o} {{}} +\n"));
                    }
                }
            }
            let mut result =
                super::fields([("path", json!(path)), ("state", json!(state)), ("changed", json!(changed))]);
            if state != "absent" {
                result.insert("dest".into(), json!(path));
            }
            if !changed {
                for key in ["owner", "group"] {
                    result.insert(key.into(), json!(get(key)));
                }
                result.insert("mode".into(), json!(format!("0{}", get("mode"))));
                return Ok(Decision::Done(result));
            }
            before.insert("state".into(), json!(now));
            after.insert("state".into(), json!(state));
            Ok(Decision::Change(Pending {
                script,
                action,
                subject: format!("file {path}"),
                path: Some(path),
                before: (now != "absent").then(|| Json::Object(before)),
                after: (state != "absent").then(|| Json::Object(after)),
                certain: true,
                foreign: false,
                expected: result.clone(),
                finish: finish(result),
            }))
        }),
    ))
}
