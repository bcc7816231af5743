use std::sync::Arc;

use towpath_core::Registry;

use crate::boxes::VAGRANT_BOX;
use crate::{VagrantBox, VagrantBoxConfig};

/// Adds the image builder `vagrant-box`.
///
/// Relative paths in its config start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry.image_builder(VAGRANT_BOX, |mut config: VagrantBoxConfig, setup| {
        config.dir = setup.base_dir.join(config.dir);
        Ok(Arc::new(VagrantBox::new(config)?))
    });
}
