use std::sync::Arc;

use towpath_core::Registry;
use towpath_core::pipeline::OutputKind;

use crate::{
    AwsAutoScaling, AwsAutoScalingConfig, AwsEnvironment, AwsEnvironmentConfig, AwsImageBuilder, AwsImageConfig,
    AwsTargetGroup, AwsTargetGroupConfig, PROVIDER,
};

/// Adds this crate's providers, all called `aws`: the provisioner of EC2 instances, the builder of AMIs, the deployer to Auto Scaling groups, and
/// the balancer of target groups.
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
    registry.deployer(PROVIDER, |config: AwsAutoScalingConfig, _| Ok(Arc::new(AwsAutoScaling::new(config)?)));
    registry.balancer(PROVIDER, |config: AwsTargetGroupConfig, _| Ok(Arc::new(AwsTargetGroup::new(config)?)));
}
