use std::sync::Arc;

use towpath_core::Registry;

use crate::provisioner::LOCAL;
use crate::{Local, LocalBalancer, LocalBalancerConfig, LocalConfig};

/// Adds this crate's providers: provisioner and balancer `local`.
pub fn register(registry: &mut Registry) {
    registry.provisioner(LOCAL, |config: LocalConfig, _| Ok(Arc::new(Local::new(config)?)));
    registry.balancer(LOCAL, |config: LocalBalancerConfig, _| Ok(Arc::new(LocalBalancer::new(config)?)));
}
