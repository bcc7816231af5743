//! Chef runs on real OpenSSH servers, with a recording `chef-solo`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod bad_input;
mod behaviour;
mod packer;
mod runs;
mod staging;
mod support;
