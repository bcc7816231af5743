//! `user`.

mod change;
mod look;

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Action, Json};

use super::spec::Rules;
use super::steps::{PATHS, Steps, failed, lines, no_program, said};
use super::{Call, Decision, Fields, Module, Pending, Place, fields};

/// `user`.
pub(super) const MODULE: Module =
    Module { names: &["user"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// What a task wants.
#[derive(Clone)]
struct Want {
    name: String,
    remove: bool,
    force: bool,
    local: bool,
    system: bool,
    append: bool,
    create_home: bool,
    move_home: bool,
    non_unique: bool,
    uid: Option<String>,
    group: Option<String>,
    groups: Option<Vec<String>>,
    comment: Option<String>,
    home: Option<String>,
    shell: Option<String>,
    seuser: Option<String>,
    skeleton: Option<String>,
    umask: Option<String>,
    uid_min: Option<String>,
    uid_max: Option<String>,
    /// Days since 1970; below 0 for never.
    expires: Option<i64>,
    password: Option<String>,
    /// Whether a password replaces one that is there.
    always: bool,
    lock: Option<bool>,
    /// Options of `chage` with their values and the field of the shadow file.
    ages: Vec<(&'static str, &'static str, String)>,
    inactive: Option<String>,
    key: Option<Key>,
}

/// An SSH key to make.
#[derive(Clone)]
struct Key {
    /// As it is given; relative to the home.
    file: String,
    kind: String,
    bits: Option<String>,
    comment: Option<String>,
    passphrase: Option<String>,
}

impl Key {
    fn path(&self, home: &str) -> String {
        if self.file.starts_with('/') {
            self.file.clone()
        } else {
            format!("{}/{}", home.trim_end_matches('/'), self.file)
        }
    }
}

impl Want {
    fn of(call: &Call) -> Result<Self, String> {
        let yes = |k: &str| Ok::<_, String>(call.yes(k)?.unwrap_or(false));
        let expires = match call.args.get("expires").and_then(Json::as_f64) {
            Some(e) if e.abs() > 6.7e16 => {
                return Err("Invalid value for 'expires' None: [Errno 75] Value too large for defined data type".into());
            }
            other => other.map(|e| if e < 0.0 { -1 } else { (e / 86400.0).floor() as i64 }),
        };
        let key = if yes("generate_ssh_key")? {
            let kind = call.text("ssh_key_type").unwrap_or_else(|| "rsa".into());
            Some(Key {
                file: call.text("ssh_key_file").unwrap_or_else(|| format!(".ssh/id_{kind}")),
                kind,
                bits: call.text("ssh_key_bits").filter(|b| b != "0"),
                comment: call.text("ssh_key_comment").filter(|c| c != "ansible-generated on $HOSTNAME"),
                passphrase: call.text("ssh_key_passphrase").filter(|p| !p.is_empty()),
            })
        } else {
            None
        };
        let ages = [
            ("-m", "min", "password_expire_min"),
            ("-M", "max", "password_expire_max"),
            ("-W", "warn", "password_expire_warn"),
        ];
        Ok(Self {
            name: call.need("name")?,
            remove: yes("remove")?,
            force: yes("force")?,
            local: yes("local")?,
            system: yes("system")?,
            append: yes("append")?,
            create_home: yes("create_home")?,
            move_home: yes("move_home")?,
            non_unique: yes("non_unique")?,
            uid: call.text("uid"),
            group: call.text("group"),
            groups: call.list("groups").map(|g| g.into_iter().filter(|g| !g.is_empty()).collect()),
            comment: call.text("comment"),
            home: call.text("home"),
            shell: call.text("shell"),
            seuser: call.text("seuser"),
            skeleton: call.text("skeleton"),
            umask: call.text("umask"),
            uid_min: call.text("uid_min"),
            uid_max: call.text("uid_max"),
            expires,
            password: call.text("password"),
            always: call.text("update_password").as_deref() != Some("on_create"),
            lock: call.yes("password_lock")?,
            ages: ages.into_iter().filter_map(|(f, s, k)| Some((f, s, call.text(k)?))).collect(),
            inactive: call.text("password_expire_account_disable"),
            key,
        })
    }
}

/// What is there.
#[derive(Clone, Default)]
struct Seen(HashMap<String, String>);

impl Seen {
    fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    fn there(&self) -> bool {
        self.0.contains_key("uid")
    }

    /// The name of the user's own group, as `id` says it: `uid=1(ann) gid=2(app) groups=2(app),3(ops)`.
    fn first_group(&self) -> &str {
        let after = self.get("id").split_once(" gid=").map_or("", |(_, rest)| rest);
        after.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(name, _)| name)
    }

    /// The names of all groups that the user is in.
    fn groups(&self) -> impl Iterator<Item = &str> {
        let after = self.get("id").split_once(" groups=").map_or("", |(_, rest)| rest);
        after.split("),").filter_map(|g| Some(g.split_once('(')?.1.trim_end_matches(')')))
    }

    /// The group's own name and id, by its name or id.
    fn group(&self, wanted: &str) -> Option<(&str, &str)> {
        let all = || self.get("known").split(';').filter_map(|g| g.split_once(':'));
        all().find(|(name, _)| *name == wanted).or_else(|| all().find(|(_, id)| *id == wanted))
    }
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let want = Want::of(call)?;
    let absent = call.text("state").as_deref() == Some("absent");
    if want.local {
        for key in ["umask", "uid_min", "uid_max"] {
            if call.text(key).is_some() {
                return Err(format!("'{key}' can not be used with 'local'"));
            }
        }
    }
    let probe = format!("{PATHS}{}{}exit 0\n", look::user(&want), look::around(&want));
    let check = call.check;
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let seen = Seen(lines(out.stdout));
            if absent { delete(want, &seen, check) } else { present(want, seen, check) }
        }),
    ))
}

