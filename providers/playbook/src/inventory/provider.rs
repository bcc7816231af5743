use std::path::{Path, PathBuf};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{
    Applied, Capabilities, Change, Context, Destroyed, Environment, Json, Plan, Preflight, Probed, Provisioner, Result,
    Vars,
};

use super::load_inventory;

/// Name of the provisioner in errors and registries.
pub(crate) const INVENTORY: &str = "inventory";

/// Settings of the provisioner `inventory`: hosts that exist already, from an Ansible inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InventoryConfig {
    /// The inventory, as [`load_inventory`] reads it. Relative paths start at the pipeline file's folder.
    pub file: PathBuf,
    /// Variables of all hosts where the inventory does not say otherwise.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, Json>")]
    pub defaults: Vars,
}

impl InventoryConfig {
    /// The hosts of this file.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), defaults: Vars::new() }
    }

    /// Gives all hosts a variable, where the inventory does not.
    #[must_use]
    pub fn default(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.defaults.insert(name.into(), value.into());
        self
    }
}

impl From<InventoryConfig> for ProviderSpec<dyn Provisioner> {
    fn from(config: InventoryConfig) -> Self {
        // A path that is no UTF-8 has no form in JSON; the check of the pipeline then refuses the config.
        ProviderSpec::new(INVENTORY, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}

/// Gives the hosts of an Ansible inventory. It makes and removes nothing, and connects nowhere.
#[derive(Debug, Clone)]
pub struct AnsibleInventory {
    config: InventoryConfig,
}

impl AnsibleInventory {
    /// Hosts of this config's file; relative paths start at `base_dir`. The file is read when it is needed.
    pub fn new(mut config: InventoryConfig, base_dir: &Path) -> Self {
        config.file = base_dir.join(config.file);
        Self { config }
    }

    fn environment(&self, cx: &Context) -> Result<Environment> {
        let mut inventory = load_inventory(&self.config.file)?;
        for (name, value) in &self.config.defaults {
            inventory.vars.entry(name).or_insert_with(|| value.clone());
        }
        Ok(Environment { name: cx.environment().to_owned(), inventory, ..Environment::default() })
    }
}

#[async_trait]
impl Provisioner for AnsibleInventory {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let hosts = self.environment(cx)?.inventory.hosts.len();
        Ok(Preflight { ok: vec![format!("{}: {hosts} hosts", self.config.file.display())], warnings: Vec::new() })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let hosts = self.environment(cx)?.inventory.hosts;
        let changes = hosts.iter().map(|h| Change::will_not(&h.name, format!("host {}", h.name))).collect();
        Ok(Plan { changes, ..Plan::default() })
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        cx.check(INVENTORY, "apply")?;
        Ok(Applied { environment: self.environment(cx)?, changed: 0 })
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        Ok(Probed { environment: Some(self.environment(cx)?), drift: Plan::default() })
    }

    async fn destroy(&self, _cx: &Context) -> Result<Destroyed> {
        Ok(Destroyed { changed: 0 })
    }
}
