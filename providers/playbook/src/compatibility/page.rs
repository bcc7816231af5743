//! The page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use towpath_core::Json;

use super::coverage::{Coverage, keywords, refusal};
use super::{home, lines, options, reasons, text};
use crate::{Meaning, setting_keys};

/// Cases of one part.
struct Part {
    name: &'static str,
    what: &'static str,
    all: usize,
    differ: usize,
}

pub(super) fn page() -> String {
    let seen = Coverage::of_all_cases();
    let mut out = String::from(
        "# Compatibility with Ansible\n\nWhat `towpath-playbook` does is held against ansible-core 2.18: each case was run by Ansible, its answer is stored, and a \
         test runs the same here. This page is made from those cases and from the tables that the code itself uses; a test fails where they say something else.\n",
    );
    numbers(&mut out);
    language(&mut out, &seen);
    jinja(&mut out);
    modules(&mut out, &seen);
    settings(&mut out);
    differences(&mut out);
    out
}

/// What one line of a list of differences is about: `case round N: task M`.
fn result(line: &str) -> String {
    let mut words = line.split(' ');
    let head: Vec<&str> = words.by_ref().take(5).collect();
    match head.as_slice() {
        [_, "round", _, "task", _] => head.join(" "),
        [case, "round", n, ..] => format!("{case} round {n} state"),
        _ => line.to_owned(),
    }
}

/// All stored answers of a folder, with the case's name, and how many results each has.
fn answers(folder: &str) -> BTreeMap<String, usize> {
    fn walk(dir: &std::path::Path, top: &std::path::Path, out: &mut BTreeMap<String, usize>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, top, out);
                continue;
            }
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let answer: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let Some(rounds) = answer["rounds"].as_array() else { continue };
            let count = rounds.iter().map(|r| r["tasks"].as_array().map_or(0, Vec::len)).sum();
            let name = path.strip_prefix(top).unwrap().with_extension("").display().to_string();
            out.insert(name, count);
        }
    }
    let mut out = BTreeMap::new();
    let dir = home().join(folder);
    walk(&dir, &dir, &mut out);
    out
}

/// How many results of the answers are in the list of differences; a case that is listed by its name is so with all of them.
fn differing(answers: &BTreeMap<String, usize>, list: &str) -> usize {
    let known = lines(list);
    let whole: BTreeSet<&String> = known.iter().filter(|l| answers.contains_key(*l)).collect();
    let single: BTreeSet<String> =
        known.iter().filter(|l| !l.starts_with("? ") && !whole.contains(l)).map(|l| result(l)).collect();
    whole.iter().map(|c| answers[*c]).sum::<usize>() + single.len()
}

fn count_files(folder: &str, end: &str) -> usize {
    let entries = std::fs::read_dir(home().join(folder)).unwrap();
    entries.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == end)).count()
}

fn parts() -> Vec<Part> {
    let expressions: Json = serde_json::from_str(&text("tests/it/jinja/answers.json")).unwrap();
    let (modules, roles) = (answers("tests/it/modules/cases"), answers("tests/it/roles/answers"));
    vec![
        Part {
            name: "language",
            what: "playbooks",
            all: count_files("tests/it/language/cases", "case"),
            differ: lines("tests/it/language/differences.txt").len(),
        },
        Part {
            name: "Jinja",
            what: "expressions",
            all: expressions["answers"].as_object().unwrap().len(),
            differ: lines("tests/it/jinja/differs.txt").len(),
        },
        Part {
            name: "modules",
            what: "results of tasks",
            all: modules.values().sum(),
            differ: differing(&modules, "tests/it/modules/differences.txt"),
        },
        Part {
            name: "output of the command",
            what: "runs, byte for byte",
            all: count_files("../tests/ansible_command/cases/answers", "txt"),
            differ: lines("../tests/ansible_command/differs.txt").len(),
        },
        Part {
            name: "roles",
            what: "results of tasks",
            all: roles.values().sum(),
            differ: differing(&roles, "tests/it/roles/differences.txt"),
        },
    ]
}

fn numbers(out: &mut String) {
    out.push_str(
        "\n## Numbers\n\n| part | compared | cases | equal | different |\n| --- | --- | ---: | ---: | ---: |\n",
    );
    let parts = parts();
    let (mut all, mut differ) = (0, 0);
    for p in &parts {
        let _ = writeln!(out, "| {} | {} | {} | {} | {} |", p.name, p.what, p.all, p.all - p.differ, p.differ);
        (all, differ) = (all + p.all, differ + p.differ);
    }
    let equal = all - differ;
    let share = equal * 1000 / all;
    let _ = writeln!(out, "| all | | {all} | {equal} | {differ} |\n\n{}.{} % are equal.", share / 10, share % 10);
}

fn code<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" ")
}

fn language(out: &mut String, seen: &Coverage) {
    out.push_str(
        "\n## Keywords\n\nWith the number of places in cases that use them.\n\n| of | keywords |\n| --- | --- |\n",
    );
    let mut refused = BTreeSet::new();
    for kind in ["play", "block", "task", "loop_control"] {
        let mut cells = Vec::new();
        for (_, name) in keywords().into_iter().filter(|(k, _)| *k == kind) {
            if refusal(kind, name).is_some() {
                refused.insert(name);
                cells.push(format!("`{name}` (refused)"));
            } else {
                cells.push(format!("`{name}` {}", seen.keywords.get(&(kind, name)).copied().unwrap_or_default()));
            }
        }
        let _ = writeln!(out, "| {kind} | {} |", cells.join(", "));
    }
    let _ = writeln!(
        out,
        "\nRefused: {}, with any value that asks for something. A keyword that is not in this list is an error, with the one that was probably meant.",
        code(refused.into_iter())
    );
}

