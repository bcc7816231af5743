#![doc = include_str!("../README.md")]

mod address;
mod cancel;
mod client;
mod config;
mod engine_io;
mod follow;
mod history;
mod job;
mod listener;
mod net;
mod progress;
mod provider;
mod register;
mod reply;
mod setup;
mod socket_io;
mod start;
mod tag;
mod webhook;

pub use config::*;
pub use listener::*;
pub use provider::Strider;
pub use register::register;
pub use setup::*;
pub use webhook::*;
