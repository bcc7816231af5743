//! Configs as pipelines name them.

use serde::Serialize;
use towpath_core::pipeline::{ProviderKind, ProviderSpec};
use towpath_core::{Balancer, Json, Provisioner};

use crate::provisioner::LOCAL;
use crate::{LocalBalancerConfig, LocalConfig};

fn spec<K: ProviderKind + ?Sized>(config: &impl Serialize) -> ProviderSpec<K> {
    // These configs hold strings, numbers and maps with string keys only, which JSON always has a form for.
    ProviderSpec::new(LOCAL, serde_json::to_value(config).unwrap_or(Json::Null))
}

impl From<LocalConfig> for ProviderSpec<dyn Provisioner> {
    fn from(config: LocalConfig) -> Self {
        spec(&config)
    }
}

impl From<LocalBalancerConfig> for ProviderSpec<dyn Balancer> {
    fn from(config: LocalBalancerConfig) -> Self {
        spec(&config)
    }
}
