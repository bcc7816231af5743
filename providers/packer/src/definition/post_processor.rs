use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::ArtifactKind;

use super::Extra;
use super::provisioner::common;

/// What becomes of a build's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
#[schemars(rename = "PackerPostProcessor")]
pub enum PostProcessor {
    /// Makes a Vagrant box of it.
    Vagrant(VagrantBox),
    /// Writes down what was made.
    Manifest(Manifest),
    /// Tags a Docker image.
    DockerTag(DockerTag),
    /// Writes checksums of its files.
    Checksum(Checksum),
}

common! {
    /// Post-processor `vagrant`.
    VagrantBox {
        /// The box: `{{.BuildName}}_{{.Provider}}.box`. `packer_{{.BuildName}}_{{.Provider}}.box` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// 0 to 9. 6 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compression_level: Option<u8>,
        /// More files that go into it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        include: Vec<String>,
        /// A template of its Vagrantfile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vagrantfile_template: Option<String>,
        /// Vagrant's provider, where Packer can't tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_override: Option<String>,
        /// Keeps what the box is made of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_input_artifact: Option<bool>,
    }
}

common! {
    /// Post-processor `manifest`.
    Manifest {
        /// The file. `packer-manifest.json` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// Writes names without folders.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        strip_path: Option<bool>,
        /// Text that goes into it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        custom_data: BTreeMap<String, String>,
    }
}

common! {
    /// Post-processor `docker-tag`.
    DockerTag {
        /// The repository.
        repository: String,
        /// The tags. `latest` by default.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        /// Takes the tags from another image that has them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<bool>,
    }
}

common! {
    /// Post-processor `checksum`.
    Checksum {
        /// `md5`, `sha1`, `sha224`, `sha256`, `sha384`, `sha512`. `md5` by default.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checksum_types: Vec<String>,
        /// The file: `{{.BuildName}}.{{.ChecksumType}}`. `packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum` by
        /// default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    }
}

impl PostProcessor {
    /// The builds that it names.
    pub(super) fn builds(&self) -> Vec<&String> {
        let (only, except) = match self {
            Self::Vagrant(p) => (&p.only, &p.except),
            Self::Manifest(p) => (&p.only, &p.except),
            Self::DockerTag(p) => (&p.only, &p.except),
            Self::Checksum(p) => (&p.only, &p.except),
        };
        only.iter().chain(except).collect()
    }

    /// What comes out.
    pub(super) fn kind(&self) -> Option<ArtifactKind> {
        match self {
            Self::Vagrant(_) => Some(ArtifactKind::VagrantBox),
            Self::DockerTag(_) => Some(ArtifactKind::DockerImage),
            Self::Checksum(_) => Some(ArtifactKind::File),
            Self::Manifest(_) => None,
        }
    }
}
