//! Behaviour suites of the traits and the real counterparts of tests. Not covered by semver.
//!
//! A provider's test names each behaviour once, so that a failure has a name; `core/tests/broken` runs every behaviour
//! against an implementation broken on purpose, where it must fail (those of connectors: `towpath-local`, since a connector
//! in memory would prove little).
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

#[cfg(feature = "testkit")]
pub mod balancer;
#[cfg(feature = "testkit")]
pub mod configurator;
#[cfg(feature = "testkit")]
pub mod connector;
#[cfg(feature = "testkit")]
pub mod deployer;
mod docker;
mod http_server;
#[cfg(feature = "testkit")]
pub mod image_builder;
#[cfg(feature = "testkit")]
pub mod log_sink;
#[cfg(feature = "testkit")]
pub mod monitor;
mod moto;
mod openssh;
#[cfg(feature = "testkit")]
pub mod provisioner;
#[cfg(feature = "testkit")]
mod rebind;
#[cfg(feature = "testkit")]
pub mod reference;
mod sshd;
#[cfg(feature = "testkit")]
pub mod store;
#[cfg(feature = "testkit")]
mod suite;
#[cfg(feature = "testkit")]
mod trial;

pub use docker::build_image;
pub use http_server::*;
pub use moto::*;
pub use openssh::*;
#[cfg(feature = "testkit")]
pub use rebind::rebind;
pub use sshd::*;
#[cfg(feature = "testkit")]
pub use suite::{Act, Behaviour, Keep};
#[cfg(feature = "testkit")]
pub use trial::trial;
