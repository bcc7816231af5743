//! `user` and `group`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, content, fields, finish, head};

const PATHS: &str = "PATH=$PATH:/usr/sbin:/sbin\n";

fn change(
    script: String,
    subject: String,
    there: bool,
    gone: bool,
    result: Fields,
    before: Fields,
    after: Fields,
) -> Decision {
    Decision::Change(Pending {
        script: format!("{PATHS}set -e\n{script}"),
        action: match (there, gone) {
            (_, true) => Action::Delete,
            (true, _) => Action::Update,
            (false, _) => Action::Create,
        },
        subject,
        path: None,
        before: there.then(|| Json::Object(before)),
        after: (!gone).then(|| Json::Object(after)),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: finish(result),
    })
}

/// `group`.
pub(super) const GROUP: Module = Module {
    names: &["group"],
    rules: Rules::NONE,
    missing: &["force", "gid_max", "gid_min", "local", "non_unique"],
    place: Place::Host,
    prepare: prepare_group,
};

fn prepare_group(call: &Call) -> Result<Decision, String> {
    let name = call.need("name")?;
    let absent = call.text("state").as_deref() == Some("absent");
    let (gid, system) = (call.text("gid"), call.yes("system")?.unwrap_or(false));
    let n = shell_quote(&name);
    let probe = format!(
        "l=$(getent group {n} 2>/dev/null || grep {} /etc/group)\necho \"line=$l\"\nexit 0\n",
        shell_quote(&format!("^{}:", regex::escape(&name)))
    );
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let text = out.text();
            let line = text.trim().strip_prefix("line=").unwrap_or_default().to_owned();
            let there = !line.is_empty();
            let now = line.split(':').nth(2).unwrap_or_default().to_owned();
            let mut result = fields([
                ("name", json!(name)),
                ("state", json!(if absent { "absent" } else { "present" })),
                ("changed", json!(true)),
            ]);
            let subject = format!("group {name}");
            let (before, after) = (fields([("gid", json!(now))]), fields([("gid", json!(gid))]));
            let script = if absent && there {
                format!("groupdel {n}\n")
            } else if absent {
                String::new()
            } else if !there {
                let flag = gid.as_ref().map(|g| format!("-g {} ", shell_quote(g))).unwrap_or_default();
                let system = if system { "-r " } else { "" };
                format!(
                    "if command -v groupadd >/dev/null; then groupadd {system}{flag}{n}; else addgroup {flag}{n}; fi\n"
                )
            } else if let Some(g) = gid.as_ref().filter(|g| **g != now) {
                format!("groupmod -g {} {n}\n", shell_quote(g))
            } else {
                String::new()
            };
            if script.is_empty() {
                result.insert("changed".into(), false.into());
                result.insert("gid".into(), now.parse::<i64>().map_or(Json::Null, Json::from));
                return Ok(Decision::Done(result));
            }
            Ok(change(script, subject, there, absent, result, before, after))
        }),
    ))
}

/// `user`.
pub(super) const USER: Module = Module {
    names: &["user"],
    rules: Rules::NONE,
    missing: &[
        "authorization",
        "expires",
        "force",
        "generate_ssh_key",
        "hidden",
        "local",
        "login_class",
        "non_unique",
        "password_expire_account_disable",
        "password_expire_max",
        "password_expire_min",
        "password_expire_warn",
        "password_lock",
        "profile",
        "role",
        "seuser",
        "skeleton",
        "ssh_key_bits",
        "ssh_key_comment",
        "ssh_key_file",
        "ssh_key_passphrase",
        "ssh_key_type",
        "uid_max",
        "uid_min",
        "umask",
    ],
    place: Place::Host,
    prepare: prepare_user,
};

