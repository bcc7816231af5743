use std::sync::Arc;

use towpath_core::Registry;

use crate::provider::PACKER;
use crate::{Packer, PackerConfig};

/// Adds the image builder `packer`.
///
/// Relative paths in its config start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry
        .image_builder(PACKER, |config: PackerConfig, setup| Ok(Arc::new(Packer::new(config.based(&setup.base_dir))?)));
}
