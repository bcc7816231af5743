use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Configurator, Json, Provisioner, Registry, Vars};

use crate::inventory::{AnsibleInventory, INVENTORY, InventoryConfig};
use crate::{PLAYBOOK, Playbook};

/// Settings of the `playbook` configurator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybookConfig {
    /// The playbook. Relative paths start at the pipeline file's folder.
    pub file: PathBuf,

    /// Variables with the highest precedence.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub extra_vars: Vars,

    /// More folders of roles, after `roles` beside the playbook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles_path: Vec<PathBuf>,

    /// Only tasks with one of these tags; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,

    /// No tasks with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_tags: Vec<String>,

    /// How many hosts are worked on at the same time. `50` by default.
    #[serde(default = "default_forks")]
    #[schemars(range(min = 1, max = 1000))]
    pub forks: usize,
}

fn default_forks() -> usize {
    50
}

impl PlaybookConfig {
    /// A playbook, everything else by default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            extra_vars: Vars::new(),
            roles_path: Vec::new(),
            tags: Vec::new(),
            skip_tags: Vec::new(),
            forks: default_forks(),
        }
    }

    /// Sets a variable, above all others.
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.extra_vars.insert(name.into(), value.into());
        self
    }

    /// Adds a folder of roles.
    #[must_use]
    pub fn roles_path(mut self, dir: impl Into<PathBuf>) -> Self {
        self.roles_path.push(dir.into());
        self
    }

    /// Runs tasks with this tag only.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Leaves tasks with this tag out.
    #[must_use]
    pub fn skip_tag(mut self, tag: impl Into<String>) -> Self {
        self.skip_tags.push(tag.into());
        self
    }

    /// Works on this many hosts at the same time.
    #[must_use]
    pub fn forks(mut self, n: usize) -> Self {
        self.forks = n;
        self
    }
}

impl From<PlaybookConfig> for ProviderSpec<dyn Configurator> {
    fn from(config: PlaybookConfig) -> Self {
        // Paths that are no UTF-8 have no form in JSON; the check of the pipeline then refuses the config.
        ProviderSpec::new(PLAYBOOK, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}

/// Registers the configurator `playbook`, and the provisioner `inventory`.
pub fn register(registry: &mut Registry) {
    registry.provider::<dyn Configurator, PlaybookConfig, _>(PLAYBOOK, |config, setup| {
        Ok(std::sync::Arc::new(Playbook::new(config, &setup.base_dir)?))
    });
    registry.provider::<dyn Provisioner, InventoryConfig, _>(INVENTORY, |config, setup| {
        Ok(std::sync::Arc::new(AnsibleInventory::new(config, &setup.base_dir)))
    });
}
