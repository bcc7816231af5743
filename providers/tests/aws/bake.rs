//! From base to AMI, with a key pair, a security group, configurators and tests.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use towpath::pipeline::{ImageSpec, Pipeline, PipelineBuilder, ProviderSpec, RunOptions};
use towpath_core::{Artifact, ArtifactKind, Configurator, Connector, Context, Event, ImageBuilder as _, RunState};

use crate::support::{Aws, SECRET, engine, key_files};

pub(crate) fn pipeline(config: Value, base: &str, script: &str) -> Pipeline {
    let p = PipelineBuilder::new("bake");
    let script = ProviderSpec::<dyn Configurator>::new(
        "script",
        json!({"steps": [{"run": {"script": script}}], "become": true}),
    );
    let image = ImageSpec::from_image("web", base.to_owned())
        .configure(script)
        .artifact(ArtifactKind::Ami)
        .label("commit", "c0ffee");
    let _ = p.build_image("image", ProviderSpec::new("aws", config), image);
    p.finish()
}

async fn run(dir: &Path, pipeline: &Pipeline, seen: &Arc<Mutex<String>>) -> towpath::Result<Artifact> {
    let seen = Arc::clone(seen);
    let listener = Arc::new(move |event: &Event| seen.lock().unwrap().push_str(&format!("{event:?}\n")));
    let engine = engine(dir).await.listener(listener);
    let report = engine.run(pipeline, RunOptions::default()).await?;
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let outputs = &report.step("image").unwrap().outputs;
    let artifacts: Vec<Artifact> = serde_json::from_value(outputs["artifacts"].clone()).unwrap();
    Ok(artifacts[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_configured_tested_and_becomes_an_ami() {
    let Some(aws) = tokio::task::spawn_blocking(Aws::start).await.unwrap() else { return };
    let aws = Arc::new(aws);
    let dir = tempfile::tempdir().unwrap();
    let mut config = aws.config(&aws.moto.endpoint());
    config["test"] = json!([{"name": "the marker is there", "script": "grep -q baked /etc/baked", "root": true}]);
    let script = "echo baked >>/etc/baked\nsleep 2";
    let baking = pipeline(config.clone(), &aws.base, script);
    let seen = Arc::new(Mutex::new(String::new()));
    // While it goes on: the group lets only whom the config names in, and the private key is its owner's alone.
    let own = format!("-{}-", std::process::id());
    let there = Arc::clone(&aws);
    let watch = std::thread::spawn(move || {
        for _ in 0..3000 {
            let file = key_files().into_iter().find(|f| f.display().to_string().contains(&own));
            let groups = there.ec2("Action=DescribeSecurityGroups");
            if let Some(file) = file.filter(|_| groups.contains("<fromPort>22</fromPort>")) {
                let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
                return (mode, groups, std::fs::read_to_string(&file).unwrap());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("there was never a key");
    });
    let artifact = run(dir.path(), &baking, &seen).await.unwrap();
    let (mode, groups, key) = watch.join().unwrap();
    assert_eq!(mode, 0o600);
    assert!(groups.contains("<cidrIp>127.0.0.0/8</cidrIp>"), "{groups}");
    assert_eq!(aws.sshd.sh("cat /etc/baked"), "baked", "once, on the first instance");
    assert_eq!(aws.left(), [format!("ami ready {}", artifact.id)], "nothing else is left");
    let authorized = aws.sshd.sh("cat /home/deploy/.ssh/authorized_keys");
    assert_eq!(authorized.lines().count(), 1, "the temporary key is not baked: {authorized}");

    // Neither key is in an event or in the journal.
    let text = seen.lock().unwrap().clone();
    let store = std::fs::read(dir.path().join("store.db")).unwrap();
    let store = String::from_utf8_lossy(&store);
    let line = key.lines().nth(1).unwrap();
    for secret in [SECRET, line] {
        assert!(!text.contains(secret) && !store.contains(secret));
    }
    assert!(text.contains("the marker is there"), "{text}");

    // What is in it is read on an instance of it, which is gone then.
    let connector: Arc<dyn Connector> = Arc::new(towpath::ssh::Ssh::new(Default::default()));
    let contents = aws.builder(config.clone()).contents(&Context::new(), &artifact, &connector).await.unwrap();
    assert!(contents.files.contains_key("/etc/baked"), "{} files", contents.files.len());
    assert_eq!(aws.left(), [format!("ami ready {}", artifact.id)]);

    // Built again: nothing is started.
    let again = run(dir.path(), &baking, &seen).await.unwrap();
    assert_eq!((again, aws.sshd.sh("cat /etc/baked").lines().count()), (artifact.clone(), 1));
    // Another script is another AMI.
    let other = run(dir.path(), &pipeline(config, &aws.base, "echo baked >/etc/baked"), &seen).await.unwrap();
    assert_ne!(other.id, artifact.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ami_whose_test_fails_is_not_kept() {
    let Some(aws) = tokio::task::spawn_blocking(Aws::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut config = aws.config(&aws.moto.endpoint());
    config["test"] = json!([{"script": "echo it does not run >&2; exit 3"}]);
    let failing = pipeline(config, &aws.base, "true");
    let engine = engine(dir.path()).await;
    let report = engine.run(&failing, RunOptions::default()).await.unwrap();
    assert_ne!(report.state, RunState::Done);
    let error = format!("{:?}", report.step("image").unwrap());
    assert!(error.contains("a test of the new AMI failed") && error.contains("it does not run"), "{error}");
    assert_eq!(aws.left(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configurator_that_fails_leaves_nothing() {
    let Some(aws) = tokio::task::spawn_blocking(Aws::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let failing = pipeline(aws.config(&aws.moto.endpoint()), &aws.base, "exit 7");
    let report = engine(dir.path()).await.run(&failing, RunOptions::default()).await.unwrap();
    assert_ne!(report.state, RunState::Done);
    assert_eq!(aws.left(), Vec::<String>::new());
}
