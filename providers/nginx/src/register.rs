use std::sync::Arc;

use towpath_core::Registry;

use crate::provider::NGINX;
use crate::{Nginx, NginxConfig};

/// Adds the balancer `nginx`.
///
/// Relative paths of an nginx on this machine start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry.balancer(NGINX, |config: NginxConfig, setup| {
        Ok(Arc::new(Nginx::new(config.based(&setup.base_dir))?.through(Arc::clone(&setup.connector))))
    });
}
