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

/// The program takes the artifact's digest when it runs.
fn forget_digest(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.iter_mut().for_each(|(k, v)| *v = if k == "digest" { "".into() } else { forget_digest(v.take()) })
        }
        Value::Array(items) => items.iter_mut().for_each(|v| *v = forget_digest(v.take())),
        _ => {}
    }
    value
}

#[test]
fn the_builder_and_the_file_give_one_pipeline() {
    std::env::set_current_dir(here("")).unwrap();
    let built = web::pipeline().unwrap();
    built.check(&towpath::registry()).unwrap();
    let written = Pipeline::load(Path::new("web.yml"), &towpath::registry()).unwrap();
    let registry = towpath::registry();
    assert_eq!(forget_digest(written.bare(&registry)), forget_digest(built.bare(&registry)));
}
