#![doc = include_str!("../README.md")]

mod command;
mod config;
mod output;
mod provider;
mod register;
mod session;
mod socket;
mod state_file;

pub use config::*;
pub use provider::HaProxy;
pub use register::register;