fn delete(want: Want, seen: &Seen, check: bool) -> Result<Decision, String> {
    let mut result = fields([("name", json!(want.name)), ("state", json!("absent")), ("changed", json!(seen.there()))]);
    if !seen.there() {
        return Ok(Decision::Done(result));
    }
    if want.local && seen.get("luserdel") != "1" {
        return Err(no_program("luserdel", seen.get("path")));
    }
    result.insert("force".into(), want.force.into());
    result.insert("remove".into(), want.remove.into());
    let (script, name) = (format!("{PATHS}{}", change::delete(&want, seen)), want.name.clone());
    Ok(Decision::Change(Pending {
        script,
        action: Action::Delete,
        subject: format!("user {name}"),
        path: None,
        before: Some(json!({ "uid": seen.get("uid") })),
        after: None,
        certain: true,
        foreign: false,
        expected: if check { fields([("changed", json!(true))]) } else { result.clone() },
        finish: Box::new(move |out| {
            if out.rc != 0 {
                return failed(fields([("name", json!(name)), ("rc", json!(out.rc))]), out.error_text());
            }
            said(&mut result, &out, false);
            result
        }),
    }))
}

/// The keys that tell of a user who is there.
fn info(want: &Want, seen: &Seen, result: &mut Fields) {
    let number = |k: &str| seen.get(k).parse::<i64>().map_or(Json::Null, Json::from);
    for (key, value) in [
        ("uid", number("uid")),
        ("group", number("gid")),
        ("comment", json!(seen.get("comment"))),
        ("home", json!(seen.get("home"))),
        ("shell", json!(seen.get("shell"))),
    ] {
        result.insert(key.into(), value);
    }
    if let Some(groups) = &want.groups {
        result.insert("groups".into(), json!(groups.join(",")));
    }
    if let Some(key) = &want.key {
        result.insert("ssh_fingerprint".into(), json!(seen.get("fingerprint")));
        result.insert("ssh_key_file".into(), json!(key.path(seen.get("home"))));
        result.insert("ssh_public_key".into(), seen.0.get("public").map_or(Json::Null, |k| json!(k)));
    }
}

fn present(want: Want, seen: Seen, check: bool) -> Result<Decision, String> {
    if want.local && seen.get("lgroupmod") != "1" {
        return Err(no_program("lgroupmod", seen.get("path")));
    }
    for group in want.group.iter().chain(want.groups.iter().flatten()) {
        if seen.group(group).is_none() {
            return Err(format!("Group {group} does not exist"));
        }
    }
    let there = seen.there();
    let mut result = fields([("name", json!(want.name)), ("state", json!("present")), ("changed", json!(true))]);
    if there {
        result.insert("append".into(), want.append.into());
        result.insert("move_home".into(), want.move_home.into());
    } else {
        result.insert("system".into(), want.system.into());
        result.insert("create_home".into(), want.create_home.into());
    }
    if want.password.is_some() {
        // The word that stands for a hash in results.
        result.insert("password".into(), json!("NOT_LOGGING_PASSWORD"));
    }
    let change = if there { change::update(&want, &seen) } else { change::create(&want, &seen) };
    if change.script.is_empty() {
        info(&want, &seen, &mut result);
        result.insert("changed".into(), false.into());
        return Ok(Decision::Done(result));
    }
    let mut expected = result.clone();
    if there {
        info(&want, &seen, &mut expected);
    } else if check {
        expected = fields([("changed", json!(true))]);
    }
    let steps = Steps::new();
    let script = steps.script(&format!("{PATHS}{}", change.script), &look::user(&want));
    let name = want.name.clone();
    Ok(Decision::Change(Pending {
        script,
        action: if there { Action::Update } else { Action::Create },
        subject: format!("user {name}"),
        path: None,
        before: there.then(|| Json::Object(change.before)),
        after: Some(Json::Object(change.after)),
        certain: true,
        foreign: false,
        expected,
        finish: Box::new(move |out| {
            let (out, after) = steps.split(out);
            let Some(after) = after else {
                return failed(fields([("name", json!(name)), ("rc", json!(out.rc))]), out.error_text());
            };
            said(&mut result, &out, false);
            info(&want, &Seen(after), &mut result);
            result
        }),
    }))
}
