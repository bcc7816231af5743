//! What pipelines see.

use std::sync::Arc;

use serde_json::json;
use towpath_core::pipeline::Role;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{Connector, Deployer, ErrorKind, ImageBuilder, Provisioner, Registry, Setup};

fn registered() -> (Registry, Setup, tempfile::TempDir) {
    let mut registry = Registry::new();
    towpath_docker::register(&mut registry);
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { base_dir: dir.path().into(), environment: "dev".into(), connector: Arc::new(Nowhere) };
    (registry, setup, dir)
}

#[test]
fn four_providers_are_called_docker() {
    let (registry, setup, dir) = registered();
    for role in [Role::Connector, Role::ImageBuilder, Role::Deployer, Role::Provisioner] {
        assert_eq!(registry.names(role), ["docker"], "{role:?}");
    }
    registry.make::<dyn Connector>("docker", &json!(null), &setup).unwrap();
    registry.make::<dyn ImageBuilder>("docker", &json!({"tags": ["web:1"], "cmd": ["web"]}), &setup).unwrap();
    registry.make::<dyn Deployer>("docker", &json!({"service": "web", "switch": "recreate"}), &setup).unwrap();
    // Relative paths start at the pipeline's folder.
    std::fs::write(dir.path().join("compose.yml"), "services: {web: {image: debian, volumes: ['./a:/a']}}").unwrap();
    registry.make::<dyn Provisioner>("docker", &json!({"compose": "compose.yml"}), &setup).unwrap();
    let containers = json!({"web": {"image": "debian", "mounts": [{"type": "bind", "source": "a", "target": "/a"}]}});
    registry.make::<dyn Provisioner>("docker", &json!({"containers": containers}), &setup).unwrap();
}

#[test]
fn a_typo_is_told_by_name() {
    let (registry, setup, _dir) = registered();
    let bad = |made: towpath_core::Result<()>, word: &str| {
        let error = made.expect_err(word);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.report().contains(word), "{error:?}");
    };
    bad(registry.make::<dyn Connector>("docker", &json!({"hots": "x"}), &setup).map(drop), "`hots`");
    bad(
        registry.make::<dyn ImageBuilder>("docker", &json!({"dockerfile": {"target_": "x"}}), &setup).map(drop),
        "`target_`",
    );
    let deploy = |config: towpath_core::Json| registry.make::<dyn Deployer>("docker", &config, &setup).map(drop);
    bad(deploy(json!({"service": "web", "container": {"port": ["80"]}})), "`port`");
    bad(deploy(json!({"service": "web", "switch": {"beside": {"prot": 80}}})), "`prot`");
    bad(deploy(json!({"service": "web", "ready": {"path": "/"}})), "`ready.port`");
    bad(deploy(json!({"service": "web", "container": {"restart": "always"}})), "unless-stopped");
    bad(deploy(json!({"service": "a/b"})), "service");
    let typo = json!({"containers": {"web": {"image": "debian", "port": ["80"]}}});
    bad(registry.make::<dyn Provisioner>("docker", &typo, &setup).map(drop), "`port`");
    bad(registry.make::<dyn Provisioner>("docker", &json!({}), &setup).map(drop), "nothing to make");
    bad(
        registry.make::<dyn Provisioner>("docker", &json!({"compose": "no-such.yml"}), &setup).map(drop),
        "no-such.yml",
    );
}
