//! Packages by name: installed, newest, removed.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::command::TIME;
use super::names::{Spec, compare, matches};
use super::{Task, act, cache, failed, fields, seen};
use crate::modules::{Decision, Fields, Output};

/// A package that dpkg knows.
struct Installed {
    name: String,
    arch: String,
    version: String,
    whole: bool,
}

pub(super) fn prepare(task: Task, names: &[String], check: bool) -> Result<Decision, String> {
    let specs: Vec<Spec> = names.iter().map(|n| Spec::of(n)).collect();
    let list: Vec<String> = specs.iter().filter(|s| !s.name.is_empty()).map(|s| shell_quote(&s.name)).collect();
    let query = if list.is_empty() {
        String::new()
    } else {
        let marks = match task.state.as_str() {
            "present" | "latest" | "fixed" => format!(
                "if [ -r /var/lib/apt/extended_states ]; then awk -v n={} 'BEGIN {{ k = split(n, a, \" \"); for (i = 1; i <= k; i++) w[a[i]] = 1 }} \
                 $1 == \"Package:\" {{ p = $2 }} $1 == \"Auto-Installed:\" && $2 == 1 && p in w {{ print \"auto=\" p; exit }}' /var/lib/apt/extended_states; fi\n",
                shell_quote(&specs.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(" "))
            ),
            _ => String::new(),
        };
        format!(
            "{marks}echo\ndpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}|${{Architecture}}|${{Version}}\\n' {} 2>/dev/null\n",
            list.join(" ")
        )
    };
    let probe = format!("{TIME}tp_time\necho \"now=$(date +%s)\"\n{query}exit 0\n");
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let text = out.text();
            let (head, rest) = text.split_once("\n\n").unwrap_or((text.as_str(), ""));
            let facts = seen(Output { stdout: head.as_bytes().to_vec(), ..Output::default() });
            let get = |k: &str| facts.get(k).map(String::as_str).unwrap_or_default();
            let number = |k: &str| get(k).parse::<i64>().unwrap_or(0);
            let stale = number("time") + task.valid < number("now");
            let update = task.update && task.valid == 0 || task.valid > 0 && stale;
            let installed: Vec<Installed> = rest
                .lines()
                .filter_map(|l| {
                    let mut parts = l.split('|');
                    let state = parts.next()?;
                    let one = Installed {
                        name: parts.next()?.into(),
                        arch: parts.next()?.into(),
                        version: parts.next()?.into(),
                        whole: state.get(1..2) == Some("i"),
                    };
                    // `un` is a name that others only refer to.
                    (state.get(1..2) != Some("n")).then_some(one)
                })
                .collect();
            let time = get("time").to_owned();
            if specs.is_empty() {
                let mut result = fields([("changed", json!(update))]);
                cache(&mut result, update, &time);
                if !update || check {
                    return Ok(Decision::Done(result));
                }
                return Ok(refresh(&task));
            }
            let auto = facts.contains_key("auto");
            match task.state.as_str() {
                "absent" => remove(task, specs, installed, update, check),
                "build-dep" => {
                    let line = task.flags.build_dep(&specs.iter().map(Spec::full).collect::<Vec<_>>());
                    Ok(change(&task, line, update, check, true))
                }
                _ => install(task, specs, installed, Time { update, text: time, auto }, check),
            }
        }),
    ))
}

struct Time {
    update: bool,
    text: String,
    /// Some of the packages are there only because others need them.
    auto: bool,
}

fn refresh(task: &Task) -> Decision {
    let steps = super::Steps::new();
    let script = steps.script(&format!("{TIME}{}{}", task.env, task.flags.update()), "tp_time\n");
    let flags = task.flags.clone();
    let finish: crate::modules::Finish = Box::new(move |out| {
        let (out, after) = steps.split(out);
        let Some(after) = after else { return failed(Fields::new(), flags.not_updated(&out.error_text())) };
        let mut result = fields([("changed", json!(true))]);
        cache(&mut result, true, after.get("time").map(String::as_str).unwrap_or_default());
        result
    });
    let mut expected = fields([("changed", json!(true))]);
    cache(&mut expected, true, "");
    Decision::Change(task.pending(script, "lists of packages".into(), expected, finish))
}

