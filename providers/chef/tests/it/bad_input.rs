//! What is wrong is told before any host is touched.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use towpath_chef::{Chef, ChefConfig};
use towpath_core::pipeline::Pipeline;
use towpath_core::{
    Capabilities, Configurator as _, Connection, Connector, Context, ErrorKind, Host, Inventory, Preflight, Registry,
    Result, Targets,
};

/// A connector that must not be used.
#[derive(Debug)]
struct Untouched;

#[async_trait]
impl Connector for Untouched {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        panic!("{} is touched", host.name)
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("cookbooks/web/metadata.rb", "name 'website'\n");
    write("roles/front.rb", "");
    write("environments/production.json", "{}");
    let host = Host { name: "web-1".into(), ..Host::default() };
    let targets = Targets::new(Inventory { hosts: vec![host], ..Inventory::default() }, Arc::new(Untouched));
    let solo = |more: Value| {
        let mut all = json!({ "cookbook_paths": ["cookbooks"] });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    for (config, part) in [
        (json!({}), "neither `cookbook_paths`"),
        (json!({ "mode": "client" }), "needs `server_url`"),
        (json!({ "mode": "client", "server_url": "x", "roles_path": "roles" }), "`roles_path` is for `mode: solo`"),
        (solo(json!({ "validation_key": { "env": "X" } })), "`validation_key` is for `mode: client`"),
        (solo(json!({ "environment": "production" })), "needs `environments_path`"),
        (
            solo(json!({ "environment": "prodution", "environments_path": "environments" })),
            "did you mean `production`?",
        ),
        (solo(json!({ "run_list": ["recipe[web"] })), "nothing that a run list can hold"),
        (solo(json!({ "run_list": ["recipe[wbe]"] })), "no cookbook called `wbe`; did you mean `web`?"),
        (
            solo(json!({ "run_list": ["role[fornt]"], "roles_path": "roles" })),
            "no role called `fornt`; did you mean `front`?",
        ),
        (json!({ "cookbook_paths": ["cookboks"] }), "did you mean `cookbooks`?"),
        (json!({ "cookbook_paths": ["cookbooks/web"] }), "a cookbook itself"),
        (solo(json!({ "staging_directory": "/" })), "absolute"),
        (solo(json!({ "staging_directory": "/var/../etc" })), "absolute"),
        (solo(json!({ "secret_attributes": { "a..b": { "env": "X" } } })), "paths as `db.password`"),
        (solo(json!({ "secret_attributes": { "a": { "env": "TOWPATH_NO_SUCH_VARIABLE" } } })), "not set"),
        (solo(json!({ "forks": 0 })), "at least 1"),
    ] {
        let parsed: ChefConfig = serde_json::from_value(config.clone()).unwrap();
        let error = match Chef::new(parsed, dir.path()) {
            Ok(chef) => chef.apply(&Context::new(), &targets).await.unwrap_err(),
            Err(e) => e,
        };
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound), "{config}: {error:?}");
        assert!(error.message().contains(part), "{config}: {error:?}");
    }
    // One whose name is computed may be any, which is no reason to refuse those that are known.
    write("cookbooks/odd/metadata.rb", "version '1.0'\nname File.basename(__dir__) + '-x'\n");
    let refused = async |item: &str| {
        let config: ChefConfig = serde_json::from_value(solo(json!({ "run_list": [item] }))).unwrap();
        Chef::new(config, dir.path()).unwrap().preflight(&Context::new()).await.err()
    };
    assert!(refused("website").await.is_none());
    let error = refused("odd-x").await.unwrap();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("is computed"), "{error:?}");
    assert!(error.get("file").is_some_and(|f| f.ends_with("cookbooks/odd/metadata.rb:2")), "{error:?}");
    write("cookbooks/odd/metadata.rb", "name 'odd-x' # 'x'\n");
    assert!(refused("odd-x").await.is_none());
    write("cookbooks/odd/metadata.json", "{\n\"name\": }");
    let error = refused("odd-x").await.unwrap();
    assert!(error.get("file").is_some_and(|f| f.ends_with("cookbooks/odd/metadata.json:2")), "{error:?}");
    std::fs::remove_dir_all(dir.path().join("cookbooks/odd")).unwrap();

    // A cookbook is also known by the name in its metadata.
    let good: ChefConfig = serde_json::from_value(solo(json!({ "run_list": ["website::x", "web"] }))).unwrap();
    let found = Chef::new(good, dir.path()).unwrap().preflight(&Context::new()).await.unwrap();
    assert_eq!(found.ok, ["cookbooks: 1 files"]);
    assert!(found.warnings[0].contains("`chef_license`"), "{found:?}");
}

/// The registry's check of a pipeline file names line and nearest name.
#[test]
fn a_typo_names_its_line_and_what_was_meant() {
    let mut registry = Registry::new();
    towpath_chef::register(&mut registry);
    for (typo, part) in [
        ("runlist: [x]", "did you mean `run_list`?"),
        ("chef_license: acept", "did you mean `accept`?"),
        ("mode: sol", "did you mean `solo`?"),
        ("plan: whyrun", "did you mean `why_run`?"),
    ] {
        let text = format!("name: demo\nsteps:\n  site:\n    configure:\n      chef:\n        {typo}\n");
        let error = Pipeline::from_yaml(&text, "pipeline.yml", &registry).unwrap_err();
        assert!(error.report().contains(part), "{typo}: {error:?}");
        assert!(error.report().contains("pipeline.yml:6"), "{typo}: {error:?}");
    }
}

#[test]
fn the_config_is_the_same_after_a_journey() {
    let config: ChefConfig = serde_json::from_value(
        json!({ "cookbook_paths": ["x"], "become": { "user": "root" }, "attributes": { "b": 1, "a": 2 } }),
    )
    .unwrap();
    assert_eq!(serde_json::from_value::<ChefConfig>(serde_json::to_value(&config).unwrap()).unwrap(), config);
}
