//! The command `towpath`, as a real process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs)]

mod bad_input;
mod place;
mod rollouts;
mod runs;
mod schemas;
mod stores;
mod terraform;
mod together;
mod watching;
