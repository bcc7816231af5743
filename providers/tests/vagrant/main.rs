//! Boxes from throw-away containers: the box builder and the docker provider meet here only.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod boxes;
#[path = "../../vagrant/tests/it/support.rs"]
#[allow(dead_code, reason = "the provider's own tests use the rest")]
mod support;
