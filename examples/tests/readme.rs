//! The README's pipeline: its three spellings are files here, and one value.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use towpath::pipeline::Pipeline;

#[allow(dead_code)]
#[path = "../web.rs"]
mod web;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(here(name)).unwrap()
}

/// The README's block in a language.
fn block(language: &str) -> String {
    let readme = read("../README.md");
    let (_, rest) = readme.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_readme_shows_the_files() {
    assert!(read("web.yml").ends_with(&block("yaml")));
    assert!(read("web.py").ends_with(&block("python")));
    let program = read("web.rs");
    let lines: Vec<&str> = program.lines().map(str::trim).collect();
    for line in block("rust,ignore").lines().filter(|l| !l.is_empty() && *l != "let p = p.finish();") {
        assert!(lines.contains(&line), "web.rs does not have the README's line: {line}");
    }
}

/// Every value of `written` is in `built`, which may spell defaults out.
fn assert_within(written: &Value, built: &Value, at: &str) {
    match (written, built) {
        (Value::Object(written), Value::Object(built)) => {
            for (key, value) in written {
                let found = built.get(key).unwrap_or_else(|| panic!("{at} has no `{key}`"));
                assert_within(value, found, &format!("{at}/{key}"));
            }
        }
        (Value::Array(written), Value::Array(built)) => {
            assert_eq!(written.len(), built.len(), "{at}");
            written.iter().zip(built).enumerate().for_each(|(i, (w, b))| assert_within(w, b, &format!("{at}/{i}")));
        }
        // The program takes the digest when it runs.
        (Value::String(written), Value::String(_)) if written.is_empty() && at.ends_with("/digest") => {}
        _ => assert_eq!(written, built, "{at}"),
    }
}

#[test]
fn the_builder_and_the_file_give_one_pipeline() {
    std::env::set_current_dir(here("")).unwrap();
    let built = web::pipeline().unwrap();
    built.check(&towpath::registry()).unwrap();
    let written = Pipeline::load(Path::new("web.yml"), &towpath::registry()).unwrap();
    assert_within(&serde_json::to_value(&written).unwrap(), &serde_json::to_value(&built).unwrap(), "pipeline");
    assert_eq!(built.steps.len(), written.steps.len());
}
