#![doc = include_str!("../README.md")]

mod balancer;
mod config;
mod files;
mod host;
mod launch;
mod ports;
mod process;
mod provisioner;
mod register;
mod spawn_hooks;
mod spec;
mod state;

pub use balancer::{BalancerStats, LocalBalancer};
pub use config::*;
pub use launch::*;
pub use provisioner::*;
pub use register::register;
