#![doc = include_str!("../README.md")]

mod artifact;
mod build;
mod command;
mod config;
mod definition;
mod diagnostic;
mod docker;
mod files;
mod hcl;
mod inputs;
mod key;
mod message;
mod output;
mod plugins;
mod process;
mod program;
mod provider;
mod record;
mod references;
mod register;
mod run;
mod vars;
mod work;

pub use config::*;
pub use definition::*;
pub use provider::Packer;
pub use register::register;
