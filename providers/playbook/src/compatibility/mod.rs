//! What is compared with Ansible and what is not, as a page of the book; and that nothing is left out without a reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

mod coverage;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use towpath_core::Json;

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn text(path: &str) -> String {
    let path = home().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines of a list, without comments.
fn lines(path: &str) -> Vec<String> {
    let wanted = |l: &&str| !l.trim().is_empty() && !l.starts_with('#');
    text(path).lines().filter(wanted).map(str::to_owned).collect()
}

/// Options of all modules with their aliases, as `ansible-doc` has them.
fn options() -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let table: Json = serde_json::from_str(include_str!("../modules/options.json")).unwrap();
    let names =
        |v: &Json| v["aliases"].as_array().into_iter().flatten().map(|a| a.as_str().unwrap().to_owned()).collect();
    let of = |m: &Json| m.as_object().unwrap().iter().map(|(k, v)| (k.clone(), names(v))).collect();
    table.as_object().unwrap().iter().map(|(k, v)| (k.clone(), of(v))).collect()
}

/// Reasons of a table in Markdown whose first cell is a name: `` | `name` | reason | ``.
fn reasons(path: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (name, reason) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), reason.trim_end_matches(['|', ' ']).to_owned()))
    };
    text(path).lines().filter_map(row).collect()
}

#[test]
fn every_option_has_a_case_or_a_reason() {
    let seen = coverage::Coverage::of_all_cases();
    let missing = reasons("src/modules/missing.md");
    let uncovered = reasons("tests/it/modules/uncovered.md");
    let (mut nothing, mut needless) = (Vec::new(), Vec::new());
    for (module, options) in options() {
        for option in options.keys() {
            let name = format!("{module}.{option}");
            let covered = seen.options.contains_key(&name);
            let reason = [&module, &name].iter().any(|n| missing.contains_key(*n) || uncovered.contains_key(*n));
            if !covered && !reason {
                nothing.push(name.clone());
            }
            if covered && uncovered.contains_key(&name) {
                needless.push(name);
            }
        }
    }
    let known: BTreeSet<String> = options()
        .into_iter()
        .flat_map(|(m, o)| o.into_keys().map(move |o| format!("{m}.{o}")).collect::<Vec<_>>())
        .collect();
    let unknown: Vec<_> = uncovered.keys().filter(|n| !known.contains(*n) && !options().contains_key(*n)).collect();
    assert!(nothing.is_empty(), "neither a case nor a reason in uncovered.md: {nothing:#?}");
    assert!(needless.is_empty(), "has a case now, take out of uncovered.md: {needless:#?}");
    assert!(unknown.is_empty(), "in uncovered.md, but in no module: {unknown:#?}");
}

#[test]
fn every_keyword_has_a_case_or_is_refused() {
    let seen = coverage::Coverage::of_all_cases();
    let nothing: Vec<String> = coverage::keywords()
        .into_iter()
        .filter(|(kind, name)| !seen.keywords.contains_key(&(*kind, *name)) && coverage::refusal(kind, name).is_none())
        .map(|(kind, name)| format!("{name} of a {kind}"))
        .collect();
    assert!(nothing.is_empty(), "without a case: {nothing:#?}");
}

/// The names of the stored tables are those that the installed `ansible-doc` has.
#[test]
fn the_tables_are_those_of_ansible_doc() {
    let Some(playbook) = std::env::var_os("TOWPATH_TEST_ANSIBLE").map(PathBuf::from) else {
        eprintln!("NOT RUN: names of ansible-doc: set TOWPATH_TEST_ANSIBLE to an ansible-playbook");
        return;
    };
    let doc = playbook.with_file_name("ansible-doc");
    let ask = |args: &[&str]| -> Json {
        let out = Command::new(&doc).args(args).arg("--json").output().unwrap();
        serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&out.stderr)))
    };
    let short = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let of_builtin = |kind: &str| -> Vec<String> {
        let all = ask(&["-t", kind, "-l", "ansible.builtin"]);
        all.as_object().unwrap().keys().map(|k| short(k)).collect()
    };
    let names: BTreeSet<String> = lines("tests/it/jinja/names.txt").into_iter().collect();
    for kind in ["filter", "test", "lookup"] {
        let lost: Vec<String> =
            of_builtin(kind).into_iter().map(|n| format!("{kind} {n}")).filter(|n| !names.contains(n)).collect();
        assert!(lost.is_empty(), "not in names.txt: {lost:#?}");
    }
    let modules = of_builtin("module");
    let words: Vec<&str> = ["-t", "module"].into_iter().chain(modules.iter().map(String::as_str)).collect();
    let table = options();
    let mut lost = Vec::new();
    for (name, about) in ask(&words).as_object().unwrap() {
        let module = short(name);
        for (option, what) in about["doc"]["options"].as_object().into_iter().flatten() {
            let have = table.get(&module).and_then(|o| o.get(option));
            let aliases = what["aliases"].as_array().into_iter().flatten().filter_map(Json::as_str);
            if have.is_none_or(|have| aliases.into_iter().any(|a| !have.iter().any(|h| h == a))) {
                lost.push(format!("{module}.{option}"));
            }
        }
    }
    assert!(lost.is_empty(), "not as in options.json: {lost:#?}");
}

#[test]
fn every_difference_has_a_reason() {
    for part in ["modules", "roles"] {
        let known = reasons(&format!("tests/it/{part}/reasons.md"));
        let case = |l: &String| l.trim_start_matches("? ").split(' ').next().unwrap_or_default().to_owned();
        let cases: BTreeSet<String> = lines(&format!("tests/it/{part}/differences.txt"))
            .iter()
            .filter(|l| !l.starts_with("? "))
            .map(case)
            .collect();
        let without: Vec<_> = cases.iter().filter(|c| !known.contains_key(*c)).collect();
        let needless: Vec<_> = known.keys().filter(|c| !cases.contains(*c)).collect();
        assert!(without.is_empty(), "no reason in {part}/reasons.md: {without:?}");
        assert!(needless.is_empty(), "equal now, take out of {part}/reasons.md: {needless:?}");
    }
    for (path, separator) in [("tests/it/language/differences.txt", ": "), ("tests/it/jinja/differs.txt", " # ")] {
        for line in lines(path) {
            assert!(line.contains(separator), "{path}: no reason: {line}");
        }
    }
}

#[test]
fn the_page_says_what_the_tables_say() {
    let path = home().join("../../docs/src/playbook-compatibility.md");
    let page = page::page();
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "{} is not what the tables say; TOWPATH_UPDATE=1 writes it anew", path.display());
}