fn prepare_user(call: &Call) -> Result<Decision, String> {
    let name = call.any(&["name", "user"]).ok_or("missing required argument: name")?;
    let absent = call.text("state").as_deref() == Some("absent");
    let remove = call.yes("remove")?.unwrap_or(false);
    let wants: Vec<(&'static str, &'static str, Option<String>)> = vec![
        ("uid", "-u", call.text("uid")),
        ("group", "-g", call.text("group")),
        ("comment", "-c", call.text("comment")),
        ("home", "-d", call.text("home")),
        ("shell", "-s", call.text("shell")),
    ];
    let groups = call.list("groups");
    let append = call.yes("append")?.unwrap_or(false);
    let system = call.yes("system")?.unwrap_or(false);
    let create_home = call.yes("create_home")?.or(call.yes("createhome")?).unwrap_or(true);
    let move_home = call.yes("move_home")?.unwrap_or(false);
    let password = call.text("password");
    let always = call.text("update_password").as_deref() != Some("on_create");
    let n = shell_quote(&name);
    let probe = format!(
        "l=$(getent passwd {n} 2>/dev/null || grep {pattern} /etc/passwd)\n[ -n \"$l\" ] || exit 0\n\
         IFS=: read -r _ _ u g c h s <<TP_END\n$l\nTP_END\n\
         echo there=1; echo \"uid=$u\"; echo \"gid=$g\"; echo \"comment=$c\"; echo \"home=$h\"; echo \"shell=$s\"\n\
         echo \"group=$(id -gn {n})\"; echo \"groups=$(id -Gn {n})\"\n{shadow}exit 0\n",
        pattern = shell_quote(&format!("^{}:", regex::escape(&name))),
        shadow = if password.is_some() {
            format!("echo \"password=$(getent shadow {n} 2>/dev/null | cut -d: -f2)\"\n")
        } else {
            String::new()
        },
    );
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let (seen, _) = head(&Output { stdout: [out.stdout.as_slice(), b"\n"].concat(), ..out });
            let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
            let there = get("there") == "1";
            let subject = format!("user {name}");
            let mut result = fields([
                ("name", json!(name)),
                ("state", json!(if absent { "absent" } else { "present" })),
                ("changed", json!(true)),
            ]);
            if absent {
                if !there {
                    result.insert("changed".into(), false.into());
                    return Ok(Decision::Done(result));
                }
                let flag = if remove { "-r " } else { "" };
                return Ok(change(
                    format!("userdel {flag}{n} 2>/dev/null || deluser {n}\n"),
                    subject,
                    true,
                    true,
                    result,
                    Fields::new(),
                    Fields::new(),
                ));
            }
            let (mut before, mut after) = (Fields::new(), Fields::new());
            let mut flags = String::new();
            for (key, flag, want) in &wants {
                let Some(want) = want else { continue };
                let same = want == get(key) || *key == "group" && want == get("gid");
                if !there || !same {
                    before.insert((*key).into(), json!(get(key)));
                    after.insert((*key).into(), json!(want));
                    flags.push_str(&format!("{flag} {} ", shell_quote(want)));
                    if *key == "home" && there && move_home {
                        flags.push_str("-m ");
                    }
                }
            }
            if let Some(groups) = &groups {
                let have: Vec<&str> =
                    get("groups").split(' ').filter(|g| !g.is_empty() && *g != get("group")).collect();
                let missing = groups.iter().any(|g| !have.contains(&g.as_str()) && g != get("group"));
                let extra = !append && have.iter().any(|h| !groups.iter().any(|g| g == h));
                if missing || extra || !there {
                    before.insert("groups".into(), json!(have));
                    after.insert("groups".into(), json!(groups));
                    let a = if append && there { "-a " } else { "" };
                    if there || !groups.is_empty() {
                        flags.push_str(&format!("{a}-G {} ", shell_quote(&groups.join(","))));
                    }
                }
            }
            let set_password = password.as_ref().filter(|p| !there || always && *p != get("password"));
            let mut script = String::new();
            if !there {
                if create_home {
                    flags.push_str("-m ")
                } else {
                    flags.push_str("-M ")
                }
                if system {
                    flags.push_str("-r ");
                }
                // As Ansible: an existing group of the same name becomes the user's own.
                let own = if wants.iter().any(|(k, _, w)| *k == "group" && w.is_some()) {
                    String::new()
                } else {
                    format!("if getent group {n} >/dev/null 2>&1; then set -- -g {n}; else set --; fi\n")
                };
                let pass = if own.is_empty() { "" } else { "\"$@\" " };
                script.push_str(&format!("{own}useradd {flags}{pass}{n}\n"));
            } else if !flags.is_empty() {
                script.push_str(&format!("usermod {flags}{n}\n"));
            }
            if let Some(p) = set_password {
                script.push_str(&format!("{} | chpasswd -e\n", content::print(format!("{name}:{p}\n").as_bytes())));
                after.insert("password".into(), json!("(another one)"));
            }
            if script.is_empty() {
                for k in ["uid", "gid"] {
                    result.insert(
                        (if k == "gid" { "group" } else { k }).into(),
                        get(k).parse::<i64>().map_or(Json::Null, Json::from),
                    );
                }
                result.extend(fields([
                    ("home", json!(get("home"))),
                    ("shell", json!(get("shell"))),
                    ("comment", json!(get("comment"))),
                    ("changed", json!(false)),
                ]));
                return Ok(Decision::Done(result));
            }
            Ok(change(script, subject, there, false, result, before, after))
        }),
    ))
}
