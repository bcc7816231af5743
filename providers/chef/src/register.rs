use std::sync::Arc;

use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Configurator, Json, Registry};

use crate::{CHEF, Chef, ChefConfig};

/// Registers the configurator `chef`. Relative paths in its config start at the pipeline file's folder.
pub fn register(registry: &mut Registry) {
    registry.configurator(CHEF, |config: ChefConfig, setup| Ok(Arc::new(Chef::new(config, &setup.base_dir)?)));
}

impl From<ChefConfig> for ProviderSpec<dyn Configurator> {
    fn from(config: ChefConfig) -> Self {
        // Paths that are no UTF-8 have no form in JSON; the check of the pipeline then refuses the config.
        ProviderSpec::new(CHEF, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
