use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Balancer, Error, ErrorKind, Json, Result};

use crate::{ClientConfig, PROVIDER, Patience};

/// Settings of the balancer `aws`: a target group of an Application or Network Load Balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsTargetGroupConfig {
    /// How AWS is reached.
    #[serde(default)]
    pub client: ClientConfig,

    /// The target group: its name or its ARN.
    pub target_group: String,

    /// Which target a host is: `web-1: i-0abc`, or its address in a group of addresses. A host that is not named here is the instance whose tag
    /// `towpath:host` or `Name` is its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,

    /// How often AWS is asked, and how long a target may take until the load balancer's checks call it healthy: 300 s by default.
    #[serde(default)]
    pub wait: Patience,
}

impl AwsTargetGroupConfig {
    /// The target group of this name or ARN.
    pub fn new(target_group: impl Into<String>) -> Self {
        Self {
            client: ClientConfig::default(),
            target_group: target_group.into(),
            targets: BTreeMap::new(),
            wait: Patience::default(),
        }
    }

    /// This client.
    #[must_use]
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.client = client;
        self
    }

    /// This host is this target.
    #[must_use]
    pub fn target(mut self, host: impl Into<String>, id: impl Into<String>) -> Self {
        self.targets.insert(host.into(), id.into());
        self
    }

    pub(super) fn is_arn(&self) -> bool {
        self.target_group.starts_with("arn:")
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { timeout_s: Some(self.wait.timeout_s.unwrap_or(300)), ..self.wait }
    }

    /// Source: "CreateTargetGroup" in the API reference of Elastic Load Balancing, version 2.
    pub(super) fn check(&self) -> Result<()> {
        self.client.check()?;
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        let name = &self.target_group;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.is_arn() {
            if !name.contains(":targetgroup/") {
                return invalid(format!("`target_group` is not the ARN of a target group: {name:?}"));
            }
        } else if name.is_empty() || name.len() > 32 || !name.chars().all(good) {
            return invalid(format!("`target_group` has 1 to 32 letters, digits and hyphens, or is an ARN: {name:?}"));
        }
        let mut ids: Vec<&String> = self.targets.values().collect();
        ids.sort_unstable();
        if let Some([twice, _]) = ids.windows(2).find(|w| matches!(w, [a, b] if a == b)) {
            return invalid(format!("`targets` names {twice} twice"));
        }
        for (host, id) in &self.targets {
            if !id.starts_with("i-") && id.parse::<std::net::IpAddr>().is_err() {
                return invalid(format!("`targets.{host}` is neither the id of an instance nor an address: {id:?}"));
            }
        }
        Ok(())
    }
}

impl From<AwsTargetGroupConfig> for ProviderSpec<dyn Balancer> {
    fn from(config: AwsTargetGroupConfig) -> Self {
        Self::new(PROVIDER, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
