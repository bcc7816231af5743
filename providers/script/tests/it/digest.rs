//! What content keys depend on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use towpath_core::{Configurator as _, Context};
use towpath_script::{Script, ScriptConfig};

async fn digest(dir: &Path, greeting: &str) -> String {
    let config: ScriptConfig = serde_json::from_value(json!({ "steps": [
        { "run": { "file": "run.sh", "secret_env": { "TOKEN": { "env": "TOWPATH_NO_SUCH_VARIABLE" } } } },
        { "upload": { "source": "app", "path": "/opt/app" } },
        { "upload": { "content": greeting, "path": "/etc/motd" } }
    ] }))
    .unwrap();
    Script::new(config, dir).unwrap().digest(&Context::new()).await.unwrap()
}

#[tokio::test]
async fn every_file_and_setting_counts_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("app")).unwrap();
    std::fs::write(path("run.sh"), "echo\n").unwrap();
    std::fs::write(path("app/a"), "a").unwrap();
    let mut seen = vec![digest(dir.path(), "hello").await];
    // Written again, and with other bits that differ between checkouts; the secret's value is not even asked for.
    std::fs::write(path("app/a"), "a").unwrap();
    std::fs::set_permissions(path("app/a"), std::fs::Permissions::from_mode(0o660)).unwrap();
    assert_eq!(digest(dir.path(), "hello").await, seen[0]);
    seen.push(digest(dir.path(), "hi").await);
    std::fs::write(path("run.sh"), "echo 1\n").unwrap();
    seen.push(digest(dir.path(), "hello").await);
    std::fs::write(path("app/a"), "b").unwrap();
    seen.push(digest(dir.path(), "hello").await);
    std::fs::set_permissions(path("app/a"), std::fs::Permissions::from_mode(0o755)).unwrap();
    seen.push(digest(dir.path(), "hello").await);
    std::fs::rename(path("app/a"), path("app/b")).unwrap();
    seen.push(digest(dir.path(), "hello").await);
    std::fs::create_dir(path("app/empty")).unwrap();
    seen.push(digest(dir.path(), "hello").await);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "each change gives another digest");
}
