use std::sync::Arc;

use towpath_core::Registry;
use towpath_core::pipeline::OutputKind;

use crate::{AwsEnvironment, AwsEnvironmentConfig, AwsImageBuilder, AwsImageConfig, PROVIDER};

/// Adds this crate's providers, both called `aws`: the provisioner of EC2 instances and the builder of AMIs.
///
/// Relative paths in their configs start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry
        .provisioner(PROVIDER, |config: AwsEnvironmentConfig, setup| {
            Ok(Arc::new(AwsEnvironment::new(config.based(&setup.base_dir))?))
        })
        .output("instances", OutputKind::Json);
    registry.image_builder(PROVIDER, |config: AwsImageConfig, setup| {
        Ok(Arc::new(AwsImageBuilder::new(config.based(&setup.base_dir))?))
    });
}
