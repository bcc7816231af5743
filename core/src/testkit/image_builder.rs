//! What every [`ImageBuilder`] does.

use std::sync::Arc;

use super::suite::{Act, Keep, cancelled, fails, known, lacks, suite};
use crate::{Artifact, ArtifactKind, Certainty, Context, ErrorKind, ImageBuilder, ImageDefinition};

/// An image builder and an image that was not built yet.
pub struct ImageBuilderFixture {
    /// The provider.
    pub provider: Arc<dyn ImageBuilder>,
    /// An image that it can make.
    pub image: ImageDefinition,
    /// Another image, of another content.
    pub other: ImageDefinition,
    /// Where it works.
    pub cx: Context,
    /// Changes an artifact's content behind the builder's back; `None`: its system makes that impossible.
    pub corrupt: Option<Act<Artifact>>,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ image_builder image_builder_behaviour ImageBuilderFixture {
    preflight_answers,
    capabilities_are_known_names,
    plan_builds_nothing,
    build_makes_the_artifacts_wanted,
    an_equal_image_is_reused,
    another_content_is_another_artifact,
    a_kind_that_it_cannot_make_is_unsupported,
    probe_finds_what_was_built,
    probe_of_nothing_is_none,
    probe_refuses_a_changed_artifact,
    remove_says_whether_it_was_there,
    a_removed_image_is_built_again,
    a_cancelled_build_makes_nothing,
});

const KINDS: &[(ArtifactKind, &str)] = &[
    (ArtifactKind::Ami, "ami"),
    (ArtifactKind::VagrantBox, "vagrant_box"),
    (ArtifactKind::DockerImage, "docker_image"),
    (ArtifactKind::Disk, "disk"),
    (ArtifactKind::Archive, "archive"),
    (ArtifactKind::File, "file"),
];

