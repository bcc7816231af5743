use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{ArtifactKind, Json, Result};

use super::{BASE_VAR, Extra, Ssh, options};

/// What a build starts, and saves in the end: Packer's builders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
#[schemars(rename = "PackerSource")]
pub enum Source {
    /// An AMI, from an instance in EC2.
    AmazonEbs(AmazonEbs),
    /// A Docker image, from a container. Needs the program `docker`.
    Docker(Docker),
    /// A disk image, from a virtual machine. Needs the program `qemu-system-...`.
    Qemu(Qemu),
    /// A Vagrant box, from another one. Needs the program `vagrant`.
    Vagrant(Vagrant),
    /// A machine that is there already, and only provisioned: no artifact.
    Null(Null),
    /// A file, of given content.
    File(File),
}

/// Source `amazon-ebs`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmazonEbs {
    /// The build's name. The type's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Name of the AMI; one that exists already fails the build, unless `force` is set.
    pub ami_name: String,
    /// The region that it is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The AMI that it starts from. The image's base if neither this nor `source_ami_filter` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ami: Option<String>,
    /// How the AMI that it starts from is searched: `filters`, `owners`, `most_recent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ami_filter: Option<Json>,
    /// The type of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// A description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ami_description: Option<String>,
    /// Regions that the AMI is copied to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ami_regions: Vec<String>,
    /// Accounts that may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ami_users: Vec<String>,
    /// Tags of the AMI and its snapshots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Tags of the instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub run_tags: BTreeMap<String, String>,
    /// The subnet of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<String>,
    /// Security groups of the instance. Packer makes one by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<String>,
    /// The role of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam_instance_profile: Option<String>,
    /// `ssh`, `winrm` or `none`. `ssh` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communicator: Option<String>,
    /// How the instance is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Further options of Packer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Extra,
}

/// Source `docker`. One of `commit`, `export_path` and `discard` says what becomes of the container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Docker {
    /// The build's name. The type's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The image that it starts from. The image's base if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Makes an image of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<bool>,
    /// Writes the container's files into this tar archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_path: Option<String>,
    /// Throws the container away: for a test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discard: Option<bool>,
    /// Fetches the image even if it is there. `true` by default, as in Packer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<bool>,
    /// Instructions of a Dockerfile for the image: `CMD`, `ENV`, `EXPOSE`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Arguments of `docker run`, `{{.Image}}` among them. Packer's default leaves `/bin/sh` as the entry point of the image;
    /// `["-d", "-i", "-t", "--", "{{.Image}}", "/bin/sh"]` doesn't.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_command: Vec<String>,
    /// Folders of this machine by the path that the container sees them at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, String>,
    /// Runs the container privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Further options of Packer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Extra,
}

/// Source `qemu`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// The build's name. The type's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The installation medium, or the disk that it starts from (`disk_image`). The image's base if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iso_url: Option<String>,
    /// Its checksum: `sha256:...`, `none`.
    pub iso_checksum: String,
    /// Whether `iso_url` is a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_image: Option<bool>,
    /// Size of the disk: `10G`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<String>,
    /// `qcow2` or `raw`. `qcow2` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// `kvm`, `tcg`, ... Packer chooses by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Shows no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headless: Option<bool>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// What is typed into the boot prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_command: Vec<String>,
    /// How long Packer waits before it types: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_wait: Option<String>,
    /// A folder that the machine can fetch files of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_directory: Option<String>,
    /// The folder of the result; it must not exist, unless `force` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_directory: Option<String>,
    /// The name of the result's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Shuts the machine down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_command: Option<String>,
    /// `ssh`, `winrm` or `none`. `ssh` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communicator: Option<String>,
    /// How the machine is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Further options of Packer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Extra,
}

/// Source `vagrant`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vagrant {
    /// The build's name. The type's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The box that it starts from: name, path or address. The image's base if neither this nor `global_id` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// A machine that runs already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_id: Option<String>,
    /// Vagrant's provider: `virtualbox`, `libvirt`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The version of the box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_version: Option<String>,
    /// The box is there: `vagrant box add` is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_add: Option<bool>,
    /// The folder of the result; it must not exist, unless `force` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_dir: Option<String>,
    /// How the machine is reached. Vagrant knows by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Further options of Packer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Extra,
}

/// Source `null`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Null {
    /// The build's name. The type's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `ssh`, `winrm` or `none`. `none` by default, `ssh` where `ssh` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communicator: Option<String>,
    /// How the machine is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Further options of Packer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Extra,
}

/// Source `file`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The build's name. The type's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file that is made.
    pub target: String,
    /// Its content. Either this or `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The file that is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Further options of Packer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: Extra,
}

impl Source {
    /// The build's name.
    pub(crate) fn build_name(&self) -> &str {
        let (name, of_type) = match self {
            Self::AmazonEbs(s) => (&s.name, "amazon-ebs"),
            Self::Docker(s) => (&s.name, "docker"),
            Self::Qemu(s) => (&s.name, "qemu"),
            Self::Vagrant(s) => (&s.name, "vagrant"),
            Self::Null(s) => (&s.name, "null"),
            Self::File(s) => (&s.name, "file"),
        };
        name.as_deref().unwrap_or(of_type)
    }

    /// What comes out.
    pub(crate) fn kind(&self) -> Option<ArtifactKind> {
        match self {
            Self::AmazonEbs(_) => Some(ArtifactKind::Ami),
            Self::Docker(Docker { export_path: Some(_), .. }) => Some(ArtifactKind::Archive),
            Self::Docker(Docker { discard: Some(true), .. }) => None,
            Self::Docker(_) => Some(ArtifactKind::DockerImage),
            Self::Qemu(_) => Some(ArtifactKind::Disk),
            Self::Vagrant(_) => Some(ArtifactKind::VagrantBox),
            Self::Null(_) => None,
            Self::File(_) => Some(ArtifactKind::File),
        }
    }

    /// Its options as Packer knows them. What it starts from is the image's base, unless it says so itself.
    pub(super) fn to_packer(&self) -> Result<Json> {
        let mut this = self.clone();
        let base = || Some(format!("{{{{user `{BASE_VAR}`}}}}"));
        match &mut this {
            Self::AmazonEbs(s) if s.source_ami.is_none() && s.source_ami_filter.is_none() => s.source_ami = base(),
            Self::Docker(s) if s.image.is_none() => s.image = base(),
            Self::Qemu(s) if s.iso_url.is_none() && !s.extra.contains_key("iso_urls") => s.iso_url = base(),
            Self::Vagrant(s) if s.source_path.is_none() && s.global_id.is_none() => s.source_path = base(),
            Self::Null(s) if s.communicator.is_none() => {
                s.communicator = Some(if s.ssh.is_some() { "ssh" } else { "none" }.into());
            }
            _ => {}
        }
        let mut options = options("source", &this)?;
        // The only one that Packer's builder takes, and it wants to be told.
        if let (Self::Vagrant(_), Some(map)) = (&this, options.as_object_mut()) {
            map.entry("communicator").or_insert_with(|| "ssh".into());
        }
        Ok(options)
    }

    /// Says whether it starts from the image's base.
    pub(crate) fn needs_base(&self) -> bool {
        match self {
            Self::AmazonEbs(s) => s.source_ami.is_none() && s.source_ami_filter.is_none(),
            Self::Docker(s) => s.image.is_none(),
            Self::Qemu(s) => s.iso_url.is_none() && !s.extra.contains_key("iso_urls"),
            Self::Vagrant(s) => s.source_path.is_none() && s.global_id.is_none(),
            Self::Null(_) | Self::File(_) => false,
        }
    }
}
