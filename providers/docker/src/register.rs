use std::sync::Arc;

use towpath_core::Registry;
use towpath_core::pipeline::OutputKind;

use crate::{
    DockerConnector, DockerConnectorConfig, DockerDeploy, DockerDeployConfig, DockerEnvironment,
    DockerEnvironmentConfig, DockerImageBuilder, DockerImageConfig, PROVIDER,
};

/// Adds this crate's providers, all called `docker`: the connector, the image builder, the deployer and the provisioner of
/// development environments.
///
/// Relative paths in their configs start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry.connector(PROVIDER, |config: DockerConnectorConfig, _| Ok(Arc::new(DockerConnector::new(config))));
    registry.image_builder(PROVIDER, |config: DockerImageConfig, setup| {
        Ok(Arc::new(DockerImageBuilder::new(config.based(&setup.base_dir))?))
    });
    registry.deployer(PROVIDER, |config: DockerDeployConfig, _| Ok(Arc::new(DockerDeploy::new(config)?)));
    registry
        .provisioner(PROVIDER, |config: DockerEnvironmentConfig, setup| {
            Ok(Arc::new(DockerEnvironment::in_folder(config.based(&setup.base_dir), Some(&setup.base_dir))?))
        })
        .output("ports", OutputKind::Json);
}
