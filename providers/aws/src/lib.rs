#![doc = include_str!("../README.md")]

mod ami;
mod client;
mod environment;
mod errors;
mod image;
mod instance;
mod launch_template;
mod register;
mod scaling;
mod tags;
mod target_group;
mod user_data;
mod wait;

pub use client::{ClientConfig, CredentialsConfig};
pub use environment::{Address, AwsEnvironment, AwsEnvironmentConfig, HostGroup};
pub use image::{AwsImageBuilder, AwsImageConfig, Swept, TestCommand};
pub use instance::{InstanceConfig, RootVolume, Spot};
pub use launch_template::{AwsLaunchTemplates, LaunchTemplateConfig, LaunchTemplateVersion};
pub use register::register;
pub use scaling::{
    AwsAutoScaling, AwsAutoScalingConfig, Protected, RefreshConfig, Replacement, RollingConfig, ScalingProcess, Standby,
};
pub use target_group::{AwsTargetGroup, AwsTargetGroupConfig};
pub use user_data::UserData;
pub use wait::Patience;

/// The name of all providers of this crate.
pub(crate) const PROVIDER: &str = "aws";
