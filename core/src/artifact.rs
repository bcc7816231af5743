use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Error, ErrorKind, Result};

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
    /// A single file: a program, a script.
    File,
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

impl Artifact {
    /// A file that was built elsewhere; reads it to take its digest.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`Denied`](ErrorKind::Denied): it can't be read.
    pub fn of_file(name: impl Into<String>, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut digest = Sha256::new();
        std::fs::File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut digest)).map_err(|e| {
            let missing = e.kind() == std::io::ErrorKind::NotFound;
            let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Denied };
            Error::new(kind, "core", "artifact", "the file can't be read").with("file", path.display()).caused_by(e)
        })?;
        Ok(Self {
            name: name.into(),
            kind: ArtifactKind::File,
            id: path.display().to_string(),
            digest: format!("sha256:{}", hex::encode(digest.finalize())),
            provenance: Provenance::default(),
        })
    }
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
