//! `dnf`, `dnf5` and `yum`, through `rpm` and the command `dnf`.
//!
//! What is there, `rpm` tells at once; only for what is not there, or perhaps not the newest, dnf is asked what it would do.

mod flags;
mod groups;
mod list;
mod names;
mod table;
mod trouble;

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::package::{known, manager};
use super::spec::Rules;
use super::steps::{PATHS, exports, no_program};
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields};
use flags::Flags;
pub(super) use flags::Tool;
use groups::Groups;
use names::{FORMAT, Package, Spec};
use table::Plan;

const RULES: Rules = Rules {
    mutually_exclusive: &[&["name", "list"], &["best", "nobest"]],
    through: Some("ansible.legacy.dnf"),
    ..Rules::NONE
};

/// `dnf` and `yum`: whichever of the two the host has.
pub(super) const DNF: Module =
    Module { names: &["dnf", "yum"], rules: RULES, missing: &[], place: Place::Host, prepare: choose };

/// `dnf5`.
pub(super) const DNF5: Module = Module {
    names: &["dnf5"],
    rules: Rules { through: None, ..RULES },
    missing: &[],
    place: Place::Host,
    prepare: |call| prepare(call, Tool::Dnf5),
};

/// A random word between the parts of an answer.
fn mark() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

fn choose(call: &Call) -> Decided {
    let call = call.clone();
    match call.text("use_backend").as_deref() {
        Some("dnf" | "dnf4" | "yum4") => prepare(&call, Tool::Dnf4),
        Some("dnf5") => prepare(&call, Tool::Dnf5),
        // `yum` is another word for `auto`; what is no backend at all is looked for, whatever is known.
        other => {
            let auto = matches!(other, None | Some("auto" | "yum"));
            let known = auto && known(&call.scope).is_some();
            manager(
                &call.scope.clone(),
                Box::new(move |name| {
                    let decided = match name {
                        "dnf" | "dnf4" | "yum" | "yum4" => prepare(&call, Tool::Dnf4),
                        "dnf5" => prepare(&call, Tool::Dnf5),
                        _ => Ok(Decision::Done(fields([
                            ("changed", json!(false)),
                            ("failed", json!(true)),
                            ("msg", json!(UNKNOWN)),
                        ]))),
                    };
                    let facts = json!({ "pkg_mgr": name });
                    if known { decided } else { decided.map(|d| with_facts(d, facts)) }
                }),
            )
        }
    }
}

/// Where the host's own manager is none of the two.
const UNKNOWN: [&str; 2] = [
    "Could not detect which major revision of dnf is in use, which is required to determine module backend.",
    "You should manually specify use_backend to tell the module whether to use the dnf4 or dnf5 backend})",
];

/// The same, with the fact that was looked for in its result.
fn with_facts(decision: Decision, facts: Json) -> Decision {
    let add = move |mut fields: Fields, facts: Json| {
        fields.insert("ansible_facts".into(), facts);
        fields
    };
    match decision {
        Decision::Done(result) => Decision::Done(add(result, facts)),
        Decision::Probe(script, decide) => {
            Decision::Probe(script, Box::new(move |out| decide(out).map(|d| with_facts(d, facts))))
        }
        Decision::Change(mut pending) => {
            let finish = pending.finish;
            pending.expected = add(pending.expected, facts.clone());
            pending.finish = Box::new(move |out| add(finish(out), facts));
            Decision::Change(pending)
        }
        other => other,
    }
}

/// What dnf ends with where it is only asked.
const ABORTED: &str = "Operation aborted.";

/// What a task wants.
#[derive(Clone)]
struct Task {
    flags: Flags,
    env: String,
    state: State,
    names: Vec<String>,
    /// What results say beside what was done.
    notes: Vec<String>,
    update_only: bool,
    downgrade: bool,
    /// Which updates: `--security`, `--bugfix`.
    kinds: String,
    check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    Latest,
    Absent,
}

/// The result of a task that did or would do what `plan` says.
fn told(notes: &[String], plan: &Plan, msg: &str) -> Fields {
    let mut results = notes.to_vec();
    results.extend(plan.results());
    fields([("changed", json!(!plan.none())), ("msg", json!(msg)), ("rc", json!(0)), ("results", json!(results))])
}

fn nothing(notes: &[String]) -> Decision {
    Decision::Done(told(notes, &Plan::default(), "Nothing to do"))
}

fn failed(msg: &str, failures: &[String]) -> Fields {
    refused(msg, &[("failures", json!(failures)), ("rc", json!(1)), ("results", json!([]))])
}

