use std::sync::Arc;

use towpath_core::Registry;

use crate::provider::TERRAFORM;
use crate::{Terraform, TerraformConfig};

/// Adds the provisioner `terraform`. Relative paths in its config start at the folder of the pipeline file.
///
/// Only the user knows the outputs of a module, so a step declares those that other steps refer to.
pub fn register(registry: &mut Registry) {
    registry.provisioner(TERRAFORM, |mut config: TerraformConfig, setup| {
        config.module = setup.base_dir.join(&config.module);
        // A bare name is looked for on PATH.
        if let Some(program) = config.program.as_mut().filter(|p| p.components().count() > 1) {
            *program = setup.base_dir.join(&program);
        }
        for file in config.var_files.iter_mut().chain(&mut config.backend_files) {
            *file = setup.base_dir.join(&file);
        }
        Ok(Arc::new(Terraform::new(config)?))
    });
}
