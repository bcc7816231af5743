//! Native modules. Each has a probe, which only reads, and a change.

mod action;
mod apt;
mod apt_key;
mod apt_repository;
mod assemble;
mod attrs;
mod blockinfile;
mod clock;
mod command;
mod content;
mod copy;
mod copy_remote;
mod copy_tree;
mod cron;
mod deb822_repository;
mod debconf;
mod dnf;
mod dpkg_selections;
mod drained;
mod edit;
mod file;
mod file_link;
mod file_tree;
mod find;
mod get_url;
mod getent;
mod git;
mod group;
mod hostname;
mod http;
mod include_vars;
mod iptables;
mod known_hosts;
mod lineinfile;
mod mode;
mod mount_facts;
mod package;
mod package_facts;
mod pattern;
mod pause;
mod pip;
mod raw;
mod reboot;
mod replace;
mod rpm_key;
mod service;
mod service_facts;
mod setup;
mod slurp;
mod spec;
mod stat;
mod steps;
mod subversion;
mod systemd;
mod sysvinit;
mod tempfile;
mod template;
mod times;
mod unarchive;
mod unarchive_url;
mod uri;
mod user;
mod wait;
mod words;
mod yum_repository;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Map;
use towpath_core::{Action, Connection, Context, Json};

use crate::carry::{Output, Script};
use crate::render::{Scope, text, truthy};
use spec::Rules;

pub(crate) use pause::Begun as Pause;

/// Shell functions that probes use. A shell is told them once, when it is opened.
pub(crate) use attrs::PREAMBLE as FUNCTIONS;

/// Marks a result that failed before the work began. Taken out before anybody sees it.
pub(crate) const EARLY: &str = "_early";

/// What a module returns.
pub(crate) type Fields = Map<String, Json>;

/// A module: one file each, which ends in a `MODULE` of this type, named in [`ALL`].
pub(crate) struct Module {
    /// Its short names; the first one is its own, the others mean the same.
    pub(crate) names: &'static [&'static str],
    /// How its options go together, beyond `options.json`.
    pub(crate) rules: Rules,
    /// Options that it does not take yet, refused by name. Listed with reasons in `missing.md`.
    pub(crate) missing: &'static [&'static str],
    /// Where it works.
    pub(crate) place: Place,
    /// Its beginning.
    pub(crate) prepare: Prepare,
}

/// Where a module works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Through the host's shell.
    Host,
    /// Here: it needs no connection and changes no host.
    Here,
}

/// All native modules.
static ALL: &[&Module] = &[
    &action::ASSERT,
    &action::DEBUG,
    &action::FAIL,
    &action::PING,
    &action::SET_FACT,
    &apt::MODULE,
    &apt_key::MODULE,
    &apt_repository::MODULE,
    &assemble::MODULE,
    &blockinfile::MODULE,
    &command::COMMAND,
    &command::SHELL,
    &copy::MODULE,
    &cron::MODULE,
    &deb822_repository::MODULE,
    &debconf::MODULE,
    &dnf::DNF,
    &dnf::DNF5,
    &dpkg_selections::MODULE,
    &file::MODULE,
    &find::MODULE,
    &get_url::MODULE,
    &getent::MODULE,
    &git::MODULE,
    &group::MODULE,
    &hostname::MODULE,
    &include_vars::MODULE,
    &iptables::MODULE,
    &known_hosts::MODULE,
    &lineinfile::MODULE,
    &mount_facts::MODULE,
    &package::MODULE,
    &package_facts::MODULE,
    &pause::MODULE,
    &pip::MODULE,
    &raw::RAW,
    &raw::SCRIPT,
    &reboot::MODULE,
    &replace::MODULE,
    &rpm_key::MODULE,
    &service::MODULE,
    &service_facts::MODULE,
    &setup::MODULE,
    &slurp::FETCH,
    &slurp::SLURP,
    &stat::MODULE,
    &subversion::MODULE,
    &systemd::MODULE,
    &sysvinit::MODULE,
    &tempfile::MODULE,
    &template::MODULE,
    &unarchive::MODULE,
    &uri::MODULE,
    &user::MODULE,
    &wait::CONNECTION,
    &wait::MODULE,
    &yum_repository::MODULE,
];

/// A task's arguments, templated and checked.
#[derive(Clone)]
pub(crate) struct Call {
    /// The module's short name: `file`.
    pub(crate) action: String,
    /// All options of the module by their own names, typed, defaults filled in; `Null` where nothing is given.
    pub(crate) args: Fields,
    /// The arguments as the task gives them.
    pub(crate) given: Fields,
    pub(crate) scope: Arc<Scope>,
    pub(crate) env: Vec<(String, String)>,
    /// Whether nothing may change: a plan, or check mode. A change is then not sent, and `expected` is the result. Few modules
    /// need to look at this.
    pub(crate) check: bool,
    /// Whether texts before and after are wanted: a plan, or diff mode. A module that has them puts `diff` into its result.
    pub(crate) diff: bool,
}

