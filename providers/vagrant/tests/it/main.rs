//! Boxes and machines against the real vagrant, Docker Engine, OpenSSH and QEMU.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod behaviour;
mod boot;
mod catalogue;
mod crash;
mod disk;
mod machines;
mod register;
mod support;