/// A failure that is none of dnf's own.
fn refused(msg: &str, more: &[(&str, Json)]) -> Fields {
    super::steps::failed(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(), msg)
}

/// One of the two, as the task wants it.
pub(super) fn prepare(call: &Call, tool: Tool) -> Decided {
    let flags = Flags::of(call, tool)?;
    let env = format!("{PATHS}export LC_ALL=C\n{}", exports(&call.env));
    if let Some(what) = call.text("list") {
        return list::prepare(flags, env, &what);
    }
    let yes = |k: &str| Ok::<_, String>(call.yes(k)?.unwrap_or(false));
    let autoremove = yes("autoremove")?;
    let state = match call.text("state").as_deref() {
        Some("absent" | "removed") => State::Absent,
        Some("latest") => State::Latest,
        None if autoremove => State::Absent,
        _ => State::Present,
    };
    if autoremove && state != State::Absent {
        return Ok(Decision::Done(refused(
            "Autoremove should be used alone or with state=absent",
            &[("results", json!([]))],
        )));
    }
    let names: Vec<String> = call
        .list("name")
        .unwrap_or_default()
        .iter()
        .flat_map(|n| n.split(',').map(|p| p.trim().to_owned()).collect::<Vec<_>>())
        .filter(|n| !n.is_empty())
        .collect();
    // What dnf fetches by itself it checks as its repositories are checked.
    if call.yes("validate_certs")? == Some(false) && names.iter().any(|n| n.starts_with("https://")) {
        return Err("`validate_certs: no` of `dnf` is not supported for a package at an address; fetch it with `get_url` before".into());
    }
    let mut kinds = String::new();
    for (key, flag) in [("security", " --security"), ("bugfix", " --bugfix")] {
        if yes(key)? && state == State::Latest {
            kinds.push_str(flag);
        }
    }
    let task = Task {
        flags,
        env,
        state,
        names,
        notes: Vec::new(),
        update_only: yes("update_only")?,
        downgrade: yes("allow_downgrade")?,
        kinds,
        check: call.check,
    };
    if task.names.is_empty() && !autoremove {
        return Ok(task.refresh(yes("update_cache")?));
    }
    task.look(yes("update_cache")?)
}

impl Task {
    /// The beginning of each script.
    fn head(&self) -> String {
        format!("{}{}{}", self.env, self.flags.tool.find(), self.flags.list())
    }

    /// Nothing but the lists of packages.
    fn refresh(&self, wanted: bool) -> Decision {
        if !wanted {
            return nothing(&[]);
        }
        let done = told(&[], &Plan::default(), "Cache updated");
        if self.check {
            return Decision::Done(done);
        }
        let (tool, finished) = (self.flags.tool, done.clone());
        let script = format!("{}{}{} >/dev/null\n", self.head(), self.flags.wait(), self.flags.query("makecache"));
        Decision::Change(Pending {
            script,
            action: Action::Update,
            subject: "lists of packages".into(),
            path: None,
            before: None,
            after: None,
            certain: false,
            foreign: false,
            expected: done,
            finish: Box::new(move |out| match wrong(tool, &out) {
                Some(why) => why,
                None => finished,
            }),
        })
    }

    /// Looks at what is there. `fresh`: dnf must be asked in any case.
    fn look(self, fresh: bool) -> Decided {
        let specs: Vec<Spec> = self.names.iter().map(|n| Spec::of(n)).collect();
        let groups = if specs.iter().any(|s| matches!(s, Spec::Group)) {
            format!("echo @groups\n{} 2>/dev/null || :\n", self.flags.query("group list --ids"))
        } else {
            String::new()
        };
        let script = format!("{}tp_all\n{groups}", self.head());
        let tool = self.flags.tool;
        Ok(Decision::Probe(
            script,
            Box::new(move |out| {
                if let Some(why) = wrong(tool, &out) {
                    return Ok(Decision::Done(why));
                }
                let text = out.text();
                let (packages, groups) = text.split_once("@groups\n").unwrap_or((text.as_str(), ""));
                let now: Vec<Package> = packages.lines().filter_map(Package::read).collect();
                let groups = Groups::read(groups, tool);
                if let Some(name) =
                    self.names.iter().filter_map(|n| n.strip_prefix('@')).find(|n| groups.id(n).is_none())
                {
                    let msg = format!("No group {name} available.");
                    return Ok(Decision::Done(refused(&msg, &[("results", json!([]))])));
                }
                self.settle(specs, now, &groups, fresh)
            }),
        ))
    }

