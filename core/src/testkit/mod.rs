//! Behaviour suites of the traits and the real counterparts of tests. Not covered by semver.
//!
//! A provider's test names each behaviour once, so that a failure has a name; `core/tests/broken.rs` runs every behaviour
//! against an implementation broken on purpose, where it must fail.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test support: a panic is the report"
)]

mod sshd;

pub use sshd::*;
