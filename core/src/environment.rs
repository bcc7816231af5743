use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Inventory, Json};

/// What a provisioner made: hosts, outputs and the resources behind them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its name: `production`, `dev`, `default`.
    pub name: String,
    /// Its hosts.
    pub inventory: Inventory,
    /// Typed outputs by name. A sensitive one is not here but named in `sensitive`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Json>,
    /// Names of outputs whose values are secret and were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// Resources that `destroy` would remove, by the provider's own addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
}

/// Something that exists because a provisioner made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// Its address in the provider's own terms: `aws_instance.web[0]`, `host web-1`.
    pub address: String,
    /// Its id in the world: `i-0abc`, a pid.
    pub id: String,
    /// More facts.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub detail: Json,
}
