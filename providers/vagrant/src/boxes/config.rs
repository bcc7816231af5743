use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{BecomeSpec, Error, ErrorKind, Result};

use super::VAGRANT_BOX;
use super::version::Version;

/// Settings of the image builder `vagrant-box`: Vagrant boxes with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VagrantBoxConfig {
    /// Folder of the boxes and their catalogues, one folder for each image, made with mode 0700. `.towpath/boxes` by
    /// default.
    #[serde(default = "default_dir")]
    pub dir: PathBuf,

    /// The Vagrant provider that the box is for. `libvirt` by default.
    #[serde(default)]
    pub provider: BoxProvider,

    /// The box's name in the catalogue, as `config.vm.box` names it: `acme/web`. The image's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_name: Option<String>,

    /// What the box is, for people who read the catalogue.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,

    /// The version, `major.minor.patch`. A version that the catalogue has with another content is refused. By default the
    /// one after the newest of the catalogue (its patch counted up), `1.0.0` in an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Where the boxes of this image are fetched from, if the folder is copied or served: a URL without the file's name.
    /// `file://` and the folder by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// Size of the disk in GiB. It is sparse: the box holds only what is in use. `20` by default. The disk can't be grown
    /// later, so leave room.
    #[serde(default = "default_disk")]
    #[schemars(range(min = 1, max = 2000))]
    pub disk_gib: u32,

    /// Adds the user `vagrant` with the key that everybody knows and sudo without a password, as Vagrant expects it in a box.
    /// Vagrant replaces the key at the first `up`; until then **everybody who reaches the machine is root on it**.
    /// `true` by default.
    #[serde(default = "yes")]
    pub vagrant_user: bool,

    /// What is left out beside what belongs to a running system only: absolute paths, each with all below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,

    /// Latest time of a file, in seconds since 1970: a later one becomes this one, so that the same tree gives the same
    /// disk whenever it was written. `1735689600` (2025-01-01) by default.
    #[serde(default = "default_epoch")]
    #[schemars(range(max = 2_147_483_647))]
    pub source_date_epoch_s: u32,

    /// Most bytes that a tree may have. `17179869184` (16 GiB) by default.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1))]
    pub max_bytes: u64,

    /// The user who reads the tree: it must be root to see all of it. The one of the host's `become` by default, else the
    /// one who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeSpec>,
}

/// A provider of Vagrant that boxes are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "VagrantBoxProvider")]
pub enum BoxProvider {
    /// A disk that QEMU and KVM boot.
    #[default]
    Libvirt,
    /// A Docker image, named by its digest.
    Docker,
}

impl BoxProvider {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Libvirt => "libvirt",
            Self::Docker => "docker",
        }
    }
}

fn default_dir() -> PathBuf {
    PathBuf::from(".towpath").join("boxes")
}
fn default_disk() -> u32 {
    20
}
fn yes() -> bool {
    true
}
fn default_epoch() -> u32 {
    1_735_689_600
}
fn default_max_bytes() -> u64 {
    16 << 30
}

impl Default for VagrantBoxConfig {
    fn default() -> Self {
        Self {
            dir: default_dir(),
            provider: BoxProvider::default(),
            box_name: None,
            description: String::new(),
            version: None,
            url: None,
            disk_gib: default_disk(),
            vagrant_user: true,
            exclude: Vec::new(),
            source_date_epoch_s: default_epoch(),
            max_bytes: default_max_bytes(),
            r#become: None,
        }
    }
}

impl VagrantBoxConfig {
    /// Keeps boxes and catalogues there, everything else by default.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..Self::default() }
    }

    /// Makes boxes for this provider.
    #[must_use]
    pub fn provider(mut self, provider: BoxProvider) -> Self {
        self.provider = provider;
        self
    }

    /// Gives the box this version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Names the box in the catalogue.
    #[must_use]
    pub fn box_name(mut self, name: impl Into<String>) -> Self {
        self.box_name = Some(name.into());
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, VAGRANT_BOX, "config", message));
        let climbs = |p: &str| p.split('/').any(|part| part == ".." || part == ".") || p.contains('\0');
        if let Some(path) =
            self.exclude.iter().find(|p| !p.starts_with('/') || p.trim_end_matches('/').is_empty() || climbs(p))
        {
            return invalid(format!("`exclude` must be absolute paths without `..`, not {path:?}"));
        }
        if let Some(version) = self.version.as_deref().filter(|v| Version::parse(v).is_none()) {
            return invalid(format!("`version` must be three numbers, as `1.0.0`, not {version:?}"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if let Some(name) = self.box_name.as_deref().filter(|n| {
            n.is_empty() || !n.chars().all(plain) || n.split('/').count() > 2 || n.split('/').any(str::is_empty)
        }) {
            return invalid(format!(
                "`box_name` must be `name` or `owner/name` of letters, digits and `._-`, not {name:?}"
            ));
        }
        if let Some(url) = self.url.as_deref().filter(|u| !u.contains("://") || u.contains(char::is_whitespace)) {
            return invalid(format!("`url` must be a URL, as `https://boxes.example.com/web`, not {url:?}"));
        }
        if self.disk_gib == 0 || self.disk_gib > 2000 {
            return invalid("`disk_gib` must be from 1 to 2000".into());
        }
        if self.source_date_epoch_s > 2_147_483_647 {
            return invalid("`source_date_epoch_s` must be at most 2147483647".into());
        }
        if self.max_bytes == 0 {
            return invalid("`max_bytes` must be at least 1".into());
        }
        Ok(())
    }
}
