//! What is wrong is said with file and line, before anything is touched.

use serde_json::json;
use towpath_core::{Artifact, ArtifactKind, Base, Context, ErrorKind, ImageBuilder, Provenance, Registry, Setup};
use towpath_packer::{Definition, File, Null, Packer, PackerConfig, Source};

use crate::support::{image, packer, runs_left, stub, write};

async fn refused(template: &str, text: &str, vars: &[(&str, &str)]) -> towpath_core::Error {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), template, text);
    let mut config = PackerConfig::template(&path).working_dir(dir.path()).state_dir(dir.path().join("state"));
    for (name, value) in vars {
        config = config.var(*name, *value);
    }
    let builder = Packer::new(config).unwrap();
    let cx = Context::new();
    let planned = builder.plan(&cx, &image("web", &[])).await.unwrap_err();
    let error = builder.build(&cx, &image("web", &[])).await.unwrap_err();
    assert_eq!((planned.kind(), error.kind()), (ErrorKind::InvalidInput, ErrorKind::InvalidInput), "{error:?}");
    assert_eq!((planned.message(), planned.get("file")), (error.message(), error.get("file")));
    assert!(!dir.path().join("out").exists(), "nothing was made");
    assert!(runs_left(&dir.path().join("state")).is_empty(), "nothing was left");
    // Relative to the test's own folder, to compare it.
    match error.get("file").map(|f| f.replace(&format!("{}/", dir.path().display()), "")) {
        Some(file) => error.with("relative", file),
        None => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_template_is_refused_at_its_line() {
    if !packer() {
        return;
    }
    let torn = "source \"file\" \"a\" {\n  target = \"out/x\"\n}\nbuild {\n  sources = [\"source.file.a\"\n}\n";
    let error = refused("torn.pkr.hcl", torn, &[]).await;
    assert_eq!(error.get("relative"), Some("torn.pkr.hcl:6"), "{error:?}");

    let typo = "source \"file\" \"a\" {\n  content = \"x\"\n  targett = \"out/x\"\n}\nbuild {\n  sources = [\"source.file.a\"]\n}\n";
    let error = refused("typo.pkr.hcl", typo, &[]).await;
    assert_eq!(error.get("relative"), Some("typo.pkr.hcl:3"), "{error:?}");
    assert!(error.report().contains("Did you mean \"target\"?"), "the tool's own text is the cause: {error:?}");

    let error = refused("torn.json", "{\"builders\": [{\"type\": \"file\",\n\"target\": \"out/x\" ", &[]).await;
    assert_eq!(error.get("relative"), Some("torn.json:2"), "{error:?}");

    let error =
        refused("typo.json", r#"{"builders": [{"type": "file", "target": "out/x", "contents": "x"}]}"#, &[]).await;
    assert!(error.message().contains("contents"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_missing_is_named() {
    if !packer() {
        return;
    }
    let json = r#"{"variables": {"who": null}, "builders": [{"type": "file", "target": "out/x", "content": "{{user `who`}}"}]}"#;
    let error = refused("t.json", json, &[]).await;
    assert!(error.message().contains("who"), "{error:?}");
    assert_eq!(error.get("file"), None);
    let hcl = "variable \"who\" {\n  type = string\n}\nvariable \"n\" {\n  type = number\n}\nsource \"file\" \"a\" {\n  target = \"out/x\"\n  content = \"${var.who}${var.n}\"\n}\nbuild {\n  sources = [\"source.file.a\"]\n}\n";
    let error = refused("t.pkr.hcl", hcl, &[("n", "no number")]).await;
    assert_eq!((error.get("variable"), error.get("file")), (Some("n"), None), "{error:?}");
    let error = refused("u.pkr.hcl", &hcl.replace("number", "string"), &[("n", "x")]).await;
    assert!(error.message().contains("who"), "{error:?}");
}

fn file() -> Definition {
    Definition::new([Source::File(File { target: "out/x".into(), content: Some("x".into()), ..File::default() })])
}

#[tokio::test]
async fn a_missing_or_foreign_program_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let base = PackerConfig::definition(file()).working_dir(dir.path()).state_dir(dir.path().join("state"));
    let old = stub(dir.path(), "echo '1,,version,1.5.6'");
    let cracklib = dir.path().join("cracklib/packer");
    std::fs::create_dir_all(cracklib.parent().unwrap()).unwrap();
    std::fs::copy(stub(&dir.path().join("c"), "echo '0 0'"), &cracklib).unwrap();
    let cx = Context::new();
    for (program, says) in [
        ("no-such-packer".into(), "packer is not there"),
        (dir.path().join("no/such/packer"), "packer is not there"),
        (old, "packer 1.5.6 is too old"),
        (cracklib, "part of cracklib"),
    ] {
        let builder = Packer::new(PackerConfig { program, ..base.clone() }).unwrap();
        for error in
            [builder.preflight(&cx).await.unwrap_err(), builder.build(&cx, &image("web", &[])).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::ToolMissing, "{error:?}");
            assert!(error.message().contains(says) && error.message().contains("apt-get install packer"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_the_definition_needs_is_looked_for() {
    if !packer() {
        return;
    }
    let json = json!({"sources": [{"type": "null"}],
        "provisioners": [{"type": "ansible", "playbook_file": "site.yml", "command": "no-such-ansible-playbook"}]});
    let config = PackerConfig::definition(serde_json::from_value(json).unwrap());
    let error = Packer::new(config).unwrap().preflight(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolMissing);
    assert!(error.message().contains("`no-such-ansible-playbook`"), "{error:?}");
    let found = Packer::new(PackerConfig::definition(file())).unwrap().preflight(&Context::new()).await.unwrap();
    assert!(found.ok[0].starts_with("packer 1."), "{found:?}");
}

#[tokio::test]
async fn an_image_that_packer_can_not_make_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Packer::new(PackerConfig::definition(file()).working_dir(dir.path())).unwrap();
    let cx = Context::new();
    let host = towpath_core::ImageDefinition { base: Base::Host(Box::default()), ..image("web", &[]) };
    let error = builder.build(&cx, &host).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    let error = builder.build(&cx, &image("web", &[ArtifactKind::Ami])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("makes no `ami`; it makes file"), "{error:?}");
    assert_eq!(builder.build(&cx, &image("../web", &[])).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let docker = Definition::new([Source::Docker(Default::default())]);
    let empty = towpath_core::ImageDefinition { base: Base::Image(String::new()), ..image("web", &[]) };
    let error = Packer::new(PackerConfig::definition(docker)).unwrap().build(&cx, &empty).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("empty base"), "{error:?}");
    let gone = PackerConfig::template(dir.path().join("gone.pkr.hcl"));
    let error = Packer::new(gone).unwrap().build(&cx, &image("web", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");

    // What Packer can't look at is refused by name.
    let ami = Artifact {
        name: "web".into(),
        kind: ArtifactKind::Ami,
        id: "eu-west-1:ami-1".into(),
        digest: String::new(),
        provenance: Provenance::default(),
    };
    for error in [builder.probe(&cx, &ami).await.unwrap_err(), builder.remove(&cx, &ami).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("provider `aws`"), "{error:?}");
    }
}

#[test]
fn a_wrong_config_is_refused() {
    let null = || Definition::new([Source::Null(Null::default())]);
    let both = PackerConfig { template: Some("t".into()), ..PackerConfig::definition(null()) };
    let neither = PackerConfig { definition: None, ..PackerConfig::definition(null()) };
    let comma = PackerConfig { only: vec!["a,b".into()], ..PackerConfig::template("t") };
    let twice = PackerConfig::template("t").var("a", "1").secret_var("a", towpath_core::SecretRef::Env("A".into()));
    for (config, says) in [
        (both, "exclude each other"),
        (neither, "give `template`"),
        (comma, "one build's name each"),
        (twice, "set twice"),
        (PackerConfig::template("t").var("a b", "1"), "can't be the name"),
        (PackerConfig { parallel_builds: Some(0), ..PackerConfig::template("t") }, "at least 1"),
        (PackerConfig::definition(null()).var_file("v.json"), "`var_files` are for templates"),
    ] {
        let error = Packer::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(says), "{error}");
    }
    let mut registry = Registry::new();
    towpath_packer::register(&mut registry);
    let setup = Setup { base_dir: "/srv".into(), environment: "default".into(), connector: image("x", &[]).connector };
    let make = |config| registry.make::<dyn ImageBuilder>("packer", &config, &setup);
    let error = make(json!({"template": "t.json", "on_error": "ask"})).unwrap_err();
    assert!(error.to_string().contains("ask"), "{error}");
    let error = make(json!({"templat": "t.json"})).unwrap_err();
    assert!(error.to_string().contains("templat"), "{error}");
    let can = make(json!({"template": "t.json"})).unwrap().capabilities();
    assert!(can.has("ami") && can.has("archive") && can.has("probe"));
    let null = make(json!({"definition": {"sources": [{"type": "null"}]}})).unwrap().capabilities();
    assert_eq!(null.verbs, ["build", "plan"]);
}
