//! The committed JSON Schemas, and what an editor makes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use towpath_core::Json;
use towpath_core::pipeline::Pipeline;

use crate::place::{NOTES, Place, slow};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema")
}

fn expected() -> BTreeMap<String, String> {
    let registry = towpath::registry();
    let mut all = registry.config_schemas();
    all.insert("pipeline".into(), registry.pipeline_schema());
    let text = |schema| serde_json::to_string_pretty(&schema).unwrap() + "\n";
    all.into_iter().map(|(name, schema)| (format!("{name}.json"), text(schema))).collect()
}

#[test]
fn schemas_in_docs_are_up_to_date() {
    let folder = folder();
    let expected = expected();
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for file in std::fs::read_dir(&folder).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        for (name, text) in &expected {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let committed: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(p).unwrap()))
        .collect();
    let how = "run `TOWPATH_UPDATE=1 cargo test -p towpath --all-features --test cli schemas` and commit docs/schema";
    assert_eq!(committed.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{how}");
    for (name, text) in &expected {
        assert!(committed[name] == *text, "docs/schema/{name} is not what the code says: {how}");
    }
}

#[test]
fn the_command_prints_the_same() {
    let place = Place::new();
    let expected = expected();
    assert_eq!(place.towpath(&["schema"]).ends(0).out, expected["pipeline.json"]);
    assert_eq!(place.towpath(&["schema", "provisioner-local"]).ends(0).out, expected["provisioner-local.json"]);
    assert_eq!(place.towpath(&["schema", "ssh"]).ends(0).out, expected["connector-ssh.json"]);
    place.towpath(&["schema", "local"]).ends(2).complains(&["several providers", "provisioner-local", "monitor-local"]);
    place.towpath(&["schema", "conector-ssh"]).ends(2).complains(&["did you mean `connector-ssh`?"]);
    place.holds_only(&[]);
}

fn json(yaml: &str) -> Json {
    Pipeline::yaml_value(yaml, "test.yml").unwrap()
}

#[test]
fn a_real_validator_takes_good_files_and_finds_typos() {
    let schema = towpath::registry().pipeline_schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for config in towpath::registry().config_schemas().values() {
        jsonschema::draft202012::meta::validate(config).unwrap_or_else(|e| panic!("{e}"));
    }
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|e| panic!("{e}"));

    let slow = slow(&Place::new());
    let mut good = vec![("notes".to_owned(), NOTES.to_owned()), ("slow".to_owned(), slow)];
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "yml") {
            good.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(good.len() > 2, "the examples are there");
    for (name, text) in &good {
        Pipeline::from_yaml(text, name, &towpath::registry()).unwrap();
        let wrong: Vec<String> = validator.iter_errors(&json(text)).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }

    // What towpath refuses because of a name or type, the schema refuses, too.
    let (notes, slow) = (NOTES, good[1].1.clone());
    let typos = [
        notes.replace("steps:", "stpes:"),
        notes.replace("record: local", "recrod: local"),
        notes.replace("record: local", "record: locla"),
        notes.replace("observations:", "observation:"),
        notes.replace("after: first", "after: first\n    retry: { attemps: 3 }"),
        notes.replace("after: first", "after: first\n    timeout_s: soon"),
        notes.replace("{ metric:", "{ metrik:"),
        notes.replace("name: answer", "nam: answer"),
        slow.replace("deadline_s", "deadlin_s"),
        slow.replace("rule:", "rules:"),
        slow.replace("hosts: [", "host: ["),
    ];
    for text in typos {
        assert!(Pipeline::from_yaml(&text, "typo.yml", &towpath::registry()).is_err(), "{text}");
        assert!(!validator.is_valid(&json(&text)), "{text}");
    }
}
