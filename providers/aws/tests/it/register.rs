//! The providers as a registry makes them.

use std::sync::Arc;

use serde_json::json;
use towpath_core::pipeline::Role;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{ErrorKind, ImageBuilder, Provisioner, Registry, Setup};

fn registry() -> (Registry, Setup) {
    let mut registry = Registry::new();
    towpath_aws::register(&mut registry);
    let connector = Arc::new(Nowhere);
    (registry, Setup { base_dir: "/".into(), environment: "default".into(), connector })
}

#[test]
fn both_roles_are_there_and_a_typo_is_named() {
    let (registry, setup) = registry();
    assert_eq!(registry.names(Role::Provisioner), ["aws"]);
    assert_eq!(registry.names(Role::ImageBuilder), ["aws"]);
    let good = json!({"groups": {"web": {"ami": "ami-0abc"}}});
    registry.make::<dyn Provisioner>("aws", &good, &setup).unwrap();
    registry.make::<dyn ImageBuilder>("aws", &json!({}), &setup).unwrap();
    let typo = json!({"groups": {"web": {"ami": "ami-0abc", "instance": {"instance_typ": "t3.micro"}}}});
    let error = registry.make::<dyn Provisioner>("aws", &typo, &setup).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.report().contains("instance_typ"), "{error:?}");
}
