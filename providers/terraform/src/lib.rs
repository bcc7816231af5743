#![doc = include_str!("../README.md")]

mod apply;
mod command;
mod config;
mod diagnostic;
mod download;
mod hosts;
mod init;
mod provider;
mod register;
mod run;
mod run_folder;
mod show;
mod state;
mod stream;
mod tool;

pub use config::*;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use download::Download;
pub use provider::Terraform;
pub use register::register;
