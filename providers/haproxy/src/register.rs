use std::sync::Arc;

use towpath_core::Registry;

use crate::provider::HAPROXY;
use crate::{HaProxy, HaProxyConfig};

/// Adds the balancer `haproxy`.
///
/// Relative paths of a HAProxy on this machine start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    registry.balancer(HAPROXY, |config: HaProxyConfig, setup| {
        Ok(Arc::new(HaProxy::new(config.based(&setup.base_dir))?.through(Arc::clone(&setup.connector))))
    });
}
