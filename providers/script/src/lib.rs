#![doc = include_str!("../README.md")]

mod check;
mod config;
mod host;
mod load;
mod plan;
mod provider;
mod register;
mod run;
mod upload;

pub use config::*;
pub use provider::Script;
pub use register::register;

/// The provider's name in pipelines.
pub const SCRIPT: &str = "script";
