//! Behaviour suites of the traits and the real counterparts of tests. Not covered by semver.
//!
//! A provider's test names each behaviour once, so that a failure has a name; `core/tests/broken.rs` runs every behaviour
//! against an implementation broken on purpose, where it must fail.
//!
//! ```ignore
//! use towpath_core::testkit::provisioner::ProvisionerFixture;
//!
//! /// `None` after `NOT RUN: <what is missing, how to install it>` was said.
//! async fn fixture() -> Option<ProvisionerFixture> { /* a provider, an empty world, how to disturb it */ }
//!
//! mod behaviour {
//!     towpath_core::provisioner_behaviour!(super::fixture); // one #[tokio::test] per behaviour
//! }
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test support: a panic is the report"
)]

pub mod balancer;
pub mod configurator;
pub mod connector;
pub mod deployer;
pub mod image_builder;
pub mod log_sink;
pub mod monitor;
pub mod provisioner;
pub mod reference;
mod sshd;
pub mod store;
mod suite;

pub use sshd::*;
pub use suite::{Act, Behaviour, Keep};
