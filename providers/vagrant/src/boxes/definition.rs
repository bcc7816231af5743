//! Checks an image's definition before anything is touched.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{
    ArtifactKind, Base, Context, Error, ErrorKind, Host, ImageDefinition, Inventory, Result, Targets, digest_json,
};

use super::{BoxProvider, VAGRANT_BOX, VagrantBoxConfig};

/// Part of every content key: another way of making boxes gives other boxes.
const FORM: u32 = 1;

/// Where a box comes from.
#[derive(Debug, Clone)]
pub(super) enum Source<'a> {
    /// A host's tree.
    Host(&'a Host),
    /// The tree of a machine made from this reference.
    Machine(&'a str),
    /// A Docker image, named and not copied.
    DockerImage(&'a str),
}

fn error(kind: ErrorKind, operation: &'static str, image: &ImageDefinition, message: impl Into<String>) -> Error {
    Error::new(kind, VAGRANT_BOX, operation, message).with("image", &image.name)
}

/// An image's name is a folder's and part of a file's.
fn check_name(operation: &'static str, image: &ImageDefinition) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if !image.name.is_empty() && !image.name.starts_with(['.', '-']) && image.name.chars().all(plain) {
        return Ok(());
    }
    let what = "an image's name is a folder's: letters, digits and `._+-`, not `.` or `-` first";
    Err(error(ErrorKind::InvalidInput, operation, image, what))
}

/// Says where the box comes from.
pub(super) fn source<'a>(
    operation: &'static str,
    config: &VagrantBoxConfig,
    image: &'a ImageDefinition,
    has_machine: bool,
) -> Result<Source<'a>> {
    check_name(operation, image)?;
    let unsupported = |message: String| Err(error(ErrorKind::Unsupported, operation, image, message));
    if let Some(kind) = image.artifacts.iter().find(|k| **k != ArtifactKind::VagrantBox) {
        let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        return unsupported(format!("it makes `vagrant_box` only, not `{kind}`"));
    }
    let reference = match &image.base {
        Base::Host(host) if config.provider == BoxProvider::Libvirt => return Ok(Source::Host(host)),
        Base::Host(_) => {
            return unsupported(
                "a box for `docker` names an image and holds no tree: build the image with the builder `docker`, and name \
                 that artifact as the base"
                    .into(),
            );
        }
        Base::Image(reference) => reference,
        Base::Artifact(artifact) if artifact.kind == ArtifactKind::DockerImage => &artifact.id,
        Base::Artifact(artifact) => {
            let kind = serde_json::to_value(artifact.kind).unwrap_or_default();
            return unsupported(format!("a base must be a host, an image or a `docker_image`, not {kind}"));
        }
    };
    if reference.is_empty() {
        return Err(error(ErrorKind::InvalidInput, operation, image, "the image has an empty base: name one"));
    }
    if config.provider == BoxProvider::Docker {
        if !image.configure.is_empty() {
            return unsupported(
                "a box for `docker` names an image as it is: let the builder `docker` configure it, and name that artifact as the \
                 base"
                    .into(),
            );
        }
        let digest = reference.rsplit('@').next().and_then(|d| d.strip_prefix("sha256:")).unwrap_or_default();
        if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            let what = "a box names its image by digest (`sha256:…` or `name@sha256:…`), since a tag moves";
            return Err(error(ErrorKind::InvalidInput, operation, image, what).with("base", reference));
        }
        return Ok(Source::DockerImage(reference));
    }
    if !has_machine {
        return unsupported(
            "a base that is an image needs a machine to configure it in: give one with `with_machine`, or provision a host \
             and name that as the base"
                .into(),
        );
    }
    Ok(Source::Machine(reference))
}

/// What decides what a box of these settings is, beside its tree. Where it is kept and how it is called is none of it.
fn settings(config: &VagrantBoxConfig) -> serde_json::Value {
    json!({
        "provider": config.provider,
        "disk_gib": config.disk_gib,
        "vagrant_user": config.vagrant_user,
        "exclude": config.exclude,
        "epoch": config.source_date_epoch_s,
        "version": config.version,
    })
}

/// The key of a box of this tree.
pub(super) fn tree_key(config: &VagrantBoxConfig, image: &ImageDefinition, digest: &[u8; 32]) -> String {
    let tree = hex::encode(digest);
    digest_json(&json!({"form": FORM, "name": image.name, "tree": tree, "settings": settings(config)}))
}

/// The key of a box that is made from a reference.
pub(super) async fn reference_key(
    cx: &Context,
    config: &VagrantBoxConfig,
    image: &ImageDefinition,
    reference: &str,
    machine: Option<&serde_json::Value>,
) -> Result<String> {
    let mut configurators = Vec::new();
    for configurator in &image.configure {
        configurators.push(configurator.digest(cx).await?);
    }
    let settings = settings(config);
    Ok(digest_json(&json!({
        "form": FORM, "name": image.name, "base": reference, "configure": configurators, "machine": machine, "settings": settings,
    })))
}

pub(super) fn targets(image: &ImageDefinition, host: &Host) -> Targets {
    let inventory = Inventory { hosts: vec![host.clone()], ..Inventory::default() };
    Targets::new(inventory, Arc::clone(&image.connector))
}
