//! Pipelines with the real packer that are killed: runs need a store, and only the facade knows both.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod crash;
mod crash_points;
#[path = "../../packer/tests/it/support.rs"]
#[allow(dead_code, reason = "the builder's own tests use the rest")]
mod support;
