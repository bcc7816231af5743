//! The configurator on real OpenSSH servers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod bad_input;
mod behaviour;
mod crash;
mod digest;
mod failures;
mod guards;
mod pipeline;
mod plans;
mod secrets;
mod support;
mod uploads;
