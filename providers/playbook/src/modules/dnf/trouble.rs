//! What dnf says where it can't do something, as results tell it.

use serde_json::json;

use super::table::Plan;
use super::{failed, refused};
use crate::modules::Fields;

/// The result; `plan` is what was to be done, `names` what was to be installed.
pub(super) fn result(said: &str, errors: &str, plan: &Plan, names: &[String]) -> Fields {
    let lines = || said.lines().chain(errors.lines());
    if let Some(file) = lines().find_map(|l| l.strip_prefix("Config error: Config file \"")) {
        let file = file.split('"').next().unwrap_or_default();
        return refused("cannot read configuration file", &[("conf_file", json!(file)), ("results", json!([]))]);
    }
    let missing: Vec<String> = lines()
        .filter_map(|l| {
            const EXCLUDED: &str = "All matches were filtered out by exclude filtering for argument: ";
            let name = |prefix: &str| Some(l.strip_prefix(prefix)?.trim());
            let excluded = |n: &str| format!("{n} {EXCLUDED}{n}");
            match name("No match for argument: ") {
                // What is there already is hidden by an exclusion only.
                Some(n) if names.iter().any(|w| w == n) => Some(format!("No package {n} available.")),
                Some(n) => Some(excluded(n)),
                None => name(EXCLUDED).map(excluded),
            }
        })
        .collect();
    if errors.contains("Error: There are no enabled repositories") {
        let missing: Vec<String> = names.iter().map(|n| format!("No package {n} available.")).collect();
        return failed("Failed to install some of the specified packages", &missing);
    }
    let said_so = ["Error: Unable to find a match", "Error: No packages marked for upgrade"];
    if said_so.iter().any(|t| errors.contains(t)) || !missing.is_empty() && !errors.contains("Error: ") {
        return failed("Failed to install some of the specified packages", &missing);
    }
    if let Some(file) = lines().find_map(|l| l.strip_prefix("Package ")?.strip_suffix(".rpm is not signed")) {
        let name = plan.installed.iter().map(super::Package::full).find(|p| file.starts_with(p.as_str()));
        let name = name.unwrap_or_else(|| file.to_owned());
        return refused(&format!("Failed to validate GPG signature for {name}: Package {file}.rpm is not signed"), &[]);
    }
    if said.contains("You have enabled checking of packages via GPG keys") || errors.contains("via GPG keys") {
        let name = plan.installed.first().map(super::Package::full).unwrap_or_default();
        return refused(
            &format!(
                "Failed to validate GPG signature for {name}: no public key is installed; import one with rpm_key"
            ),
            &[],
        );
    }
    if let Some((why, rest)) = errors.lines().rev().find_map(|l| l.strip_prefix("Curl error ")?.split_once(": ")) {
        let url = rest.split(" for ").nth(1).and_then(|r| r.split(" [").next()).unwrap_or_default();
        let why = match why {
            "(7)" => "Request failed: <urlopen error [Errno 111] Connection refused>".to_owned(),
            _ => rest.to_owned(),
        };
        return refused(&format!("Failure downloading {url}, {why}"), &[]);
    }
    let Some((_, problem)) = errors.split_once("Error: ") else {
        let last = lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
        return failed(last, &missing);
    };
    // What follows are hints for who types commands.
    let problem = problem.split("\n(try to ").next().unwrap_or_default().trim_end();
    if problem.contains("Problem") {
        return failed(&format!("Depsolve Error occurred: {problem}"), &missing);
    }
    failed(problem, &missing)
}
