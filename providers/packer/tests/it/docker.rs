//! Docker images, from containers that Packer starts.

use serde_json::json;
use towpath_core::testkit::SSHD_IMAGE;
use towpath_core::{ArtifactKind, Base, Certainty, Context, ErrorKind, ImageBuilder, ImageDefinition};
use towpath_packer::{Packer, PackerConfig, Reuse};

use crate::support::{Images, image, output, packer_and_docker, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_tags_and_a_manifest() {
    if !packer_and_docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "motd", "baked by packer\n");
    let repository = format!("towpath-packer-test/web-{}", std::process::id());
    let definition = json!({
        // Without an `image`: it starts from the base.
        "sources": [{"type": "docker", "commit": true, "pull": false, "changes": ["CMD [\"cat\", \"/etc/motd\"]"],
                     "run_command": ["-d", "-i", "-t", "--", "{{.Image}}", "/bin/sh"]}],
        "provisioners": [
            {"type": "file", "source": "motd", "destination": "/etc/motd"},
            {"type": "shell", "inline": ["echo {{user `version`}} >/etc/version"]},
        ],
        "post_processors": [
            [{"type": "docker-tag", "repository": repository, "tags": ["1"], "force": true},
             {"type": "manifest", "output": "manifest.json"}],
        ],
    });
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .var("version", 7)
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let cx = Context::new();
    let web = image("web", &[ArtifactKind::DockerImage]);
    builder.preflight(&cx).await.unwrap();
    let built = builder.build(&cx, &web).await.unwrap();
    let tag = format!("{repository}:1");
    let ids: Vec<&str> = built.artifacts.iter().map(|a| a.id.as_str()).collect();
    let _images = Images(ids.iter().map(|id| (*id).to_owned()).collect());
    let id = output("docker", &["image", "inspect", "-f", "{{.Id}}", &tag]);
    assert_eq!(ids, [id.as_str(), tag.as_str()], "{built:?}");
    assert!(built.artifacts.iter().all(|a| a.digest == id), "a tag has its image's digest: {built:?}");
    assert_eq!(built.artifacts[0].provenance.base, SSHD_IMAGE);
    assert_eq!(output("docker", &["run", "--rm", &tag]), "baked by packer");
    assert_eq!(output("docker", &["run", "--rm", &tag, "cat", "/etc/version"]), "7");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["builds"][0]["builder_type"], "docker");

    // It is taken again, and the plan says what it can't know.
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 0);
    let plan = builder.plan(&cx, &web).await.unwrap();
    assert_eq!(plan.changes[0].certainty, Certainty::WillNot);
    assert!(plan.changes[0].reason.as_ref().unwrap().contains("was not looked at"));
    for artifact in &built.artifacts {
        assert_eq!(builder.probe(&cx, artifact).await.unwrap().as_ref(), Some(artifact));
    }
    // An artifact is a base, too.
    let next = ImageDefinition {
        base: Base::Artifact(Box::new(built.artifacts[0].clone())),
        ..image("next", &[ArtifactKind::DockerImage])
    };
    let next = builder.build(&cx, &next).await.unwrap();
    let of_base = builder.remove(&cx, &built.artifacts[0]).await.unwrap_err();
    assert_eq!(of_base.kind(), ErrorKind::ToolFailed, "another image is made from it: {of_base:?}");
    let _next = Images(next.artifacts.iter().map(|a| a.id.clone()).collect());
    let parent = output("docker", &["image", "inspect", "-f", "{{.Parent}}", &next.artifacts[0].id]);
    assert_eq!((parent.as_str(), next.artifacts[0].provenance.base.as_str()), (id.as_str(), id.as_str()));
    // The file that goes in is part of the content.
    write(dir.path(), "motd", "another\n");
    assert!(!builder.plan(&cx, &web).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_a_container() {
    if !packer_and_docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let definition = json!({
        "sources": [{"type": "docker", "image": SSHD_IMAGE, "export_path": "root.tar", "pull": false}],
        "provisioners": [{"type": "shell", "inline": ["echo one >/etc/one"]}],
        "post_processors": [[{"type": "checksum", "checksum_types": ["sha256"], "output": "root.sum"}]],
    });
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let builder = Packer::new(config).unwrap();
    let cx = Context::new();
    let built = builder.build(&cx, &image("web", &[ArtifactKind::Archive, ArtifactKind::File])).await.unwrap();
    let got: Vec<_> = built.artifacts.iter().map(|a| (a.kind, a.id.rsplit('/').next().unwrap())).collect();
    assert_eq!(got, [(ArtifactKind::Archive, "root.tar"), (ArtifactKind::File, "root.sum")]);
    let listed = output("tar", &["-xOf", &built.artifacts[0].id, "etc/one"]);
    assert_eq!(listed, "one");
    let sum = std::fs::read_to_string(dir.path().join("root.sum")).unwrap();
    assert!(sum.starts_with(built.artifacts[0].digest.trim_start_matches("sha256:")), "{sum}");
    for artifact in &built.artifacts {
        assert_eq!(builder.probe(&cx, artifact).await.unwrap().as_ref(), Some(artifact));
        assert!(builder.remove(&cx, artifact).await.unwrap());
        assert_eq!(builder.probe(&cx, artifact).await.unwrap(), None);
    }
}

/// `docker-tag` of an image each time that `word` is another one.
fn tagged(dir: &std::path::Path, repository: &str, word: &str, reuse: Reuse) -> Packer {
    let definition = json!({
        "sources": [{"type": "docker", "commit": true, "pull": false}],
        "provisioners": [{"type": "shell", "inline": ["echo {{user `word`}} >/etc/word"]}],
        "post_processors": [[{"type": "docker-tag", "repository": repository, "tags": ["1"], "force": true}]],
    });
    let config = PackerConfig {
        reuse,
        ..PackerConfig::definition(serde_json::from_value(definition).unwrap())
            .var("word", word)
            .working_dir(dir)
            .state_dir(dir.join("state"))
    };
    Packer::new(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_removed_by_its_id_whatever_its_tag_means() {
    if !packer_and_docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let repository = format!("towpath-packer-test/moved-{}", std::process::id());
    let tag = format!("{repository}:1");
    let exists = |id: &str| {
        std::process::Command::new("docker").args(["image", "inspect", id]).output().unwrap().status.success()
    };
    let cx = Context::new();
    let web = image("web", &[ArtifactKind::DockerImage]);
    let builder = |word| tagged(dir.path(), &repository, word, Reuse::Verified);
    let one = builder("one").build(&cx, &web).await.unwrap().artifacts;
    let two = builder("two").build(&cx, &web).await.unwrap().artifacts;
    let _images = Images([&one[0], &two[0]].map(|a| a.digest.clone()).to_vec());
    assert_eq!((one[1].id.as_str(), two[1].id.as_str()), (tag.as_str(), tag.as_str()));
    assert_ne!(one[1].digest, two[1].digest);

    // The tag means the second now.
    let builder = builder("one");
    let moved = builder.probe(&cx, &one[1]).await.unwrap_err();
    assert_eq!((moved.kind(), moved.get("found")), (ErrorKind::Conflict, Some(two[1].digest.as_str())), "{moved:?}");
    assert!(!builder.plan(&cx, &web).await.unwrap().is_empty(), "`verified` looks at it");
    // A container needs the first.
    let container = output("docker", &["create", &one[0].id, "true"]);
    let used = builder.remove(&cx, &one[1]).await.unwrap_err();
    assert!(used.kind() == ErrorKind::Conflict && used.message().contains("container"), "{used:?}");
    output("docker", &["rm", &container]);
    assert!(builder.remove(&cx, &one[1]).await.unwrap());
    assert!(!exists(&one[0].digest) && exists(&two[0].digest));
    assert_eq!(output("docker", &["image", "inspect", "-f", "{{.Id}}", &tag]), two[1].digest);
    assert!(!builder.remove(&cx, &one[0]).await.unwrap(), "it went with its other name");
    let known = builder.recorded(&cx, "web").await.unwrap();
    assert!(known.iter().all(|a| a.digest == two[0].digest) && known.len() == 2, "{known:?}");

    // A name that somebody else gave it is not ours to take.
    let theirs = format!("{repository}:theirs");
    output("docker", &["tag", &two[0].digest, &theirs]);
    let named = builder.remove(&cx, &two[0]).await.unwrap_err();
    assert_eq!((named.kind(), named.get("by")), (ErrorKind::Conflict, Some(theirs.as_str())), "{named:?}");
    output("docker", &["rmi", &theirs]);
    assert!(builder.remove(&cx, &two[0]).await.unwrap());
    assert!(!exists(&two[0].digest) && !exists(&tag));
    assert_eq!(builder.probe(&cx, &two[1]).await.unwrap(), None);
    // An image of somebody else is refused.
    let mut foreign = two[0].clone();
    foreign.digest = output("docker", &["image", "inspect", "-f", "{{.Id}}", SSHD_IMAGE]);
    foreign.id = SSHD_IMAGE.into();
    assert_eq!(builder.remove(&cx, &foreign).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    foreign.digest = towpath_packer_digest(&foreign.id);
    assert_eq!(builder.remove(&cx, &foreign).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// The digest of an artifact whose image's id Packer did not say.
fn towpath_packer_digest(id: &str) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(id)))
}