/// A command line, asked what it would do if nothing may change.
fn change(task: &Task, line: String, update: bool, check: bool, with_cache: bool) -> Decision {
    let (script, finish) = act(task, line.clone(), update, with_cache);
    if check {
        return Decision::Probe(
            script,
            Box::new(move |out| {
                let result = finish(out);
                let changes = result.get("changed") == Some(&json!(true));
                Ok(if changes { foreseen(result, &line) } else { Decision::Done(result) })
            }),
        );
    }
    let subject = format!("packages: {}", line.split(" install ").last().unwrap_or_default());
    Decision::Change(task.pending(script, subject, fields([("changed", json!(true))]), finish))
}

/// A change that a plan lists; nothing is sent for it.
pub(super) fn foreseen(result: Fields, line: &str) -> Decision {
    let (verb, packages) = [" install ", " remove ", " build-dep "]
        .iter()
        .find_map(|v| line.split_once(v).map(|(_, p)| (*v, p)))
        .unwrap_or(("", ""));
    Decision::Change(crate::modules::Pending {
        script: "exit 1\n".into(),
        action: if verb == " remove " { Action::Delete } else { Action::Update },
        subject: format!("packages{verb}{packages}"),
        path: None,
        before: None,
        after: None,
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: crate::modules::finish(result),
    })
}

/// Asks `apt-cache` about names that dpkg alone can't decide on.
fn ask(specs: &[Spec]) -> String {
    let plain: Vec<String> =
        specs.iter().filter(|s| !s.is_pattern() && !s.name.is_empty()).map(|s| shell_quote(&s.name)).collect();
    let names = if specs.iter().any(Spec::is_pattern) { "apt-cache pkgnames | sed 's/^/name=/'\n" } else { "" };
    let known = if plain.is_empty() {
        String::new()
    } else {
        format!(
            "LC_ALL=C apt-cache policy {0}\nprintf '\\f\\n'\nLC_ALL=C apt-cache showpkg {0} 2>/dev/null\n",
            plain.join(" ")
        )
    };
    format!("{names}{known}exit 0\n")
}

#[derive(Default)]
struct Known {
    /// Candidate and all versions, the highest first.
    packages: HashMap<String, (Option<String>, Vec<String>)>,
    /// Who provides a name.
    provided: HashMap<String, Vec<String>>,
    names: Vec<String>,
}

impl Known {
    fn read(text: &str) -> Self {
        let mut all = Self::default();
        let (policy, show) = text.split_once('\u{c}').unwrap_or((text, ""));
        let mut name = String::new();
        for line in policy.lines() {
            if let Some(n) = line.strip_prefix("name=") {
                all.names.push(n.to_owned());
            } else if let Some(n) = line.strip_suffix(':').filter(|l| !l.starts_with(' ')) {
                name = n.split(':').next().unwrap_or_default().to_owned();
                all.packages.entry(name.clone()).or_default();
            } else if let Some(v) = line.strip_prefix("  Candidate: ") {
                all.packages.entry(name.clone()).or_default().0 = (v != "(none)").then(|| v.to_owned());
            } else if line.starts_with("     ") && !line.starts_with("        ") || line.starts_with(" *** ") {
                let version = line.trim_start_matches(" *** ").split_whitespace().next().unwrap_or_default();
                all.packages.entry(name.clone()).or_default().1.push(version.to_owned());
            }
        }
        let mut inside = false;
        for line in show.lines() {
            if let Some(n) = line.strip_prefix("Package: ") {
                (name, inside) = (n.to_owned(), false);
            } else if line.starts_with("Reverse Provides:") {
                inside = true;
            } else if inside {
                let by = line.split_whitespace().next().unwrap_or_default();
                all.provided.entry(name.clone()).or_default().push(by.to_owned());
            }
        }
        all
    }
}

