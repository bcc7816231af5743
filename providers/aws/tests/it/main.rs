#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]
//! Against moto, and against a simulator for what moto is too lenient about.

mod behaviour;
mod credentials;
mod environment;
mod faults;
mod image;
mod image_faults;
mod launch_template;
mod register;
mod scaling;
mod simulator;
mod support;
mod target_group;
