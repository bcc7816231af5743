//! `apt`, through `dpkg-query`, `apt-cache` and `apt-get`.

mod command;
mod deb;
mod names;
mod packages;

use serde_json::json;
use towpath_core::{Action, Json};

use super::spec::Rules;
use super::steps::{Steps, exports, failed, lines, said};
use super::{Call, Decision, Fields, Finish, Module, Output, Pending, Place, fields};
pub(super) use command::Flags;
use command::{QUIET, TIME};

/// `apt`.
pub(super) const MODULE: Module =
    Module { names: &["apt"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// `package`, where apt is the manager.
pub(super) fn prepare(call: &Call) -> Result<Decision, String> {
    if ["deb", "name", "upgrade"].iter().filter(|k| call.text(k).is_some_and(|v| **k != "upgrade" || v != "no")).count()
        > 1
    {
        // The second is an alias of `name`.
        return Err("parameters are mutually exclusive: deb|package|upgrade".into());
    }
    let task = Task {
        flags: Flags::of(call)?,
        env: format!("{QUIET}{}", exports(&call.env)),
        state: call.text("state").unwrap_or_else(|| "present".into()),
        update: call.yes("update_cache")?.unwrap_or(false),
        valid: call.text("cache_valid_time").and_then(|t| t.parse().ok()).unwrap_or(0),
        autoclean: call.yes("autoclean")?.unwrap_or(false),
    };
    if call.yes("clean")?.unwrap_or(false) {
        return Ok(task.simple("/usr/bin/apt-get clean".into(), "clean"));
    }
    if let Some(file) = call.text("deb") {
        let yes = |k: &str| Ok::<_, String>(call.yes(k)?.unwrap_or(false));
        return deb::prepare(task, file, yes("allow_downgrade")?, yes("force")?);
    }
    let mut upgrade = call.text("upgrade").filter(|u| u != "no");
    let names: Vec<String> = call.list("name").unwrap_or_default();
    if names.iter().any(|n| n == "*") && task.state == "latest" {
        upgrade = Some("yes".into());
    }
    if let Some(kind) = upgrade {
        return Ok(task.simple(task.flags.upgrade(kind == "dist" || kind == "full"), "upgrade"));
    }
    if names.is_empty() && !task.update && task.valid == 0 {
        for (on, what) in [(task.autoclean, "autoclean"), (task.flags.autoremove, "autoremove")] {
            if on {
                return Ok(task.simple(task.flags.clean_up(what), what));
            }
        }
    }
    packages::prepare(task, &names, call.check)
}

/// What a task wants beside its packages.
#[derive(Debug, Clone)]
struct Task {
    flags: Flags,
    env: String,
    state: String,
    update: bool,
    valid: i64,
    autoclean: bool,
}

impl Task {
    /// A command whose output tells whether it changed something.
    fn simple(&self, line: String, what: &'static str) -> Decision {
        let update = if self.update && !self.flags.simulate { self.flags.update() } else { String::new() };
        let script = format!("{}{update}{}", self.env, self.flags.run(&line));
        let flags = self.flags.clone();
        let finish: Finish = Box::new(move |out: Output| {
            if out.rc == 77 {
                return failed(Fields::new(), flags.not_updated(&out.error_text()));
            }
            let text = out.text();
            let mut result = fields([]);
            said(&mut result, &out, true);
            if out.rc != 0 {
                result.insert("rc".into(), json!(out.rc));
                return failed(result, format!("'{line}' failed: {}", out.error_text()));
            }
            let changed = match what {
                "clean" => true,
                "autoclean" => text.lines().any(|l| l.starts_with("Del ")),
                "autoremove" => !text.contains("\n0 upgraded, 0 newly installed, 0 to remove"),
                _ => !text.contains("\n0 upgraded, 0 newly installed, 0 to remove"),
            };
            match what {
                "clean" => drop(result.insert("msg".into(), json!(""))),
                "upgrade" => drop(result.insert("msg".into(), json!(text))),
                _ => {}
            }
            result.insert("changed".into(), changed.into());
            result
        });
        if what == "clean" && self.flags.simulate {
            return Decision::Done(finish(Output::default()));
        }
        if self.flags.simulate {
            // What it would do, apt itself tells.
            return Decision::Probe(script, Box::new(move |out| Ok(Decision::Done(finish(out)))));
        }
        Decision::Change(self.pending(script, format!("packages: {what}"), fields([("changed", json!(true))]), finish))
    }

    fn pending(&self, script: String, subject: String, expected: Fields, finish: Finish) -> Pending {
        Pending {
            script,
            action: if self.state == "absent" { Action::Delete } else { Action::Update },
            subject,
            path: None,
            before: None,
            after: None,
            certain: true,
            // Scripts of packages start daemons, which keep the output.
            foreign: true,
            expected,
            finish,
        }
    }
}

/// The keys that tell of the lists of packages.
fn cache(result: &mut Fields, updated: bool, time: &str) {
    result.insert("cache_updated".into(), updated.into());
    result.insert("cache_update_time".into(), time.parse::<i64>().map_or(json!(0), Json::from));
}

/// Runs a command line on packages, after an update if need be, and tells what it said.
fn act(task: &Task, line: String, update: bool, with_cache: bool) -> (String, Finish) {
    let steps = Steps::new();
    let before = if update && !task.flags.simulate { task.flags.update() } else { String::new() };
    let script = steps.script(
        &format!("{TIME}{}{before}{}tp_rc=$?\n", task.env, task.flags.run(&line)),
        "tp_time\necho \"rc=$tp_rc\"\n",
    );
    let flags = task.flags.clone();
    let quiet = line.contains(" build-dep ") || update;
    let finish: Finish = Box::new(move |out| {
        let (out, after) = steps.split(out);
        let Some(after) = after else {
            return failed(Fields::new(), flags.not_updated(&out.error_text()));
        };
        let get = |k: &str| after.get(k).map(String::as_str).unwrap_or_default();
        let mut result = fields([("changed", json!(true))]);
        if with_cache {
            cache(&mut result, update, get("time"));
        }
        let nothing = quiet && out.text().contains("\n0 upgraded, 0 newly installed, 0 to remove");
        if get("rc") != "0" {
            let error = out.error_text();
            let unknown = error.lines().find_map(|l| l.strip_prefix("E: Unable to locate package "));
            if let (Some(name), true) = (unknown, update) {
                return failed(Fields::new(), format!("No package matching '{name}' is available"));
            }
            said(&mut result, &out, true);
            result.insert("rc".into(), get("rc").parse::<i64>().map_or(Json::Null, Json::from));
            return failed(result, format!("'{line}' failed: {error}"));
        }
        if nothing {
            result.insert("changed".into(), false.into());
        } else {
            said(&mut result, &out, true);
        }
        result
    });
    (script, finish)
}

fn seen(out: Output) -> std::collections::HashMap<String, String> {
    lines(out.stdout)
}
