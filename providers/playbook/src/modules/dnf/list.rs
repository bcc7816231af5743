//! The option `list`: packages and repositories as results.

use serde_json::json;
use towpath_core::shell_quote;

use super::Package;
use super::flags::Flags;
use super::{mark, wrong};
use crate::modules::{Decided, Decision, Fields, fields};

/// The columns of a package.
const FORMAT: &str = "%{name}|%{arch}|%{epoch}|%{version}|%{release}|%{repoid}";

pub(super) fn prepare(flags: Flags, env: String, what: &str) -> Decided {
    let mark = mark();
    let query = |words: &str| flags.query(&format!("repoquery --qf '{FORMAT}\\n' {words}"));
    let installed = query("--installed");
    let line = match what {
        "installed" => installed,
        // Each version that is newer than what is there, not only the newest.
        "updates" | "upgrades" => format!("{installed}\necho {mark}\n{}", query("--available")),
        "available" => query("--available"),
        "repos" | "repositories" => flags.query("repolist"),
        spec => format!(
            "{}\necho {mark}\n{}",
            query(&format!("--installed -- {}", shell_quote(spec))),
            query(&format!("--available -- {}", shell_quote(spec)))
        ),
    };
    let tool = flags.tool;
    let newer = matches!(what, "updates" | "upgrades");
    let repos = matches!(what, "repos" | "repositories");
    let script = format!("{env}{}{}{line}\n", tool.find(), flags.wait());
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            if let Some(why) = wrong(tool, &out) {
                return Ok(Decision::Done(why));
            }
            let text = out.text();
            let (installed, available) = text.split_once(&mark).unwrap_or((text.as_str(), ""));
            let (installed, mut available) = (read(installed), read(available));
            if newer {
                available.retain(|(_, p)| is_newer(p, &installed));
            }
            let results: Vec<Fields> = if repos {
                text.lines().skip(1).filter_map(repository).collect()
            } else {
                let shown = if newer { Vec::new() } else { installed };
                shown.iter().chain(&available).filter_map(|(line, _)| package(line)).collect()
            };
            let result = fields([("changed", json!(false)), ("msg", json!("")), ("results", json!(results))]);
            Ok(Decision::Done(result))
        }),
    ))
}

fn repository(line: &str) -> Option<Fields> {
    let id = line.split_whitespace().next()?;
    Some(fields([("repoid", json!(id)), ("state", json!("enabled"))]))
}

/// The lines of packages, in the order of names and versions.
fn read(text: &str) -> Vec<(String, Package)> {
    let one = |l: &str| {
        let (package, _) = l.rsplit_once('|')?;
        let words: Vec<&str> = package.split('|').collect();
        let [name, arch, epoch, version, release] = *words.as_slice() else { return None };
        Some((l.to_owned(), Package::of(name, arch, &format!("{epoch}:{version}-{release}"))?))
    };
    let mut all: Vec<_> = text.lines().filter_map(one).collect();
    all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name).then_with(|| a.order(b)).then_with(|| a.arch.cmp(&b.arch)));
    all
}

/// Whether a package of that name is there, and each is older.
fn is_newer(package: &Package, installed: &[(String, Package)]) -> bool {
    let mut same = installed.iter().map(|(_, i)| i).filter(|i| i.name == package.name).peekable();
    same.peek().is_some() && same.all(|i| i.order(package).is_lt())
}

fn package(line: &str) -> Option<Fields> {
    let words: Vec<&str> = line.split('|').collect();
    let [name, arch, epoch, version, release, repo] = *words.as_slice() else { return None };
    let full = format!("{epoch}:{name}-{version}-{release}.{arch}");
    let there = repo == "@System";
    Some(fields([
        ("name", json!(name)),
        ("arch", json!(arch)),
        ("epoch", json!(epoch)),
        ("release", json!(release)),
        ("version", json!(version)),
        ("repo", json!(repo)),
        ("nevra", json!(full)),
        ("envra", json!(full)),
        ("yumstate", json!(if there { "installed" } else { "available" })),
    ]))
}
