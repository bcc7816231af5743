//! Says whether artifacts that were made in different ways are the same system.
//!
//! Each is reduced to its [`Contents`]: packages, files, users, units. [`Equivalence`] compares two of them, under a list of differences that are
//! allowed, each with its reason. Nothing in it depends on time or order, so that the same artifacts give the same report, byte
//! for byte.

mod allow;
mod archive;
mod compare;
mod contents;
mod facts;
mod gather;
mod sbom;

pub use allow::{AllowRule, usual_differences};
pub use compare::{Difference, Equivalence, EquivalenceReport, Tolerated};
pub use contents::*;
