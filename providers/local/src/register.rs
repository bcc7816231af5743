use std::path::PathBuf;
use std::sync::Arc;

use towpath_core::pipeline::OutputKind;
use towpath_core::{Registry, Setup};

use crate::connector::CONNECTOR;
use crate::image_builder::LOCAL_ARCHIVE;
use crate::log_sink::JSONL;
use crate::monitor::MONITOR;
use crate::provisioner::LOCAL;
use crate::{
    Local, LocalArchive, LocalArchiveConfig, LocalBalancer, LocalBalancerConfig, LocalConfig, LocalConnector,
    LocalConnectorConfig, LocalLogSink, LocalLogSinkConfig, LocalMonitor, LocalMonitorConfig,
};

/// Adds this crate's providers: provisioner, balancer, monitor and connector `local`, the image builder
/// `local-archive` and the log sink `jsonl`.
///
/// Relative paths in their configs start at the folder of the pipeline file.
pub fn register(registry: &mut Registry) {
    let based = |dir: Option<PathBuf>, setup: &Setup| dir.map(|d| setup.base_dir.join(d));
    registry
        .provisioner(LOCAL, move |mut config: LocalConfig, setup| {
            config.state_dir = based(config.state_dir, setup);
            Ok(Arc::new(Local::new(config)?))
        })
        .output("mode", OutputKind::String)
        .output("state_dir", OutputKind::String)
        // Only where the config has a balancer.
        .output("balancer", OutputKind::String);
    registry.balancer(LOCAL, move |mut config: LocalBalancerConfig, setup| {
        config.state_dir = based(config.state_dir, setup);
        Ok(Arc::new(LocalBalancer::new(config)?))
    });
    registry.image_builder(LOCAL_ARCHIVE, |mut config: LocalArchiveConfig, setup| {
        config.dir = setup.base_dir.join(config.dir);
        Ok(Arc::new(LocalArchive::new(config)?))
    });
    registry.monitor(MONITOR, |config: LocalMonitorConfig, _| Ok(Arc::new(LocalMonitor::new(config))));
    registry.log_sink(JSONL, |mut config: LocalLogSinkConfig, setup| {
        config.path = setup.base_dir.join(config.path);
        Ok(Arc::new(LocalLogSink::new(config)?))
    });
    registry.connector(CONNECTOR, |_: LocalConnectorConfig, _| Ok(Arc::new(LocalConnector)));
}
