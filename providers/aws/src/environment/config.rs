use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{ConnectionSpec, Error, ErrorKind, Json, Provisioner, Result, Vars};

use crate::ami::AmiName;
use crate::{ClientConfig, InstanceConfig, PROVIDER, Patience, tags};

/// Settings of the provisioner `aws`: EC2 instances as hosts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsEnvironmentConfig {
    /// How AWS is reached.
    #[serde(default)]
    pub client: ClientConfig,

    /// Tells environments of the same name in one account apart: the tag `towpath:owner`. `towpath` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,

    /// Hosts by group. The hosts of the group `web` are called `web-1`, `web-2`, ...
    pub groups: BTreeMap<String, HostGroup>,

    /// Tags of all instances and volumes. A change of tags is made in place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,

    /// How long is waited for an instance.
    #[serde(default)]
    pub wait: Patience,
}

/// Hosts that are made alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostGroup {
    /// The AMI: `ami-0abc`; `ssm:/PARAMETER`; or `OWNER/NAME-*` for the newest one of this name, OWNER being an account of 12 digits,
    /// `self`, `amazon` or `aws-marketplace`.
    pub ami: String,

    /// How many there are. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: u32,

    /// What the instances are.
    #[serde(default)]
    pub instance: InstanceConfig,

    /// Replaces an instance when its AMI's name means another AMI than it did when the instance was made. Without it only a change of
    /// the name counts.
    #[serde(default)]
    pub follow_ami: bool,

    /// By which address a host is reached.
    #[serde(default)]
    pub address: Address,

    /// How hosts are reached: user, options of the connector. An `address` here goes before the instance's own; like text in
    /// `options` it may hold `{{ instance_id }}`, `{{ private_ip }}`, `{{ public_ip }}` and `{{ region }}`.
    #[serde(default)]
    pub connection: ConnectionSpec,

    /// Also waits until AWS's status checks are well.
    #[serde(default)]
    pub wait_for_status: bool,

    /// More tags of its instances and volumes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,

    /// Labels of the hosts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Variables of the hosts.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub vars: Vars,
}

fn one() -> u32 {
    1
}

/// By which address a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The public one if it has one, else the private one.
    #[default]
    Auto,
    /// The public one.
    Public,
    /// The private one: through a VPN, or from inside the VPC.
    Private,
}

impl HostGroup {
    /// One host from this AMI.
    pub fn new(ami: impl Into<String>) -> Self {
        Self {
            ami: ami.into(),
            count: 1,
            instance: InstanceConfig::default(),
            follow_ami: false,
            address: Address::default(),
            connection: ConnectionSpec::default(),
            wait_for_status: false,
            tags: BTreeMap::new(),
            labels: BTreeMap::new(),
            vars: Vars::new(),
        }
    }

    /// Sets how many hosts there are.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets what the instances are.
    #[must_use]
    pub fn instance(mut self, instance: InstanceConfig) -> Self {
        self.instance = instance;
        self
    }

    /// Sets how hosts are reached.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionSpec) -> Self {
        self.connection = connection;
        self
    }
}

impl From<AwsEnvironmentConfig> for ProviderSpec<dyn Provisioner> {
    fn from(config: AwsEnvironmentConfig) -> Self {
        // Strings, numbers and paths only; a path that is no text can't be part of a pipeline.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

impl AwsEnvironmentConfig {
    /// Adds a group of hosts.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>, group: HostGroup) -> Self {
        self.groups.insert(name.into(), group);
        self
    }

    /// Sets how AWS is reached.
    #[must_use]
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.client = client;
        self
    }

    pub(crate) fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or("towpath")
    }

    /// Relative paths start there.
    pub(crate) fn based(mut self, dir: &Path) -> Self {
        for group in self.groups.values_mut() {
            group.instance = std::mem::take(&mut group.instance).based(dir);
        }
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        self.client.check()?;
        if self.groups.is_empty() {
            return invalid("`groups` is empty: name at least one group of hosts".into());
        }
        if self.owner().is_empty() || self.owner().chars().count() > 256 {
            return invalid("`owner` must have 1 to 256 characters".into());
        }
        tags::check("tags", &self.tags)?;
        for (name, group) in &self.groups {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || name.len() > 60 || !name.chars().all(good) || name == "all" || name == "ungrouped" {
                return invalid(format!(
                    "`groups` has {name:?}, which is no name of a group: letters, digits, `_` and `-`"
                ));
            }
            if !(1..=1000).contains(&group.count) {
                return invalid(format!("`groups.{name}.count` must be 1 to 1000; leave a group out to have none"));
            }
            if let Err(message) = AmiName::parse(&group.ami) {
                return invalid(format!("`groups.{name}.ami`: {message}"));
            }
            group.instance.check(&format!("groups.{name}.instance"))?;
            tags::check(&format!("groups.{name}.tags"), self.tags.iter().chain(&group.tags))?;
        }
        Ok(())
    }
}