type Decided = Result<Decision, String>;
type Prepare = fn(&Call) -> Decided;
/// Reads a probe's answer.
pub(crate) type Decide = Box<dyn FnOnce(Output) -> Decided + Send>;
/// Makes the result of a change's answer.
pub(crate) type Finish = Box<dyn FnOnce(Output) -> Fields + Send>;
/// Work that needs more than a script: to wait, to connect again, to dial. An error of the outer kind ends the host.
pub(crate) type Drive =
    Box<dyn for<'r> FnOnce(&'r mut dyn Remote) -> BoxFuture<'r, towpath_core::Result<Decided>> + Send>;

/// What a module that drives the connection by itself can use.
#[async_trait::async_trait]
pub(crate) trait Remote: Send {
    /// Runs a script in the task's shell.
    async fn run(&mut self, script: Script) -> towpath_core::Result<Output>;

    /// The host's connection, made if need be.
    async fn connection(&mut self) -> towpath_core::Result<Arc<dyn Connection>>;

    /// Forgets shells and connection; the next use connects again.
    async fn reset(&mut self);

    /// Cancellation, deadline, sleep, events.
    fn cx(&self) -> &Context;
}

/// What a module wants to do next.
#[allow(clippy::large_enum_variant, reason = "made once per task and host, and taken apart at once")]
pub(crate) enum Decision {
    /// The result; nothing to change.
    Done(Fields),
    /// Something to read first. The script only reads: it may be sent long before the task's turn, and again.
    Probe(String, Decide),
    /// Something to change. Not sent in a plan or in check mode.
    Change(Pending),
    /// Something else, at the task's turn. Looks at [`Call::check`] by itself.
    Drive(Drive),
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
    /// What check mode gives for it, and what a plan registers.
    pub(crate) expected: Fields,
    pub(crate) finish: Finish,
}

/// Finds a module by its short name.
pub(crate) fn find(action: &str) -> Option<&'static Module> {
    ALL.iter().find(|m| m.names.contains(&action)).copied()
}

/// Checks the arguments of an action that is no module here, and fills in its defaults.
pub(crate) fn arguments(action: &str, given: &Fields) -> Result<Fields, String> {
    static OWN: Module = Module {
        names: &[],
        rules: Rules::NONE,
        missing: &[],
        place: Place::Here,
        prepare: |_| Err("this action is no module".into()),
    };
    spec::validate(&OWN, action, action, given, false)
}

/// The names of all native modules.
pub(crate) fn names() -> String {
    let mut all: Vec<&str> = ALL.iter().flat_map(|m| m.names).copied().collect();
    all.sort_unstable();
    all.join(", ")
}

impl Module {
    /// Checks the arguments and begins. `name` is what messages call the module.
    pub(crate) fn begin(&self, name: &str, mut call: Call) -> Decided {
        let name = name.strip_prefix("ansible.legacy.").unwrap_or(name);
        // Facts are gathered by no action of another name. `gather_facts` hands on all but how many modules run beside each other.
        if call.action == "gather_facts" {
            call.given.remove("parallel");
            call.action = "setup".into();
        }
        let name = if call.action == "setup" { "setup" } else { name };
        // `dnf` takes the name that `package` has for it, too.
        if let Some(used) = matches!(call.action.as_str(), "dnf" | "yum").then(|| call.given.remove("use")).flatten() {
            call.given.entry("use_backend").or_insert(used);
        }
        if let Some(early) = self.rules.early {
            early(&call)?;
        }
        call.args = spec::validate(self, &call.action, name, &call.given, self.rules.late)?;
        let prepare = self.prepare;
        let words = paths(&call);
        // As Ansible, options of SELinux are read over where it is off; where it is on, they are not done yet.
        let label = ["setype", "seuser", "serole", "selevel"].into_iter().find(|k| call.text(k).is_some());
        if self.place == Place::Here || words.is_empty() && label.is_none() {
            return prepare(&call);
        }
        // Only the target knows its home folders and variables.
        let mut script = String::from("if [ -e /sys/fs/selinux/enforce ]; then echo on; else echo; fi\n");
        script.extend(words.iter().map(|(_, w)| format!("printf '%s\\n' {}\n", words::expanding(w))));
        Ok(Decision::Probe(
            script,
            Box::new(move |out| {
                let text = out.text();
                let mut lines = text.lines();
                if let (Some("on"), Some(label)) = (lines.next(), label) {
                    let action = &call.action;
                    return Err(format!(
                        "SELinux is on at the target, and `{label}` of `{action}` is not supported there yet"
                    ));
                }
                for ((key, _), path) in words.iter().zip(lines) {
                    call.args.insert(key.clone(), path.into());
                }
                prepare(&call)
            }),
        ))
    }
}

/// The arguments that are paths on the target and not written out.
fn paths(call: &Call) -> Vec<(String, String)> {
    let here = matches!(call.action.as_str(), "assemble" | "copy" | "template" | "unarchive" | "uri")
        && call.yes("remote_src").ok().flatten() != Some(true);
    call.args
        .iter()
        .filter(|(k, _)| spec::is_path(&call.action, k) && !(here && *k == "src"))
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .filter(|(_, v)| v.starts_with('~') || v.contains('$'))
        .collect()
}

impl Call {
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.args.get(key)? {
            Json::Null => None,
            Json::String(s) => Some(s.clone()),
            other => Some(text(&crate::render::Value::from(other))),
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
