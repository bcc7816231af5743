//! Against the real HAProxy of Debian (`apt-get install haproxy`), one process for each test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod bad_input;
mod behaviour;
mod broken;
mod load;
mod process;
mod reload;
mod servers;
mod web;
