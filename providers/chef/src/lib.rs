#![doc = include_str!("../README.md")]

mod check;
mod config;
mod host;
mod load;
mod metadata;
mod provider;
mod register;
mod report;
mod settings;
mod stage;

pub use config::*;
pub use provider::Chef;
pub use register::register;

/// The provider's name in pipelines.
pub const CHEF: &str = "chef";