fn jinja(out: &mut String) {
    let stored: Json = serde_json::from_str(&text("tests/it/jinja/answers.json")).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for id in stored["answers"].as_object().unwrap().keys() {
        *counts.entry(id.split_once(": ").map_or(id.as_str(), |(group, _)| group)).or_default() += 1;
    }
    let reasons: BTreeMap<String, String> = lines("tests/it/jinja/uncovered.yml")
        .iter()
        .filter_map(|l| l.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())))
        .collect();
    out.push_str("\n## Filters, tests and lookups\n\nWith the number of expressions that are compared.\n");
    for kind in ["filter", "test", "lookup"] {
        let _ = write!(out, "\n**{}{}s**: ", kind[..1].to_uppercase(), &kind[1..]);
        let mut cells = Vec::new();
        for name in lines("tests/it/jinja/names.txt") {
            let Some(short) = name.strip_prefix(kind).and_then(|n| n.strip_prefix(' ')) else { continue };
            // `|` would end a cell elsewhere, and these are in no table.
            let count = counts.get(name.as_str()).copied().unwrap_or_default();
            cells.push(match reasons.get(&name) {
                Some(why) => format!("`{short}` (not compared: {why})"),
                None => format!("`{short}` {count}"),
            });
        }
        let _ = writeln!(out, "{}.", cells.join(", "));
    }
}

fn modules(out: &mut String, seen: &Coverage) {
    let (missing, uncovered) = (reasons("src/modules/missing.md"), reasons("tests/it/modules/uncovered.md"));
    out.push_str(
        "\n## Modules\n\nAll of ansible.builtin. An option that is not done is an error that names it; a module that is not there is one at the task that \
         reaches it. The last column has the number of tasks in cases.\n\n| module | options that are done | refused | tasks |\n| --- | --- | --- | ---: |\n",
    );
    for (module, options) in options() {
        let tasks = seen.options.get(&module).copied().unwrap_or_default();
        if let Some(why) = missing.get(&module) {
            let _ = writeln!(out, "| `{module}` | | all: {why} | {tasks} |");
            continue;
        }
        let refusal = |o: &&String| missing.get(&format!("{module}.{o}"));
        let done = code(options.keys().filter(|o| refusal(o).is_none()).map(String::as_str));
        let refused: Vec<String> = options.keys().filter_map(|o| Some(format!("`{o}`: {}", refusal(&o)?))).collect();
        let _ = writeln!(out, "| `{module}` | {done} | {} | {tasks} |", refused.join("; "));
    }
    out.push_str("\nOptions that are done and in no case, with the reason:\n\n| option | reason |\n| --- | --- |\n");
    for (name, why) in uncovered {
        let _ = writeln!(out, "| `{name}` | {why} |");
    }
}

fn settings(out: &mut String) {
    out.push_str(
        "\n## Settings\n\n[Settings of Ansible](ansible-settings.md) has the reason for each key of `ansible.cfg` and each variable.\n\n| | keys | |\n| --- | ---: | --- |\n",
    );
    for (meaning, name) in [
        (Meaning::Honoured, "honoured"),
        (Meaning::Needless, "needless here"),
        (Meaning::Warned, "no effect, and a warning"),
        (Meaning::Plugins, "folders of Python plug-ins, refused if they hold some"),
        (Meaning::Refused, "refused unless it is the default"),
    ] {
        let keys: Vec<&str> = setting_keys().filter(|k| k.meaning == meaning).map(|k| k.name).collect();
        let _ = writeln!(out, "| {name} | {} | {} |", keys.len(), code(keys.iter().copied()));
    }
}

fn differences(out: &mut String) {
    out.push_str("\n## What differs\n\nThese lists may only shrink.\n\n**Language**\n\n");
    for line in lines("tests/it/language/differences.txt") {
        let _ = writeln!(out, "- {line}");
    }
    out.push_str("\n**Jinja**\n\n");
    for line in lines("tests/it/jinja/differs.txt") {
        let (case, why) = line.rsplit_once(" # ").unwrap_or((&line, ""));
        // Braces and pipes stay as they are inside code.
        let _ = writeln!(out, "- `{case}`: {why}");
    }
    for (title, folder, list) in [
        ("Modules", "tests/it/modules/cases", "tests/it/modules/differences.txt"),
        ("Roles", "tests/it/roles/answers", "tests/it/roles/differences.txt"),
    ] {
        let _ = write!(out, "\n**{title}**: case, results that differ, and in what\n\n");
        let answers = answers(folder);
        let why = reasons(&format!("{}/reasons.md", list.rsplit_once('/').map_or("", |(dir, _)| dir)));
        let mut cases: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
        for line in lines(list).iter().filter(|l| !l.starts_with("? ")) {
            let case = line.split(' ').next().unwrap_or_default().to_owned();
            let entry = cases.entry(case).or_default();
            entry.0.insert(result(line));
            let what = line.split(' ').nth(5).map(|w| w.trim_end_matches(':').to_owned());
            entry
                .1
                .insert(what.unwrap_or_else(|| if answers.contains_key(line) { "all".into() } else { "state".into() }));
        }
        for (case, (results, what)) in cases {
            let count = answers.get(&case).filter(|_| what.contains("all")).copied().unwrap_or(results.len());
            let what = code(what.iter().map(String::as_str));
            let why = why.get(&case).map(|w| format!(": {w}")).unwrap_or_default();
            let _ = writeln!(out, "- {case}, {count}: {what}{why}");
        }
    }
    out.push_str("\n**Output of the command**\n\n");
    for line in text("../tests/ansible_command/differs.txt").lines() {
        let _ = writeln!(out, "- {}", line.trim_start_matches(['#', ' ']));
    }
}
