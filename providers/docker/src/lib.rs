#![doc = include_str!("../README.md")]

mod connector;
mod deployer;
mod dialled;
mod engine;
mod environment;
mod errors;
mod image;
mod reference;
mod register;

pub use connector::{DockerConnector, DockerConnectorConfig};
pub use deployer::{
    Beside, DockerDeploy, DockerDeployConfig, OnSwitch, Ready, RegistryLogin, ServiceContainer, Switch, SwitchFile,
};
pub use environment::{
    ContainerSpec, DependsOn, DockerEnvironment, DockerEnvironmentConfig, Healthcheck, MountKind, MountSpec,
    NetworkSpec, Restart, VolumeSpec,
};
pub use image::{DockerImageBuilder, DockerImageConfig, DockerfileConfig, Pull, Swept};
pub use register::register;

/// The name of all providers of this crate, and the `kind` of its connections.
pub(crate) const PROVIDER: &str = "docker";

/// Random letters for names and marks that nobody else has.
pub(crate) fn random_name() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}
