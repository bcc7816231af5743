use std::sync::Arc;

use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Configurator, Json, Registry};

use crate::{SCRIPT, Script, ScriptConfig};

/// Registers the configurator `script`. Relative paths in its config start at the pipeline file's folder.
pub fn register(registry: &mut Registry) {
    registry.configurator(SCRIPT, |config: ScriptConfig, setup| Ok(Arc::new(Script::new(config, &setup.base_dir)?)));
}

impl From<ScriptConfig> for ProviderSpec<dyn Configurator> {
    fn from(config: ScriptConfig) -> Self {
        // Paths that are no UTF-8 have no form in JSON; the check of the pipeline then refuses the config.
        ProviderSpec::new(SCRIPT, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
