//! Boxes from our catalogue, added by the real vagrant.

use std::path::Path;

use towpath_core::testkit::SSHD_IMAGE;
use towpath_core::{Base, Context, ErrorKind, ImageBuilder as _, Provisioner as _};
use towpath_vagrant::{BoxProvider, BoxSource, DockerSpec, MachineSpec, Vagrant, VagrantBox, VagrantBoxConfig};

use crate::support::{Place, image, place, run};

/// Builds a box that names the image of SSH hosts.
async fn built(place: &Place, name: &str, version: Option<&str>) -> (VagrantBox, towpath_core::Artifact) {
    let mut config = VagrantBoxConfig::new(place.dir.path().join("boxes")).provider(BoxProvider::Docker).box_name(name);
    config.version = version.map(str::to_owned);
    let builder = VagrantBox::new(config).unwrap();
    let digest = run("docker", &["image", "inspect", "-f", "{{.Id}}", SSHD_IMAGE]);
    let artifact = builder.build(&Context::new(), &image("web", Base::Image(digest.trim().into()))).await.unwrap();
    (builder, artifact.artifacts[0].clone())
}

fn machine(name: &str) -> MachineSpec {
    let docker = DockerSpec { cmd: vec!["sleep".into(), "infinity".into()], ..DockerSpec::default() };
    MachineSpec { r#box: Some(name.into()), docker: Some(docker), ..MachineSpec::default() }
}

fn source(name: &str, catalogue: &Path) -> BoxSource {
    BoxSource { name: name.into(), catalogue: catalogue.display().to_string(), version: None }
}

fn remove_box(place: &Place, name: &str) {
    std::fs::remove_dir_all(place.home.join("boxes").join(name.replace('/', "-VAGRANTSLASH-"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_of_our_catalogue_becomes_a_machine() {
    let Some(place) = place() else { return };
    let name = format!("towpath/web-{}", std::process::id());
    let (builder, artifact) = built(&place, &name, Some("1.2.3")).await;
    let catalogue = builder.catalogue("web").unwrap();
    let text: serde_json::Value = serde_json::from_slice(&std::fs::read(&catalogue).unwrap()).unwrap();
    let offer = &text["versions"][0]["providers"][0];
    assert_eq!((&text["name"], &text["versions"][0]["version"]), (&name.as_str().into(), &"1.2.3".into()), "{text}");
    assert_eq!(format!("sha256:{}", offer["checksum"].as_str().unwrap()), artifact.digest);
    let cx = Context::new();
    let vagrant = Vagrant::new(place.config(machine(&name)).add_box(source(&name, &catalogue))).unwrap();
    let plan = vagrant.plan(&cx).await.unwrap();
    assert!(plan.to_string().contains(&format!("box {name}")), "{plan}");
    let applied = vagrant.apply(&cx).await.unwrap();
    assert_eq!(applied.changed, 2, "box and machine");
    let container = &applied.environment.resources[0].id;
    let image = run("docker", &["inspect", "-f", "{{.Image}}", container]);
    assert_eq!(image, run("docker", &["image", "inspect", "-f", "{{.Id}}", SSHD_IMAGE]));
    assert!(vagrant.plan(&cx).await.unwrap().is_empty());
    vagrant.destroy(&cx).await.unwrap();
    remove_box(&place, &name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_is_not_what_the_catalogue_says_is_refused() {
    let Some(place) = place() else { return };
    let name = format!("towpath/forged-{}", std::process::id());
    let (builder, artifact) = built(&place, &name, None).await;
    let mut bytes = std::fs::read(&artifact.id).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(&artifact.id, bytes).unwrap();
    let cx = Context::new();
    let catalogue = builder.catalogue("web").unwrap();
    let vagrant = Vagrant::new(place.config(machine(&name)).add_box(source(&name, &catalogue))).unwrap();
    let error = vagrant.apply(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(error.get("class"), Some("Vagrant::Errors::BoxChecksumMismatch"));
    assert_eq!(vagrant.probe(&cx).await.unwrap().environment, None);
    vagrant.destroy(&cx).await.unwrap();
}

#[tokio::test]
async fn a_version_is_never_made_anew_of_another_content() {
    let dir = tempfile::tempdir().unwrap();
    let cx = Context::new();
    let base = |c: &str| Base::Image(format!("sha256:{}", c.repeat(64)));
    let config = VagrantBoxConfig::new(dir.path()).provider(BoxProvider::Docker);
    let fixed = VagrantBox::new(config.clone().version("1.0.0")).unwrap();
    fixed.build(&cx, &image("web", base("a"))).await.unwrap();
    for error in [
        fixed.build(&cx, &image("web", base("b"))).await.unwrap_err(),
        fixed.plan(&cx, &image("web", base("b"))).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.get("version")), (ErrorKind::AlreadyExists, Some("1.0.0")), "{error:?}");
    }
    let next = VagrantBox::new(config).unwrap();
    let built = next.build(&cx, &image("web", base("b"))).await.unwrap();
    assert_eq!(built.artifacts[0].provenance.labels["box-version"], "1.0.1");
    // A catalogue that was lost is written again from what is there.
    let catalogue = next.catalogue("web").unwrap();
    std::fs::remove_file(&catalogue).unwrap();
    assert_eq!(next.build(&cx, &image("web", base("b"))).await.unwrap().changed, 0);
    let text = std::fs::read_to_string(&catalogue).unwrap();
    assert!(text.contains("1.0.1"), "{text}");
    assert!(next.remove(&cx, &built.artifacts[0]).await.unwrap());
    assert!(!std::fs::read_to_string(&catalogue).unwrap().contains("1.0.1"));
}

#[tokio::test]
async fn what_a_box_can_not_be_made_of_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let cx = Context::new();
    let config = VagrantBoxConfig::new(dir.path().join("boxes"));
    let libvirt = VagrantBox::new(config.clone()).unwrap();
    let docker = VagrantBox::new(config.clone().provider(BoxProvider::Docker)).unwrap();
    let host = Base::Host(Box::default());
    for (builder, base, kind, says) in [
        (&libvirt, Base::Image("debian".into()), ErrorKind::Unsupported, "with_machine"),
        (&docker, Base::Image("debian:12".into()), ErrorKind::InvalidInput, "digest"),
        (&docker, host, ErrorKind::Unsupported, "holds no tree"),
    ] {
        let error = builder.build(&cx, &image("web", base)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = docker.build(&cx, &image("../web", Base::Image("x".into()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!dir.path().join("boxes").exists(), "nothing was touched");
    for wrong in ["1.0", "01.0.0", "latest"] {
        assert_eq!(VagrantBox::new(config.clone().version(wrong)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
