use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{ConnectionSpec, Error, ErrorKind, ImageBuilder, Json, Result};

use crate::{Address, ClientConfig, InstanceConfig, LaunchTemplateConfig, PROVIDER, Patience, tags};

/// Settings of the image builder `aws`: AMIs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AwsImageConfig {
    /// How AWS is reached. The AMI is made in its region.
    pub client: ClientConfig,

    /// The temporary instance. Without `key_name`, and without a key or password in `connection`, it gets a key pair of its own, and
    /// without `security_groups` a group of its own; both are removed afterwards, and the key is taken out of the image.
    pub instance: InstanceConfig,

    /// Who may reach the temporary instance on port 22: addresses as `203.0.113.7/32`. Needed unless `security_groups` are given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_from: Vec<String>,

    /// By which address the temporary instance is reached.
    pub address: Address,

    /// How the temporary instance is reached: user, options of the connector. As in the provisioner `aws`, an `address` here goes
    /// before the instance's own.
    ///
    /// Without `host_key`, `host_keys` or `known_hosts` among the options, the host's key is read from the instance's console, where
    /// cloud-init prints it.
    pub connection: ConnectionSpec,

    /// Longest wait until the instance lets one log in, in seconds. 300 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub ssh_timeout_s: Option<u64>,

    /// Groups that the baked host is in, as playbooks see them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,

    /// Name of the AMI; `{name}` is the image's name, `{key}` the beginning of its content key. `{name}-{key}` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ami_name: Option<String>,

    /// Description of the AMI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// Tags of the AMI and its snapshots, beside those that tell where it came from. A change makes no new AMI.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,

    /// What must succeed on an instance started from the new AMI, before anybody may use that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<TestCommand>,

    /// Regions that get a copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copy_to: Vec<String>,

    /// Accounts, by their 12 digits, that may start the AMI and its copies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub share_with: Vec<String>,

    /// A launch template that gets the AMI as its new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_template: Option<LaunchTemplateConfig>,

    /// How long is waited for instances and AMIs.
    pub wait: Patience,

    /// Age in seconds at which temporary resources of a build on another machine count as left over. 6 hours by default; builds on
    /// this machine are known by their processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_after_s: Option<u64>,
}

/// A script that must succeed on an instance started from the new AMI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCommand {
    /// What it tests, for events and errors; the script's first line if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// The script, for `/bin/sh`.
    pub script: String,

    /// Runs it as root, by sudo without a password.
    #[serde(default)]
    pub root: bool,

    /// Seconds that it may take. 300 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

impl TestCommand {
    /// A script.
    pub fn new(script: impl Into<String>) -> Self {
        Self { name: None, script: script.into(), root: false, timeout_s: None }
    }
}

impl From<AwsImageConfig> for ProviderSpec<dyn ImageBuilder> {
    fn from(config: AwsImageConfig) -> Self {
        // Strings, numbers and paths only; a path that is no text can't be part of a pipeline.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

/// Whether this is an address with its prefix length.
fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(address), Ok(bits)) => bits <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    })
}

impl AwsImageConfig {
    /// Sets how AWS is reached.
    #[must_use]
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.client = client;
        self
    }

    /// Sets how the temporary instance is reached.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionSpec) -> Self {
        self.connection = connection;
        self
    }

    /// Relative paths start there.
    pub(crate) fn based(mut self, dir: &Path) -> Self {
        self.instance = self.instance.based(dir);
        self
    }

    pub(super) fn stale_s(&self) -> u64 {
        self.stale_after_s.unwrap_or(6 * 3600)
    }

    /// Who may connect is open to the whole world.
    pub(super) fn is_open(&self) -> bool {
        self.ssh_from.iter().any(|c| c.ends_with("/0"))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        self.client.check()?;
        self.instance.check("instance")?;
        tags::check("tags", &self.tags)?;
        if let Some(bad) = self.ssh_from.iter().find(|c| !is_cidr(c)) {
            return invalid(format!("`ssh_from` has {bad:?}, which is no range of addresses: `203.0.113.7/32`"));
        }
        let is_region =
            |r: &String| r.matches('-').count() >= 2 && r.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(bad) = self.copy_to.iter().find(|r| !is_region(r)) {
            return invalid(format!("`copy_to` has {bad:?}, which is no region: `eu-west-1`"));
        }
        let is_account = |a: &String| a.len() == 12 && a.bytes().all(|b| b.is_ascii_digit());
        if let Some(bad) = self.share_with.iter().find(|a| !is_account(a)) {
            return invalid(format!("`share_with` has {bad:?}, which is no account: 12 digits"));
        }
        if let Some(name) = &self.ami_name {
            let plain = name.replace("{name}", "").replace("{key}", "");
            if !plain.chars().all(is_name_char) || name.is_empty() {
                return invalid(format!(
                    "`ami_name` may hold letters, digits and ( ) [ ] . / - ' @ _ and blanks: {name:?}"
                ));
            }
        }
        if self.test.iter().any(|t| t.script.trim().is_empty()) {
            return invalid("`test` has an empty script".into());
        }
        if let Some(template) = &self.launch_template {
            template.check()?;
        }
        Ok(())
    }

    /// The AMI's name. Source: "CreateImage" in the EC2 API reference: 3 to 128 of these characters.
    pub(super) fn name_of(&self, image: &str, key: &str) -> String {
        let pattern = self.ami_name.as_deref().unwrap_or("{name}-{key}");
        let key = key.get(..12).unwrap_or(key);
        let room = 128_usize.saturating_sub(pattern.len() + key.len());
        let image: String = image.chars().map(|c| if is_name_char(c) { c } else { '-' }).take(room).collect();
        let name = pattern.replace("{name}", &image).replace("{key}", key);
        if name.len() < 3 { format!("{name}-{key}") } else { name }
    }

    /// What of it decides what an AMI is.
    pub(super) fn content(&self, user_data: &str) -> Json {
        json!({
            "type": self.instance.instance_type,
            "user_data": user_data,
            "root_volume": self.instance.root_volume,
            "profile": self.instance.instance_profile,
            "user": self.connection.user,
            "groups": self.groups,
            "test": self.test,
        })
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c)
}
