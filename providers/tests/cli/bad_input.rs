//! Wrong pipelines and command lines: what is said, where, and that nothing was made before.

use crate::place::{HERE, NOTES, Place};

/// Runs this as `p.yml` and expects exit code 2, these parts in the error, and nothing made.
#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let place = Place::new().with("p.yml", text);
    for verb in ["run", "plan", "preflight"] {
        let said = place.towpath(&[verb, "p.yml"]).ends(2);
        said.complains(parts);
        assert_eq!(said.out, "", "{verb}");
        place.holds_only(&["p.yml"]);
    }
}

#[test]
fn an_unknown_field_is_told_with_file_line_and_the_nearest_name() {
    refused(
        &NOTES.replace("observations: [{ metric", "observation: [{ metric"),
        &["p.yml:10", "observation", "did you mean `observations`?"],
    );
    refused(&NOTES.replace("parameters:", "paramters:"), &["p.yml:3", "paramters", "did you mean `parameters`?"]);
    refused(
        &NOTES.replace("name: answer,", "name: answer, valeu: 1,"),
        &["p.yml:10", "valeu", "did you mean `value`?"],
    );
    let config = "name: f\nsteps:\n  fleet:\n    provision:\n      local:\n        hosts: 1\n        prots: [a]\n";
    refused(config, &["p.yml:7", "step=fleet", "unknown field `prots`", "did you mean `ports`?"]);
}

#[test]
fn a_wrong_value_is_told() {
    let config = "name: f\nsteps:\n  fleet:\n    provision:\n      local: { hosts: many }\n";
    refused(config, &["p.yml:5", "step=fleet", "must be integer, not a string"]);
    refused(&NOTES.replace("after: first", "timeout_s: soon"), &["second", "p.yml:8"]);
}

#[test]
fn an_unknown_provider_is_told() {
    refused(
        &NOTES.replace("record: local", "record: locla"),
        &["p.yml:6", "no monitor called `locla`", "did you mean `local`?"],
    );
    refused(&NOTES.replace("record: local", "rekord: local"), &["p.yml:5", "did you mean `record`"]);
}

#[test]
fn an_unknown_step_or_output_is_told() {
    refused(&NOTES.replace("after: first", "after: frist"), &["p.yml:11", "frist", "did you mean `first`?"]);
    let text = format!(
        "{NOTES}  third:\n    ship_logs: {{ jsonl: {{ path: l }} }}\n    files: [{{ path: x, source: s }}]\n    inventory: {{ from: second.inventry }}\n"
    );
    refused(&text, &["p.yml:15", "second", "inventry"]);
}

#[test]
fn an_output_of_the_wrong_kind_names_both_steps() {
    let text = format!(
        "name: k\nsteps:\n  ask:\n    gate: local\n    inventory: {HERE}\n    rule: {{ checks: [] }}\n  site:\n    configure: {{ playbook: {{ file: site.yml }} }}\n    inventory: {{ from: ask.verdict }}\n"
    );
    refused(&text, &["p.yml:9", "site", "ask.verdict", "inventory", "verdict"]);
}

#[test]
fn a_circle_names_its_steps() {
    refused(
        &NOTES.replace("    observations: [{ notice", "    after: second\n    observations: [{ notice"),
        &["p.yml:5", "wait for each other", "first", "second"],
    );
}

#[test]
fn bad_yaml_is_told_with_its_line() {
    refused("name: x\nsteps: [\n", &["p.yml:3", "no YAML"]);
    refused("name: x\nsteps: {}\nname: y\n", &["p.yml:3", "`name` stands here twice"]);
    refused("", &["p.yml:1", "empty"]);
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    for verb in ["run", "plan", "preflight"] {
        place.towpath(&[verb, "nowhere.yml"]).ends(2).complains(&["nowhere.yml", "can't be read"]);
    }
    place.towpath(&["run", "--plan", "nowhere.json"]).ends(2).complains(&["nowhere.json", "towpath plan --out"]);
    place.holds_only(&[]);
}

#[test]
fn parameters_are_checked() {
    let place = Place::new().with("p.yml", NOTES);
    place.towpath(&["run", "p.yml", "--set", "titel=x"]).ends(2).complains(&["titel", "did you mean `title`?"]);
    place.towpath(&["run", "p.yml", "--set", "title"]).ends(2).complains(&["NAME=VALUE", "--set title"]);
    place.holds_only(&["p.yml"]);
}

#[test]
fn wrong_command_lines_end_with_2() {
    let place = Place::new().with("p.yml", NOTES);
    place.towpath(&["statsus"]).ends(2).complains(&["statsus", "'status'"]);
    place.towpath(&["run"]).ends(2).complains(&["<FILE", "--plan"]);
    place.towpath(&["run", "p.yml", "--page", "x", "--no-page"]).ends(2).complains(&["cannot be used with"]);
    place.towpath(&["run", "p.yml", "--store", "postgres:db"]).ends(2).complains(&["sqlite:PATH"]);
    place.holds_only(&["p.yml"]);
}

#[test]
fn an_unknown_run_or_step_is_told() {
    let place = Place::new().with("p.yml", NOTES);
    place.towpath(&["run", "p.yml"]).ends(0);
    place.towpath(&["status", "nothing"]).ends(2).complains(&["no such run", "nothing", ".towpath/store.db"]);
    place.towpath(&["approve", "nothing", "first"]).ends(2).complains(&["no such run"]);
    place.towpath(&["resume", "nothing"]).ends(2).complains(&["no such run"]);
}