async fn clean(f: &ImageBuilderFixture, artifacts: &[Artifact]) {
    if f.provider.capabilities().has("remove") {
        for artifact in artifacts {
            f.provider.remove(&f.cx, artifact).await.expect("remove at the end of a test");
        }
    }
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: ImageBuilderFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// Names only verbs of the trait and kinds of artifacts.
pub async fn capabilities_are_known_names(f: ImageBuilderFixture) {
    let mut names = vec!["plan", "build", "contents", "probe", "remove"];
    names.extend(KINDS.iter().map(|(_, n)| *n));
    let can = f.provider.capabilities();
    known(&can, &names);
    assert!(can.has("build") && KINDS.iter().any(|(_, n)| can.has(n)), "a builder that makes nothing");
}

/// A plan is only looked at.
pub async fn plan_builds_nothing(f: ImageBuilderFixture) {
    if !f.provider.capabilities().has("plan") {
        return lacks("plan", f.provider.plan(&f.cx, &f.image).await);
    }
    assert!(!f.provider.plan(&f.cx, &f.image).await.expect("plan").is_empty(), "there is something to build");
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    assert_eq!(built.changed, f.image.artifacts.len(), "the plan had left it to build");
    let plan = f.provider.plan(&f.cx, &f.image).await.expect("plan");
    assert!(plan.changes.iter().all(|c| c.certainty == Certainty::WillNot), "now it would be reused: {plan:?}");
    clean(&f, &built.artifacts).await;
}

/// Kinds in the order wanted, each with digest and content key.
pub async fn build_makes_the_artifacts_wanted(f: ImageBuilderFixture) {
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    assert_eq!(built.artifacts.iter().map(|a| a.kind).collect::<Vec<_>>(), f.image.artifacts);
    for artifact in &built.artifacts {
        assert_eq!(artifact.name, f.image.name);
        assert!(!artifact.id.is_empty(), "{artifact:?}");
        let hex = artifact.digest.strip_prefix("sha256:").unwrap_or_else(|| panic!("{artifact:?}"));
        assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{artifact:?}");
        assert!(!artifact.provenance.content_key.is_empty(), "{artifact:?}");
        for (label, value) in &f.image.labels {
            assert_eq!(artifact.provenance.labels.get(label), Some(value), "labels go into the provenance");
        }
    }
    clean(&f, &built.artifacts).await;
}

/// The same content key gives the same artifact, without a build.
pub async fn an_equal_image_is_reused(f: ImageBuilderFixture) {
    let first = f.provider.build(&f.cx, &f.image).await.expect("build");
    let second = f.provider.build(&f.cx, &f.image).await.expect("second build");
    assert_eq!(second.changed, 0);
    assert_eq!(first.artifacts, second.artifacts);
    clean(&f, &first.artifacts).await;
}

/// Different images are never mistaken for each other.
pub async fn another_content_is_another_artifact(f: ImageBuilderFixture) {
    let first = f.provider.build(&f.cx, &f.image).await.expect("build");
    let second = f.provider.build(&f.cx, &f.other).await.expect("build of another image");
    assert!(second.changed > 0, "it is not there yet");
    assert_ne!(first.artifacts[0].provenance.content_key, second.artifacts[0].provenance.content_key);
    assert_ne!(first.artifacts[0].digest, second.artifacts[0].digest);
    clean(&f, &first.artifacts).await;
    clean(&f, &second.artifacts).await;
}

/// And nothing is built of the rest.
pub async fn a_kind_that_it_cannot_make_is_unsupported(f: ImageBuilderFixture) {
    let can = f.provider.capabilities();
    let (other, name) = *KINDS.iter().find(|(_, n)| !can.has(n)).expect("no builder makes every kind");
    let mut image = f.image.clone();
    image.artifacts.push(other);
    let error = fails(ErrorKind::Unsupported, f.provider.build(&f.cx, &image).await);
    assert!(error.report().contains(name), "it names the kind `{name}`: {error:?}");
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    assert_eq!(built.changed, f.image.artifacts.len(), "the refused build had made nothing");
    clean(&f, &built.artifacts).await;
}

/// What was built is there and whole.
pub async fn probe_finds_what_was_built(f: ImageBuilderFixture) {
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    for artifact in &built.artifacts {
        if f.provider.capabilities().has("probe") {
            assert_eq!(f.provider.probe(&f.cx, artifact).await.expect("probe").as_ref(), Some(artifact));
        } else {
            lacks("probe", f.provider.probe(&f.cx, artifact).await);
        }
    }
    clean(&f, &built.artifacts).await;
}

/// An artifact that is gone is not an error.
pub async fn probe_of_nothing_is_none(f: ImageBuilderFixture) {
    let can = f.provider.capabilities();
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    let artifact = &built.artifacts[0];
    if !can.has("probe") {
        lacks("probe", f.provider.probe(&f.cx, artifact).await);
        return clean(&f, &built.artifacts).await;
    }
    if can.has("remove") {
        clean(&f, &built.artifacts).await;
        assert_eq!(f.provider.probe(&f.cx, artifact).await.expect("probe"), None);
    } else {
        lacks("remove", f.provider.remove(&f.cx, artifact).await);
    }
}

/// A digest that does not fit is said, never passed over.
pub async fn probe_refuses_a_changed_artifact(f: ImageBuilderFixture) {
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    let artifact = &built.artifacts[0];
    if !f.provider.capabilities().has("probe") {
        lacks("probe", f.provider.probe(&f.cx, artifact).await);
    } else if let Some(corrupt) = &f.corrupt {
        corrupt(artifact.clone()).await;
        fails(ErrorKind::Conflict, f.provider.probe(&f.cx, artifact).await);
    } else {
        let mut forged = artifact.clone();
        forged.digest = format!("sha256:{}", "0".repeat(64));
        fails(ErrorKind::Conflict, f.provider.probe(&f.cx, &forged).await);
    }
    clean(&f, &built.artifacts).await;
}

/// Nothing there is a success that says so.
pub async fn remove_says_whether_it_was_there(f: ImageBuilderFixture) {
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    let artifact = &built.artifacts[0];
    if !f.provider.capabilities().has("remove") {
        return lacks("remove", f.provider.remove(&f.cx, artifact).await);
    }
    assert!(f.provider.remove(&f.cx, artifact).await.expect("remove"));
    assert!(!f.provider.remove(&f.cx, artifact).await.expect("second remove"));
    clean(&f, &built.artifacts).await;
}

/// A content key alone does not make an artifact.
pub async fn a_removed_image_is_built_again(f: ImageBuilderFixture) {
    let first = f.provider.build(&f.cx, &f.image).await.expect("build");
    if !f.provider.capabilities().has("remove") {
        return lacks("remove", f.provider.remove(&f.cx, &first.artifacts[0]).await);
    }
    clean(&f, &first.artifacts).await;
    let again = f.provider.build(&f.cx, &f.image).await.expect("build");
    assert_eq!(again.changed, f.image.artifacts.len());
    clean(&f, &again.artifacts).await;
}

/// A cancel that came before the start leaves no trace.
pub async fn a_cancelled_build_makes_nothing(f: ImageBuilderFixture) {
    fails(ErrorKind::Cancelled, f.provider.build(&cancelled(&f.cx), &f.image).await);
    let built = f.provider.build(&f.cx, &f.image).await.expect("build");
    assert_eq!(built.changed, f.image.artifacts.len(), "the cancelled build had made nothing");
    clean(&f, &built.artifacts).await;
}