    /// What is still to be done with what is there.
    fn settle(mut self, specs: Vec<Spec>, now: Vec<Package>, groups: &Groups, fresh: bool) -> Decided {
        let kinds = self.kinds.clone();
        if self.state == State::Absent {
            let words = words(&self.names);
            return self.ask(vec![(if words.is_empty() { "autoremove" } else { "remove" }, words)], Vec::new(), now);
        }
        let all = self.names.iter().any(|n| n == "*");
        if all && self.state == State::Latest {
            let verb = if kinds.is_empty() { "upgrade" } else { "upgrade-minimal" };
            return self.ask(vec![(verb, kinds)], Vec::new(), now);
        }
        let there = |name: &str, spec: &Spec| now.iter().any(|p| name == "*" || spec.takes(p));
        let older = |name: &str, spec: &Spec| now.iter().any(|p| spec.is_older(name, p));
        let (mut left, mut newer) = (Vec::new(), Vec::new());
        for (name, spec) in self.names.iter().zip(&specs) {
            let mut there = there(name, spec);
            if let (Some(id), latest) = (name.strip_prefix('@').and_then(|n| groups.id(n)), self.state == State::Latest)
            {
                there = latest && groups.installed(id);
                self.notes.push(format!("Group {id} {}.", if there { "upgraded" } else { "installed" }));
            }
            if matches!(spec, Spec::File) {
                self.notes.push(format!("Installed {name}"));
            }
            if self.update_only && !there {
                self.notes.push(format!("Packages providing {name} not installed due to update_only specified"));
            } else if there && self.state == State::Latest {
                newer.push(name.clone());
            } else if !there && (self.downgrade || !older(name, spec)) {
                left.push(name.clone());
            }
        }
        if left.is_empty() && newer.is_empty() && !fresh {
            return Ok(nothing(&self.notes));
        }
        let mut lines = Vec::new();
        if !newer.is_empty() {
            let verb = if kinds.is_empty() { "upgrade" } else { "upgrade-minimal" };
            lines.push((verb, format!("{kinds}{}", words(&newer))));
        }
        if !left.is_empty() || fresh {
            lines.push(("install", String::new()));
        }
        self.ask(lines, left, now)
    }

