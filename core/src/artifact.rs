use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of thing that an image builder makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ArtifactKind {
    /// An Amazon machine image.
    Ami,
    /// A Vagrant box.
    VagrantBox,
    /// A Docker image.
    DockerImage,
    /// A disk image.
    Disk,
    /// A tar archive of a tree.
    Archive,
}

/// Something baked or built, that releases and hosts are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Its name, for example `web`.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Where it is: a path, an AMI id, an image reference.
    pub id: String,
    /// Digest of its content, `sha256:<hex>`.
    pub digest: String,
    /// Where it came from.
    #[serde(default)]
    pub provenance: Provenance,
}

/// Where an artifact came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// Digest over everything it is made from. Equal keys give equal artifacts, so that a build can be skipped.
    #[serde(default)]
    pub content_key: String,
    /// The base: an image, a host.
    #[serde(default)]
    pub base: String,
    /// More labels: playbook, commit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
