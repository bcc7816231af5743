#![doc = include_str!("../README.md")]

mod config;
mod files;
mod host;
mod launch;
mod ports;
mod process;
mod provisioner;
mod spawn_hooks;
mod state;

pub use config::*;
pub use launch::*;
pub use provisioner::*;
