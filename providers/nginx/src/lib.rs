#![doc = include_str!("../README.md")]

mod config;
mod here;
mod output;
mod provider;
mod register;
mod script;
mod session;
mod upstream;

pub use config::*;
pub use provider::Nginx;
pub use register::register;
