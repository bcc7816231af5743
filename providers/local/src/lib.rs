#![doc = include_str!("../README.md")]

mod balancer;
mod config;
mod connector;
mod files;
mod host;
mod image_builder;
mod launch;
mod log_sink;
mod monitor;
mod ports;
mod process;
mod provisioner;
mod register;
mod spawn_hooks;
mod spec;
mod state;

pub use balancer::{BalancerStats, LocalBalancer};
pub use config::*;
pub use connector::{LocalConnector, LocalConnectorConfig};
pub use image_builder::{LocalArchive, LocalArchiveConfig};
pub use launch::*;
pub use log_sink::{LocalLogSink, LocalLogSinkConfig};
pub use monitor::{LocalMonitor, LocalMonitorConfig};
pub use provisioner::*;
pub use register::register;