fn here<'a>(installed: &'a [Installed], spec: &Spec) -> Option<&'a Installed> {
    installed.iter().find(|i| {
        i.whole
            && i.name == spec.name
            && spec.arch.as_ref().is_none_or(|a| *a == i.arch || i.arch == "all" || a == "all")
    })
}

fn install(
    task: Task,
    specs: Vec<Spec>,
    installed: Vec<Installed>,
    time: Time,
    check: bool,
) -> Result<Decision, String> {
    let latest = task.state == "latest";
    // Of versions by a pattern, the highest is meant.
    let open = |s: &Spec| s.version.as_ref().is_some_and(|v| !s.least && v.contains(['*', '?', '[']));
    let settled = |s: &Spec| !s.is_pattern() && !open(s) && here(&installed, s).is_some_and(|i| s.takes(&i.version));
    if !latest && task.state != "fixed" && specs.iter().all(settled) {
        return Ok(same(&task, &specs, &time, check));
    }
    if time.update && !check {
        // The lists that decide are read by the change itself.
        let wanted: Vec<String> = specs
            .iter()
            .filter(|s| latest || !settled(s))
            .map(|s| s.version.as_ref().filter(|_| !s.least).map_or_else(|| s.full(), |v| format!("{}={v}", s.full())))
            .collect();
        return Ok(change(&task, task.flags.install(&wanted), true, false, true));
    }
    Ok(Decision::Probe(
        ask(&specs),
        Box::new(move |out| {
            let known = Known::read(&out.text());
            let mut wanted = Vec::new();
            let mut providers = Vec::new();
            for spec in expand(&specs, &known, &installed)? {
                let now = here(&installed, &spec);
                let (candidate, versions) = known.packages.get(&spec.name).cloned().unwrap_or_default();
                if candidate.is_none() && versions.is_empty() && !known.names.contains(&spec.name) {
                    let Some(by) = known.provided.get(&spec.name).filter(|_| !spec.name.is_empty()) else {
                        return Err(format!("No package matching '{}' is available", spec.full()));
                    };
                    providers.push((spec.full(), by.clone()));
                    continue;
                }
                if task.flags.only_upgrade && now.is_none() {
                    continue;
                }
                let best = match &spec.version {
                    Some(_) => versions.iter().find(|v| spec.takes(v)).cloned(),
                    None => candidate,
                };
                if let Some(now) = now {
                    let newer = best.as_ref().is_some_and(|b| compare(b, &now.version) == Ordering::Greater);
                    let other = spec.version.as_ref().is_some_and(|v| !spec.least && v.contains(['*', '?', '[']))
                        && best.as_ref().is_some_and(|b| *b != now.version);
                    if spec.takes(&now.version) && !other && !(latest && newer) {
                        continue;
                    }
                }
                match (best, &spec.version) {
                    (Some(v), _) => wanted.push(format!("{}={v}", spec.full())),
                    (None, None) => wanted.push(spec.full()),
                    (None, Some(v)) => {
                        let mut result = Fields::new();
                        cache(&mut result, time.update, &time.text);
                        let op = if spec.least { ">=" } else { "=" };
                        return Ok(Decision::Done(failed(
                            result,
                            format!("no available installation candidate for {}{op}{v}", spec.full()),
                        )));
                    }
                }
            }
            if providers.is_empty() {
                return Ok(if wanted.is_empty() && task.state != "fixed" {
                    same(&task, &specs, &time, check)
                } else if wanted.is_empty() {
                    same(&task, &[], &time, check)
                } else {
                    change(&task, task.flags.install(&wanted), false, check, true)
                });
            }
            // A name that only others provide: is one of them there?
            let all: Vec<String> = providers.iter().flat_map(|(_, by)| by).map(|n| shell_quote(n)).collect();
            let probe = format!(
                "dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}\\n' {} 2>/dev/null\nexit 0\n",
                all.join(" ")
            );
            Ok(Decision::Probe(
                probe,
                Box::new(move |out| {
                    let text = out.text();
                    let there =
                        |n: &String| text.lines().any(|l| l.get(1..2) == Some("i") && l.rsplit('|').next() == Some(n));
                    wanted.extend(providers.into_iter().filter(|(_, by)| !by.iter().any(there)).map(|(name, _)| name));
                    Ok(if wanted.is_empty() {
                        same(&task, &[], &time, check)
                    } else {
                        change(&task, task.flags.install(&wanted), false, check, true)
                    })
                }),
            ))
        }),
    ))
}

