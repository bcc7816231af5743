//! AMIs from instances that are entered over SSH: no provider crate may know both AWS and SSH. The instances are a container, the EC2 is moto.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod bake;
mod crash;
mod support;
