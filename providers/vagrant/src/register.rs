use std::sync::Arc;

use towpath_core::Registry;

use crate::boxes::VAGRANT_BOX;
use crate::machines::VAGRANT;
use crate::{Vagrant, VagrantBox, VagrantBoxConfig, VagrantConfig};

/// Adds the image builder `vagrant-box` and the provisioner `vagrant`.
///
/// Relative paths in its config start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry.image_builder(VAGRANT_BOX, |mut config: VagrantBoxConfig, setup| {
        config.dir = setup.base_dir.join(config.dir);
        Ok(Arc::new(VagrantBox::new(config)?))
    });
    registry.provisioner(VAGRANT, |config: VagrantConfig, setup| {
        Ok(Arc::new(Vagrant::new(config.based(&setup.base_dir))?))
    });
}
