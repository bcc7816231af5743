//! What is wrong is told before any host is touched.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use towpath_core::pipeline::Pipeline;
use towpath_core::{
    Capabilities, Configurator as _, Connection, Connector, Context, ErrorKind, Host, Inventory, Preflight, Registry,
    Result, Targets,
};
use towpath_script::{Script, ScriptConfig};

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

fn targets() -> Targets {
    let host = Host { name: "web-1".into(), ..Host::default() };
    Targets::new(Inventory { hosts: vec![host], ..Inventory::default() }, Arc::new(Untouched))
}

/// The first error of making, planning and applying a configurator.
async fn refused(dir: &std::path::Path, steps: Value) -> towpath_core::Error {
    let config: ScriptConfig = serde_json::from_value(json!({ "steps": steps })).unwrap();
    let script = match Script::new(config, dir) {
        Ok(script) => script,
        Err(e) => return e,
    };
    let (cx, targets) = (Context::new(), targets());
    let error = script.apply(&cx, &targets).await.unwrap_err();
    assert_eq!(script.plan(&cx, &targets).await.unwrap_err().report(), error.report());
    error
}

#[tokio::test]
async fn steps_that_cannot_be_meant_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("deploy.sh"), "#!/bin/sh\r\necho\r\n").unwrap();
    std::fs::write(dir.path().join("binary"), b"\x7fELF\0\0").unwrap();
    std::fs::write(dir.path().join("latin"), b"\xe9\xe9").unwrap();
    for (step, part) in [
        (json!({ "run": { "script": ":", "file": "x" } }), "both `script` and `file`"),
        (json!({ "run": { "creates": "/x" } }), "neither `script` nor `file`"),
        (json!({ "run": { "script": " \n" } }), "`script` is empty"),
        (json!({ "run": { "script": ":", "env": { "A-B": "x" } } }), "`A-B` is no name"),
        (json!({ "run": { "script": ":", "env": { "A": "x" }, "secret_env": { "A": { "env": "B" } } } }), "in both"),
        (json!({ "run": { "script": ":", "timeout_s": 0 } }), "`timeout_s`"),
        (json!({ "run": { "script": ":", "unless": "" } }), "empty"),
        (json!({ "run": { "file": "deploy.hs" } }), "no such file; did you mean `deploy.sh`?"),
        (json!({ "run": { "file": "deploy.sh" } }), "carriage return"),
        (json!({ "run": { "file": "binary" } }), "a program, not a script"),
        (json!({ "run": { "script": ":", "secret_env": { "A": { "env": "TOWPATH_NO_SUCH_VARIABLE" } } } }), "not set"),
        (json!({ "run": { "script": ":", "if_changed": ["run touch /tmp/y"] } }), "did you mean `run touch /tmp/x`?"),
        (json!({ "upload": { "path": "/x" } }), "none of `source`"),
        (json!({ "upload": { "path": "/x", "content": "", "source": "x" } }), "more than one of"),
        (json!({ "upload": { "path": "x", "content": "" } }), "absolute"),
        (json!({ "upload": { "path": "/a/../b", "content": "" } }), "without `..`"),
        (json!({ "upload": { "path": "/x", "content": "", "mode": "u+x" } }), "octal"),
        (json!({ "upload": { "path": "/x", "content": "", "owner": "a:b" } }), "names or numbers"),
        (json!({ "upload": { "path": "/x", "source": "deploy.shh" } }), "did you mean `deploy.sh`?"),
        (json!({ "upload": { "path": "/x", "source": "latin", "fill": true } }), "no UTF-8"),
    ] {
        // A good step before it is not done either.
        let error = refused(dir.path(), json!([{ "run": { "script": "touch /tmp/x" } }, step])).await;
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound), "{step}: {error:?}");
        assert!(error.message().contains(part), "{step}: {error:?}");
        assert!(error.get("task").is_some(), "{step}: {error:?}");
    }
    assert!(refused(dir.path(), json!([])).await.message().contains("no `steps`"));
}

#[tokio::test]
async fn a_limit_that_fits_nobody_is_refused() {
    let config: ScriptConfig = serde_json::from_value(json!({ "steps": [{ "run": { "script": ":" } }] })).unwrap();
    let targets = Targets { limit: Some("web-2".into()), ..targets() };
    let error = Script::new(config, &PathBuf::new()).unwrap().apply(&Context::new(), &targets).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("did you mean `web-1`"), "{error:?}");
}

/// The registry's check of a pipeline file names line and nearest name.
#[test]
fn a_typo_names_its_line_and_what_was_meant() {
    let mut registry = Registry::new();
    towpath_script::register(&mut registry);
    for (typo, part) in [
        ("creats: /x", "unknown field `creats`; did you mean `creates`?"),
        ("scirpt: x", "did you mean `script`?"),
        ("become: { usr: x }", "did you mean `user`?"),
        ("timeout_s: soon", "must be"),
    ] {
        let text = format!(
            "name: demo\nsteps:\n  site:\n    configure:\n      script:\n        steps:\n          - run:\n              name: One\n              {typo}\n"
        );
        let error = Pipeline::from_yaml(&text, "pipeline.yml", &registry).unwrap_err();
        assert!(error.report().contains(part), "{typo}: {error:?}");
        assert!(error.report().contains("pipeline.yml:9"), "{typo}: {error:?}");
    }
}

#[test]
fn debug_and_schema_hold_no_secret_but_its_name() {
    let config: ScriptConfig = serde_json::from_value(
        json!({ "steps": [{ "run": { "script": ":", "secret_env": { "TOKEN": { "env": "FROM_HERE" } } } }] }),
    )
    .unwrap();
    assert!(format!("{config:?}").contains("FROM_HERE"));
    assert_eq!(serde_json::from_value::<ScriptConfig>(serde_json::to_value(&config).unwrap()).unwrap(), config);
}
