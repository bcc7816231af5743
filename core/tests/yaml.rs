//! Pipeline files: what they mean, and what is said about wrong ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use serde_json::json;
use towpath_core::pipeline::{OnFailure, OutputKind, Pipeline, PipelineBuilder, RetryPolicy, Values};
use towpath_core::{Context, Error, ErrorKind, Registry};

fn registry() -> Registry {
    let mut registry = Registry::new();
    let nothing = |_: Context, _: Values| async { Ok(()) };
    registry.function("make/v1", nothing).output("host", OutputKind::String).output("count", OutputKind::Number);
    registry.function("use/v1", nothing);
    registry
}

fn wrong(text: &str) -> Error {
    let error = Pipeline::from_yaml(text, "p.yml", &registry()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error
}

#[track_caller]
fn says(text: &str, place: &str, part: &str) {
    let error = wrong(text);
    assert_eq!(error.get("file"), Some(place), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn a_file_and_the_builder_give_the_same_pipeline() {
    let text = "
name: web
parameters: { version: v1, count: 0x10 }
steps:
  make: { call: make/v1, retry: { attempts: 5 }, lease: db }
  use:
    call: use/v1
    host: { from: make.host }
    texts: [yes, '1', 1, 1.5, ~, &a { deep: true }, *a]
    version: { param: version }
    after: make
    on_failure: continue
";
    let p = PipelineBuilder::new("web");
    let version = p.parameter("version", "v1".to_owned());
    p.parameter("count", 16u64);
    let make = p.call("make", "make/v1").retry(RetryPolicy::attempts(5)).lease("db");
    let _ = p
        .call("use", "use/v1")
        .input("host", make.output::<String>("host"))
        .input("texts", json!(["yes", "1", 1, 1.5, null, { "deep": true }, { "deep": true }]))
        .input("version", &version)
        .after(&make)
        .on_fail(OnFailure::Continue);
    assert_eq!(Pipeline::from_yaml(text, "p.yml", &registry()).unwrap(), p.finish());
}

#[test]
fn wrong_files_are_told_where_and_what_was_meant() {
    says("name: w\nstpes: {}\n", "p.yml:2", "did you mean `steps`");
    says("name: w\nsteps:\n  a:\n    cal: make/v1\n", "p.yml:3", "did you mean `call` where it says `cal`");
    says("name: w\nsteps:\n  a:\n    call: mak/v1\n", "p.yml:4", "did you mean `make/v1`");
    says("name: w\nsteps:\n  a:\n    call: make/v1\n    after: [b]\n", "p.yml:5", "`b`, which does not exist");
    let reference =
        "name: w\nsteps:\n  a: { call: make/v1 }\n  b:\n    call: use/v1\n    x:\n      y: { from: a.hots }\n";
    says(reference, "p.yml:7", "did you mean `host`");
    says("name: w\nsteps:\n  a:\n    gate: x\n    rul: 1\n", "p.yml:5", "did you mean `rule`");
    says("name: w\nsteps:\n  a: { call: make/v1, retry: { atempts: 2 } }\n", "p.yml:3", "atempts");
    says("name: w\nname: v\n", "p.yml:2", "twice");
    says("name: w\nsteps: [\n", "p.yml:3", "no YAML");
    says("name: w\nsteps:\n  - { call: make/v1 }\n", "p.yml:3", "needs a `name`");
    says("", "p.yml:1", "empty");
    says("a: !!python/object x\n", "p.yml:1", "");
}

#[test]
fn a_circle_names_its_steps() {
    let text = "name: w\nsteps:\n  a: { call: use/v1, after: b }\n  b: { call: use/v1, after: a }\n";
    says(text, "p.yml:3", "wait for each other");
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let line = format!("*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}", i - 1);
        text.push_str(&format!("a{i}: &a{i} [{line}]\n"));
    }
    assert!(wrong(&text).message().contains("too large"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Pipeline::load(std::path::Path::new("nowhere.yml"), &registry()).unwrap_err();
    assert_eq!((error.kind(), error.get("file")), (ErrorKind::NotFound, Some("nowhere.yml")));
}
