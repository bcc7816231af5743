//! The providers by their names, as pipelines have them.

use std::sync::Arc;

use serde_json::json;
use towpath_core::pipeline::Role;
use towpath_core::testkit::OpenSsh;
use towpath_core::{ErrorKind, ImageBuilder, Provisioner, Registry, Setup};

#[test]
fn both_are_made_from_their_smallest_configs_and_refuse_typos() {
    let mut registry = Registry::new();
    towpath_vagrant::register(&mut registry);
    assert_eq!(registry.names(Role::Provisioner), ["vagrant"]);
    assert_eq!(registry.names(Role::ImageBuilder), ["vagrant-box"]);
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { base_dir: dir.path().to_owned(), environment: "default".into(), connector: Arc::new(OpenSsh) };
    let builder = registry.make::<dyn ImageBuilder>("vagrant-box", &json!({}), &setup).unwrap();
    assert!(builder.capabilities().has("contents"));
    let machines = json!({"machines": {"web": {"box": "debian/bookworm64"}}});
    registry.make::<dyn Provisioner>("vagrant", &machines, &setup).unwrap();
    for (config, says) in [
        (json!({"machines": {"web": {"box": "a", "memory": 5}}}), "memory"),
        (json!({"machines": {"web": {"box": "a"}}, "providr": "docker"}), "providr"),
        (json!({}), "either `dir`"),
    ] {
        let error = registry.make::<dyn Provisioner>("vagrant", &config, &setup).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.report().contains(says), "{error:?}");
    }
    let error = registry.make::<dyn ImageBuilder>("vagrant-box", &json!({"providr": "docker"}), &setup).unwrap_err();
    assert!(error.report().contains("providr"), "{error:?}");
}
