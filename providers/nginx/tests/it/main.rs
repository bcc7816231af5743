//! Against the real nginx of Debian (`apt-get install nginx-light`), one for each test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod bad_input;
mod behaviour;
mod changes;
mod idle;
mod load;
mod process;
mod web;
