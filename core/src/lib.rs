//! Vocabulary, traits, pipeline engine and rollout of towpath, the deployment pipeline as a library.
//!
//! This crate knows no provider and opens no socket. Use it to write a provider; to use the providers, depend on
//! `towpath`, which re-exports everything here.

mod artifact;
#[cfg(unix)]
mod bake;
mod balancer;
mod become_choice;
mod capability;
mod configurator;
mod connector;
mod context;
mod deployer;
mod environment;
pub mod equivalence;
mod error;
mod event;
mod fault;
mod follow;
mod host;
mod host_tree;
mod image_builder;
mod journal;
mod lease;
mod limit;
mod local_process;
#[cfg(unix)]
pub mod local_tool;
pub mod local_tree;
mod log_sink;
mod memory_store;
mod monitor;
mod per_host;
pub mod pipeline;
mod plan;
pub mod posix;
#[cfg(unix)]
pub mod private_files;
mod provisioner;
mod registry;
mod release;
pub mod rollout;
mod secret;
mod store;
mod time;

#[cfg(feature = "sshd")]
pub mod testkit;

pub use artifact::*;
#[cfg(unix)]
pub use bake::*;
pub use balancer::*;
pub use become_choice::*;
pub use capability::*;
pub use configurator::*;
pub use connector::*;
pub use context::*;
pub use deployer::*;
pub use environment::*;
pub use error::*;
pub use event::*;
pub use fault::*;
pub use follow::*;
pub use host::*;
pub use host_tree::*;
pub use image_builder::*;
pub use journal::*;
pub use lease::{Waiter, waiting};
pub use local_process::*;
pub use log_sink::*;
pub use memory_store::*;
pub use monitor::*;
pub use per_host::*;
pub use plan::*;
pub use provisioner::*;
pub use registry::*;
pub use release::*;
pub use secret::*;
pub use store::*;
pub use time::*;

/// JSON objects, as configs, outputs and journal payloads carry them.
pub type Json = serde_json::Value;
