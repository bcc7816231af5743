#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod ahead;
mod ansible;
mod ask;
mod behaviour;
mod inventory;
mod language;
mod modules;
mod roles;
mod shell;
mod support;