/// Nothing to install. Packages that are named count as wanted for their own sake from now on.
fn same(task: &Task, specs: &[Spec], time: &Time, check: bool) -> Decision {
    let mut result = fields([("changed", json!(false))]);
    cache(&mut result, time.update, &time.text);
    if check || !time.update && (!time.auto || specs.is_empty()) {
        return Decision::Done(result);
    }
    let names: Vec<String> = specs.iter().filter(|s| !s.is_pattern()).map(|s| shell_quote(&s.full())).collect();
    let mark = if time.auto && !names.is_empty() {
        format!("apt-mark manual {} >/dev/null\n", names.join(" "))
    } else {
        String::new()
    };
    let steps = super::Steps::new();
    let update = if time.update { task.flags.update() } else { String::new() };
    let script = steps.script(&format!("{TIME}{}{update}{mark}", task.env), "tp_time\n");
    let flags = task.flags.clone();
    let (expected, updated) = (result.clone(), time.update);
    let subject = if updated { "lists of packages" } else { "marks of packages" };
    Decision::Change(task.pending(
        script,
        subject.into(),
        expected,
        Box::new(move |out| {
            let (out, after) = steps.split(out);
            let Some(after) = after else { return failed(Fields::new(), flags.not_updated(&out.error_text())) };
            cache(&mut result, updated, after.get("time").map(String::as_str).unwrap_or_default());
            result
        }),
    ))
}

/// Patterns as the names that they mean.
fn expand(specs: &[Spec], known: &Known, installed: &[Installed]) -> Result<Vec<Spec>, String> {
    let mut all = Vec::new();
    for spec in specs {
        if !spec.is_pattern() {
            all.push(spec.clone());
            continue;
        }
        let names = known.names.iter().chain(installed.iter().map(|i| &i.name));
        let mut found: Vec<&String> = names.filter(|n| matches(&spec.name, n)).collect();
        found.sort();
        found.dedup();
        if found.is_empty() {
            return Err(format!("No package(s) matching '{}' available", spec.name));
        }
        all.extend(found.into_iter().map(|n| Spec { name: n.clone(), ..spec.clone() }));
    }
    Ok(all)
}

fn remove(
    task: Task,
    specs: Vec<Spec>,
    installed: Vec<Installed>,
    update: bool,
    check: bool,
) -> Result<Decision, String> {
    let decide = move |specs: Vec<Spec>| {
        let gone: Vec<String> = specs
            .iter()
            .filter(|s| {
                let whole = here(&installed, s).is_some_and(|i| s.takes(&i.version));
                whole || task.flags.purge && installed.iter().any(|i| !i.whole && i.name == s.name)
            })
            .map(Spec::full)
            .collect();
        if gone.is_empty() && !update {
            return Decision::Done(fields([("changed", json!(false))]));
        }
        if gone.is_empty() {
            let mut task = task.clone();
            task.valid = 0;
            return refresh(&task);
        }
        change(&task, task.flags.remove(&gone), update, check, false)
    };
    if !specs.iter().any(Spec::is_pattern) {
        return Ok(decide(specs));
    }
    Ok(Decision::Probe(ask(&specs), Box::new(move |out| Ok(decide(expand(&specs, &Known::read(&out.text()), &[])?)))))
}
