//! Against the real `terraform`, with the resource that is built into it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod apart;
mod aws_provider;
mod behaviour;
mod docker_provider;
mod download;
mod failures;
mod hosts;
mod interrupted;
mod module;
mod sensitive;
