//! Native modules. Each has a probe, which only reads, and a change.

mod action;
mod attrs;
mod command;
mod content;
mod copy;
mod file;
mod lineinfile;
mod service;
mod stat;
mod users;

use std::sync::Arc;

use serde_json::Map;
use towpath_core::{Action, Json};

use crate::carry::Output;
use crate::render::{Scope, text, truthy};

/// What a module returns.
pub(crate) type Fields = Map<String, Json>;

/// A task's arguments, templated.
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) args: Fields,
    pub(crate) scope: Arc<Scope>,
    pub(crate) env: Vec<(String, String)>,
    /// Whether texts before and after are wanted.
    pub(crate) plan: bool,
}

pub(crate) type Decide = Box<dyn FnOnce(Output) -> Result<Decision, String> + Send>;
pub(crate) type Finish = Box<dyn FnOnce(Output) -> Fields + Send>;

/// What a module wants to do next.
#[allow(clippy::large_enum_variant, reason = "made once per task and host, and taken apart at once")]
pub(crate) enum Decision {
    /// The result; nothing to change.
    Done(Fields),
    /// Something to read first.
    Probe(String, Decide),
    /// Something to change.
    Change(Pending),
}

/// A change that waits for its turn.
pub(crate) struct Pending {
    pub(crate) script: String,
    pub(crate) action: Action,
    /// The thing: `file /etc/motd`.
    pub(crate) subject: String,
    /// The path that it concerns, if it is only that.
    pub(crate) path: Option<String>,
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
    /// Whether it is certain that something changes.
    pub(crate) certain: bool,
    /// Whether the script runs commands of the playbook.
    pub(crate) foreign: bool,
    /// What a plan registers for it.
    pub(crate) expected: Fields,
    pub(crate) finish: Finish,
}

type Prepare = fn(&Call) -> Result<Decision, String>;

/// Finds a module by its short name.
pub(crate) fn find(action: &str) -> Option<Prepare> {
    Some(match action {
        "file" => file::prepare,
        "copy" => copy::prepare_copy,
        "template" => copy::prepare_template,
        "command" | "shell" | "raw" => command::prepare,
        "user" => users::prepare_user,
        "group" => users::prepare_group,
        "lineinfile" => lineinfile::prepare,
        "stat" => stat::prepare,
        "service" | "systemd" | "systemd_service" | "sysvinit" => service::prepare,
        "debug" | "set_fact" | "assert" | "fail" | "ping" | "include_vars" => action::prepare,
        _ => return None,
    })
}

/// The names of all native modules.
pub(crate) const NAMES: &str = "assert, command, copy, debug, fail, file, group, include_vars, lineinfile, ping, raw, service, set_fact, setup, \
     shell, stat, systemd, template, user";

impl Call {
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.args.get(key)? {
            Json::Null => None,
            Json::String(s) => Some(s.clone()),
            other => Some(text(&minijinja::Value::from_serialize(other))),
        }
    }

    pub(crate) fn need(&self, key: &str) -> Result<String, String> {
        self.text(key).ok_or_else(|| format!("missing required argument: {key}"))
    }

    pub(crate) fn any(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|k| self.text(k))
    }

    pub(crate) fn yes(&self, key: &str) -> Result<Option<bool>, String> {
        match self.args.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(v) => truthy(v).map(Some).ok_or_else(|| format!("`{key}` must be yes or no, not {v}")),
        }
    }

    pub(crate) fn list(&self, key: &str) -> Option<Vec<String>> {
        Some(match self.args.get(key)? {
            Json::Array(items) => {
                items.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect()
            }
            Json::Null => return None,
            Json::String(s) => s.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect(),
            other => vec![other.to_string()],
        })
    }

    /// Refuses options that would be ignored silently.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.args.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(k) => {
                Err(format!("the option `{k}` of `{}` is not supported; there are: {}", self.action, known.join(", ")))
            }
        }
    }
}

pub(crate) fn fields<const N: usize>(pairs: [(&str, Json); N]) -> Fields {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// The result of a change: the module's fields, or how its script failed.
pub(crate) fn finish(done: Fields) -> Finish {
    Box::new(move |out: Output| {
        let mut all = done;
        if out.rc != 0 {
            all.insert("changed".into(), false.into());
            all.insert("failed".into(), true.into());
            all.insert("rc".into(), out.rc.into());
            all.insert("msg".into(), out.error_text().trim().to_owned().into());
        }
        all
    })
}

/// `key=value` lines up to an empty one, and what follows it.
pub(crate) fn head(out: &Output) -> (std::collections::HashMap<String, String>, Vec<u8>) {
    let mut map = std::collections::HashMap::new();
    let mut rest: &[u8] = &out.stdout;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if line.is_empty() {
            return (map, rest.to_vec());
        }
        if let Some((k, v)) = String::from_utf8_lossy(line).split_once('=') {
            map.insert(k.to_owned(), v.to_owned());
        }
    }
    (map, Vec::new())
}