    /// Asks dnf what it would do. Of `left`, what a package provides that is there is left out before; the others are what
    /// the last line installs.
    fn ask(self, mut lines: Vec<(&'static str, String)>, left: Vec<String>, now: Vec<Package>) -> Decided {
        let mark = mark();
        let mut script = format!("{}{}set --\n", self.head(), self.flags.wait());
        let latest = self.state == State::Latest;
        for name in &left {
            let n = shell_quote(name);
            script.push_str(&match Spec::of(name) {
                Spec::Name(_) if !latest => {
                    format!("tp_rpm -q --whatprovides -- {n} >/dev/null 2>&1 || set -- \"$@\" {n}\n")
                }
                Spec::File if !name.contains("://") => format!(
                    "if [ ! -e {n} ]; then printf 'no_file=%s\\n' {n}; exit 0; fi\n\
                     tp_n=$(rpm -qp --nosignature --nodigest --qf '{FORMAT}' -- {n} 2>/dev/null)\n\
                     if [ -n \"$tp_n\" ] && {{ tp_all | grep -Fxq -- \"$tp_n\" {}; }}; then :; else set -- \"$@\" {n}; fi\n",
                    if self.downgrade { "" } else { "|| tp_newer \"$tp_n\"" }
                ),
                _ => format!("set -- \"$@\" {n}\n"),
            });
        }
        if !left.is_empty() && lines.len() == 1 {
            script.push_str("if [ $# = 0 ]; then exit 0; fi\n");
        }
        script.push_str(&format!("printf '%s\\n' \"$@\"\necho {mark}\ntp_rc=0\n"));
        for (verb, words) in &lines {
            let line = self.flags.line(verb, words, true);
            script.push_str(&if *verb == "install" {
                format!("if [ $# -gt 0 ]; then {line} \"$@\" || tp_rc=$?; fi\necho\n")
            } else {
                format!("{line} || tp_rc=$?\necho\n")
            });
        }
        script.push_str(&format!("echo {mark}$tp_rc\nexit 0\n"));
        Ok(Decision::Probe(
            script,
            Box::new(move |out| {
                let mut this = self;
                if let Some(why) = wrong(this.flags.tool, &out) {
                    return Ok(Decision::Done(why));
                }
                let text = out.text();
                let mut parts = text.split(&mark);
                let wanted: Vec<String> = parts.next().unwrap_or_default().lines().map(str::to_owned).collect();
                let Some(said) = parts.next() else { return Ok(nothing(&this.notes)) };
                let rc = parts.next().unwrap_or_default().trim();
                let errors = out.error_text();
                let missing =
                    said.lines().chain(errors.lines()).filter_map(|l| l.strip_prefix("No match for argument: "));
                if this.state == State::Absent {
                    this.notes.extend(missing.map(|n| format!("No match for argument: {n}")));
                } else if this.flags.skips {
                    this.notes.extend(missing.map(|n| format!("No package {} available.", n.trim())));
                }
                let plan = Plan::read(said, &now);
                // Of several, `upgrade` takes no offence at one that it may not see.
                let unseen =
                    this.state == State::Latest && !this.flags.skips && errors.contains("No match for argument: ");
                let wrong = unseen || errors.contains("Error: ");
                if plan.none() || wrong {
                    return Ok(Decision::Done(
                        if rc == "0" || !wrong && (said.contains(ABORTED) || errors.contains(ABORTED)) {
                            told(&this.notes, &Plan::default(), "Nothing to do")
                        } else {
                            trouble::result(said, &errors, &plan, &wanted)
                        },
                    ));
                }
                if let Some((_, last)) = lines.last_mut().filter(|(v, _)| *v == "install") {
                    *last = words(&wanted);
                }
                lines.retain(|(v, w)| *v != "install" || !w.is_empty());
                Ok(this.change(&lines, &plan))
            }),
        ))
    }

    fn change(self, lines: &[(&str, String)], plan: &Plan) -> Decision {
        let mark = mark();
        let lines: Vec<String> = lines.iter().map(|(verb, words)| self.flags.line(verb, words, false)).collect();
        let script = format!(
            "{}{}tp_all\necho {mark}\n{}\ntp_rc=$?\necho\necho {mark}$tp_rc\ntp_all\nexit 0\n",
            self.head(),
            self.flags.wait(),
            lines.join(" && ")
        );
        let plan = plan.clone();
        let mut fetched = self.notes.clone();
        fetched.extend(plan.installed.iter().map(|p| format!("Downloaded: {}", p.full())));
        let download = move |msg: &str| {
            let mut result = told(&fetched, &Plan::default(), msg);
            result.insert("changed".into(), true.into());
            result
        };
        let checked = "Check mode: No changes made, but would have if not in check mode";
        let expected = if self.flags.download_only { download(checked) } else { told(&self.notes, &plan, checked) };
        let names: Vec<String> = plan.installed.iter().chain(&plan.removed).map(Package::full).collect();
        Decision::Change(Pending {
            script,
            action: if self.state == State::Absent { Action::Delete } else { Action::Update },
            subject: format!("packages: {}", names.join(" ")),
            path: None,
            before: Some(json!(plan.removed.iter().map(Package::full).collect::<Vec<_>>())),
            after: Some(json!(plan.installed.iter().map(Package::full).collect::<Vec<_>>())),
            certain: true,
            // Scripts of packages start daemons, which keep the output.
            foreign: true,
            expected,
            finish: Box::new(move |out| {
                if let Some(why) = wrong(self.flags.tool, &out) {
                    return why;
                }
                let text = out.text();
                let read = |t: &str| t.lines().filter_map(Package::read).collect::<Vec<_>>();
                let mut parts = text.split(&mark);
                let before = read(parts.next().unwrap_or_default());
                let said = parts.next().unwrap_or_default();
                let (rc, after) = parts.next().and_then(|p| p.split_once('\n')).unwrap_or(("1", ""));
                if rc != "0" {
                    return trouble::result(said, &out.error_text(), &plan, &[]);
                }
                if self.flags.download_only {
                    return download("");
                }
                told(&self.notes, &Plan::between(&before, &read(after)), "")
            }),
        })
    }
}

/// What a script says where it could not even begin.
fn wrong(tool: Tool, out: &Output) -> Option<Fields> {
    let text = out.text();
    if let Some(path) = text.strip_prefix("none=") {
        return Some(refused(&no_program(tool.name(), path.trim()), &[("failures", json!([]))]));
    }
    if let Some(file) = text.strip_prefix("no_file=") {
        let msg = format!("Error occurred attempting remote rpm operation: Could not open: {}", file.trim());
        return Some(refused(&msg, &[("rc", json!(1)), ("results", json!([]))]));
    }
    if out.rc == 75 {
        return Some(refused("dnf lockfile is held by another process", &[("rc", json!(1)), ("results", json!([]))]));
    }
    (out.rc != 0).then(|| trouble::result(&text, &out.error_text(), &Plan::default(), &[]))
}

fn words(names: &[String]) -> String {
    names.iter().map(|n| format!(" {}", shell_quote(n))).collect()
}
