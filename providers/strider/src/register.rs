use std::sync::Arc;

use towpath_core::Registry;

use crate::provider::STRIDER;
use crate::{Strider, StriderConfig};

/// Adds the deployer `strider`. A relative path in its config starts at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry.deployer(STRIDER, |mut config: StriderConfig, setup| {
        config.ca_file = config.ca_file.map(|file| setup.base_dir.join(file));
        Ok(Arc::new(Strider::new(config)?))
    });
}
