//! The real packer: its own builders, containers, OpenSSH servers, and an AWS that answers on this machine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod aws;
mod bad_input;
mod behaviour;
mod build;
mod docker;
mod hosts;
mod leftovers;
mod newer;
mod options;
mod secrets;
mod stop;
mod support;
