//! A process that is killed, and the next one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use towpath_core::{Base, Context, ImageBuilder as _, Provisioner as _};
use towpath_vagrant::{BoxProvider, Vagrant, VagrantBox, VagrantBoxConfig, VagrantConfig};

use crate::support::{image, place, run, with_ssh};

/// Tells a test of this program that it is the process to be killed, and where it works.
const CHILD: &str = "TOWPATH_VAGRANT_CHILD";

fn child(test: &str, folder: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn config(folder: &Path, home: PathBuf) -> VagrantConfig {
    let mut config = VagrantConfig::machines("web", with_ssh()).provider("docker");
    config.state_dir = folder.join("state");
    config.home = Some(home);
    config
}

fn containers(folder: &Path) -> usize {
    // Vagrant names a container after its folder: `default_web_<time>` for our environment's.
    let all = run("docker", &["ps", "-a", "--no-trunc", "--format", "{{.ID}}"]);
    let known = folder.join("state/crash/.vagrant/machines/web/docker/id");
    let id = std::fs::read_to_string(known).unwrap_or_default();
    all.lines().filter(|l| !id.is_empty() && l.contains(id.trim())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_apply_is_found_again() {
    let cx = Context::builder().environment("crash").build();
    let Some(place) = place() else { return };
    if let Some(folder) = std::env::var_os(CHILD) {
        let vagrant = Vagrant::new(config(Path::new(&folder), place.home.clone())).unwrap();
        vagrant.apply(&cx).await.unwrap();
        return;
    }
    let folder = place.dir.path();
    let mut child = child("crash::a_killed_apply_is_found_again", folder);
    while !folder.join("state/crash/.vagrant/machines/web/docker/id").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let vagrant = Vagrant::new(config(folder, place.home.clone())).unwrap();
    let applied = vagrant.apply(&cx).await.unwrap();
    assert_eq!(applied.environment.inventory.hosts.len(), 1);
    assert_eq!(containers(folder), 1);
    let own = std::fs::read_dir(folder.join("state/crash/.vagrant/towpath")).unwrap().flatten();
    let runs: Vec<_> = own.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("run-")).collect();
    assert!(runs.is_empty(), "what the killed one had left is cleared away: {runs:?}");
    let id = applied.environment.resources[0].id.clone();
    // As if vagrant itself had been killed before it wrote down what it had made.
    std::fs::remove_dir_all(folder.join("state/crash/.vagrant/machines/web")).unwrap();
    let again = vagrant.apply(&cx).await.unwrap();
    assert_eq!(again.changed, 1);
    assert_ne!(again.environment.resources[0].id, id);
    assert!(!run("docker", &["ps", "-aq", "--no-trunc"]).contains(&id), "the lost container was removed");
    let id = again.environment.resources[0].id.clone();
    assert_eq!(vagrant.apply(&cx).await.unwrap().changed, 0);
    assert_eq!(vagrant.destroy(&cx).await.unwrap().changed, 1);
    let left = run("docker", &["ps", "-aq", "--no-trunc"]);
    assert!(!left.contains(&id), "{left}");
}

/// Killed again and again wherever it is: the catalogue always lists only boxes that are whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_build_leaves_a_whole_catalogue() {
    let cx = Context::new();
    let builder = |folder: &Path| {
        let config = VagrantBoxConfig::new(folder.join("boxes")).provider(BoxProvider::Docker);
        VagrantBox::new(config).unwrap()
    };
    let base = |n: u32| Base::Image(format!("sha256:{n:064x}"));
    if let Some(folder) = std::env::var_os(CHILD) {
        for n in 0.. {
            builder(Path::new(&folder)).build(&cx, &image("web", base(n))).await.unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let catalogue = builder(dir.path()).catalogue("web").unwrap();
    for round in 0..20_u64 {
        let mut child = child("crash::a_killed_build_leaves_a_whole_catalogue", dir.path());
        tokio::time::sleep(Duration::from_millis(60 + round * 7)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let Ok(text) = std::fs::read(&catalogue) else { continue };
        let listed: serde_json::Value = serde_json::from_slice(&text).expect("a whole catalogue");
        for version in listed["versions"].as_array().unwrap() {
            let offer = &version["providers"][0];
            let path = offer["url"].as_str().unwrap().strip_prefix("file://").unwrap();
            let sum = run("sha256sum", &[path]);
            assert!(sum.starts_with(offer["checksum"].as_str().unwrap()), "{version}");
        }
    }
    let built = builder(dir.path()).build(&cx, &image("web", base(999_999))).await.unwrap();
    assert_eq!(built.changed, 1);
    let left: Vec<_> =
        std::fs::read_dir(catalogue.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().starts_with(".new-")), "{left:?}");
    assert!(std::fs::metadata(&catalogue).is_ok());
}
