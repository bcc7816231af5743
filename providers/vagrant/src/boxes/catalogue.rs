//! The catalogue of one box, as `vagrant box add` reads it.
//!
//! Source: Vagrant documentation, "Box File Format", "Box Metadata".

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::version::Version;
use crate::files::{read_json, write_json};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub(super) struct Catalogue {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) versions: Vec<Listed>,
    /// What somebody else wrote into it stays.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A version of the box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) version: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    pub(super) providers: Vec<Offer>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The box of a version for one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) url: String,
    #[serde(default)]
    checksum_type: String,
    #[serde(default)]
    pub(super) checksum: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    default_architecture: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Offer {
    pub(super) fn new(provider: &str, url: String, sha256: &str) -> Self {
        Self {
            name: provider.into(),
            url,
            checksum_type: "sha256".into(),
            checksum: sha256.into(),
            architecture: "amd64".into(),
            default_architecture: true,
            rest: Map::new(),
        }
    }
}

impl Catalogue {
    /// Reads it; an absent one is empty.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(read_json(path)?.unwrap_or_default())
    }

    /// Writes it in one step, readable for others: it says nothing but what it offers.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        write_json(path, self)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
    }

    pub(super) fn newest(&self) -> Option<Version> {
        self.versions.iter().filter_map(|v| Version::parse(&v.version)).max()
    }

    /// What it offers of a version for a provider.
    pub(super) fn offer(&self, version: &str, provider: &str) -> Option<&Offer> {
        let listed = self.versions.iter().find(|v| v.version == version)?;
        listed.providers.iter().find(|p| p.name == provider)
    }

    /// Lists a box. The newest version comes first.
    pub(super) fn add(&mut self, version: &str, offer: Offer) {
        match self.versions.iter_mut().find(|v| v.version == version) {
            Some(listed) => {
                listed.providers.retain(|p| p.name != offer.name);
                listed.providers.push(offer);
                listed.providers.sort_by(|a, b| a.name.cmp(&b.name));
            }
            None => self.versions.push(Listed {
                version: version.into(),
                status: "active".into(),
                providers: vec![offer],
                rest: Map::new(),
            }),
        }
        self.versions.sort_by_key(|v| std::cmp::Reverse(Version::parse(&v.version)));
    }

    /// Takes a box out. `false`: it was not listed.
    pub(super) fn remove(&mut self, version: &str, provider: &str) -> bool {
        let there = self.offer(version, provider).is_some();
        for listed in self.versions.iter_mut().filter(|v| v.version == version) {
            listed.providers.retain(|p| p.name != provider);
        }
        self.versions.retain(|v| !v.providers.is_empty());
        there
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_version_holds_a_box_for_each_provider_and_strange_keys_stay() {
        let mut catalogue: Catalogue = serde_json::from_str(
            r#"{"name":"web","versions":[{"version":"1.0.0","status":"active","providers":[{"name":"libvirt","url":"file:///a","checksum":"1","extra":1}],"notes":"x"}],"more":{}}"#,
        )
        .unwrap();
        catalogue.add("1.0.0", Offer::new("docker", "file:///b".into(), "2"));
        catalogue.add("1.0.1", Offer::new("docker", "file:///c".into(), "3"));
        assert_eq!(catalogue.newest().unwrap().to_string(), "1.0.1");
        assert_eq!(catalogue.versions[0].version, "1.0.1");
        assert!(catalogue.remove("1.0.0", "docker") && !catalogue.remove("1.0.0", "docker"));
        let text = serde_json::to_string(&catalogue).unwrap();
        for kept in ["\"extra\":1", "\"notes\":\"x\"", "\"more\":{}"] {
            assert!(text.contains(kept), "{text}");
        }
    }
}
