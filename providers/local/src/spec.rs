//! Configs as pipelines name them.

use serde::Serialize;
use towpath_core::pipeline::{ProviderKind, ProviderSpec};
use towpath_core::{Balancer, Connector, ImageBuilder, Json, LogSink, Monitor, Provisioner};

use crate::connector::CONNECTOR;
use crate::image_builder::LOCAL_ARCHIVE;
use crate::log_sink::JSONL;
use crate::monitor::MONITOR;
use crate::provisioner::LOCAL;
use crate::{
    LocalArchiveConfig, LocalBalancerConfig, LocalConfig, LocalConnectorConfig, LocalLogSinkConfig, LocalMonitorConfig,
};

fn spec<K: ProviderKind + ?Sized>(name: &str, config: &impl Serialize) -> ProviderSpec<K> {
    // These configs hold strings, numbers and maps with string keys only, which JSON always has a form for.
    ProviderSpec::new(name, serde_json::to_value(config).unwrap_or(Json::Null))
}

impl From<LocalConfig> for ProviderSpec<dyn Provisioner> {
    fn from(config: LocalConfig) -> Self {
        spec(LOCAL, &config)
    }
}

impl From<LocalBalancerConfig> for ProviderSpec<dyn Balancer> {
    fn from(config: LocalBalancerConfig) -> Self {
        spec(LOCAL, &config)
    }
}

impl From<LocalArchiveConfig> for ProviderSpec<dyn ImageBuilder> {
    fn from(config: LocalArchiveConfig) -> Self {
        spec(LOCAL_ARCHIVE, &config)
    }
}

impl From<LocalMonitorConfig> for ProviderSpec<dyn Monitor> {
    fn from(config: LocalMonitorConfig) -> Self {
        spec(MONITOR, &config)
    }
}

impl From<LocalLogSinkConfig> for ProviderSpec<dyn LogSink> {
    fn from(config: LocalLogSinkConfig) -> Self {
        spec(JSONL, &config)
    }
}

impl From<LocalConnectorConfig> for ProviderSpec<dyn Connector> {
    fn from(config: LocalConnectorConfig) -> Self {
        spec(CONNECTOR, &config)
    }
}
