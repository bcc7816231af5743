//! Several images of one description: their records, and whether they are the same system.

use std::path::Path;
use std::sync::Arc;

use towpath_core::equivalence::Contents;
use towpath_core::{Bake, BakeReport, ConnectionSpec, Connector as _, Context, ErrorKind, Host, Json};
use towpath_docker::{DockerConnector, DockerImageConfig};

use crate::image::{builder, image};
use crate::script::Script;
use crate::{docker, engine, unique};

fn json(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Two images that are configured in one go and in two.
fn twice(dir: &Path, name: &str, extra: &str) -> Bake {
    let one =
        Script::new(format!("echo {name} >/etc/motd; useradd app; mkdir -m 750 /srv/app; chown app /srv/app{extra}"));
    let first = Script::new(format!("echo {name} >/etc/motd; useradd app"));
    let second = Script::new("mkdir -m 750 /srv/app; chown app /srv/app");
    let plain = || Arc::new(builder(DockerImageConfig::default()));
    Bake::new(dir).image("one", plain(), image(name, vec![one])).image("two", plain(), image(name, vec![first, second]))
}

async fn run(bake: &Bake) -> BakeReport {
    bake.run(&Context::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_one_description_are_proven_equal_and_their_records_kept() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bake = twice(dir.path(), &unique("web"), "");
    let report = run(&bake).await;
    assert!(report.is_equal(), "{report}");
    assert!(report.artifacts.iter().all(|a| a.built));
    assert!(report.equivalence.pairs[0].compared > 1000, "a whole system: {report}");

    let record = report.record("one").unwrap();
    let statement = json(&record.join("provenance.json"));
    let digest = report.artifact("one").unwrap().digest.trim_start_matches("sha256:").to_owned();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], digest);
    let base = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!((base["name"].as_str(), base["digest"]["sha256"].as_str().map(str::len)), (Some(crate::BASE), Some(64)));
    let sbom = json(&record.join("sbom.cdx.json"));
    let packages = sbom["components"].as_array().unwrap();
    assert!(
        packages.iter().any(|p| p["name"] == "bash" && p["purl"].as_str().unwrap().starts_with("pkg:deb/debian/bash@"))
    );
    assert!(std::fs::read_to_string(record.join("build.jsonl")).unwrap().contains("configuring"));

    // The second reader: a shell in a container of the image.
    let name = unique("reader");
    docker(&["run", "-d", "--name", &name, "--network", "none", &report.artifact("one").unwrap().id, "sleep", "60"]);
    let connection = ConnectionSpec {
        kind: "docker".into(),
        address: Some(name.clone()),
        user: Some("0".into()),
        ..ConnectionSpec::default()
    };
    let host = Host { name: name.clone(), connection, ..Host::default() };
    let cx = Context::new();
    let connection = DockerConnector::default().connect(&cx, &host).await.unwrap();
    let inside = Contents::of(&cx, connection.as_ref(), "", None).await.unwrap();
    docker(&["rm", "-f", &name]);
    let kept: Contents = serde_json::from_value(json(&record.join("contents.json"))).unwrap();
    let both = [("image".to_owned(), kept), ("container".to_owned(), inside)];
    let compared =
        towpath_core::equivalence::EquivalenceReport::of(&both, &towpath_core::equivalence::usual_differences());
    assert!(compared.is_equal(), "{compared}");

    // Nothing is read again, unless the record was damaged.
    let statement = record.join("provenance.json");
    let written = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let before = written(&statement);
    let again = run(&bake).await;
    assert_eq!((again.to_string(), written(&statement)), (report.to_string().replace("built", "there"), before));
    std::fs::write(record.join("contents.json"), "{}").unwrap();
    let mended = run(&bake).await;
    assert_eq!(mended.to_string(), again.to_string());
    assert_ne!(written(&statement), before);
    assert!(std::fs::read_to_string(record.join("build.jsonl")).unwrap().contains("configuring"), "the log stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_found_and_can_be_allowed_with_its_reason() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bake = twice(dir.path(), &unique("web"), "; echo more >/srv/app/extra; chmod 4755 /bin/date");
    let report = run(&bake).await;
    let found: Vec<String> =
        report.equivalence.pairs[0].differences.iter().map(|d| format!("{} {}", d.subject, d.property)).collect();
    assert_eq!(found, ["file /srv/app/extra presence", "file /usr/bin/date mode"], "{report}");
    assert!(!report.is_equal());
    let allowed = bake
        .allow(towpath_core::equivalence::AllowRule::new("file /srv/app/extra", "only in one"))
        .allow(towpath_core::equivalence::AllowRule::new("file /usr/bin/date", "tried out").only("mode"));
    assert!(run(&allowed).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_give_the_same_report() {
    if !engine() {
        return;
    }
    // In the full tier as often as is promised.
    let times = if std::env::var_os("TOWPATH_TEST_FULL").is_some() { 20 } else { 2 };
    let mut reports = Vec::new();
    for _ in 0..times {
        let dir = tempfile::tempdir().unwrap();
        // A name of its own each time: no layer of the last time is taken.
        let report = run(&twice(dir.path(), &unique("web"), "")).await;
        assert!(report.artifacts.iter().all(|a| a.built));
        reports.push(serde_json::to_string(&report.equivalence).unwrap());
    }
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]), "{reports:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_leaves_the_others_and_their_records() {
    if !engine() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let name = unique("web");
    let good = Arc::new(builder(DockerImageConfig::default()));
    let bake = Bake::new(dir.path())
        .image("bad", good.clone(), image(&name, vec![Script::new("echo no >&2; exit 3")]))
        .image("good", good, image(&name, vec![Script::new("true")]));
    let error = bake.run(&Context::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("image")), (ErrorKind::ToolFailed, Some("bad")), "{error:?}");
    let kept = std::fs::read_dir(dir.path().join(&name).join("good")).unwrap().next().unwrap().unwrap().path();
    assert!(kept.join("provenance.json").exists());

    let same = Bake::new(dir.path());
    let same = ["x", "x"].into_iter().fold(same, |bake, label| {
        bake.image(label, Arc::new(builder(DockerImageConfig::default())), image(&name, vec![]))
    });
    assert_eq!(same.run(&Context::new()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
