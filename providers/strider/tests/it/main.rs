//! Against a server that plays Strider 2.4.20, which is no longer published: `tests/sim`, with the real socket.io 2 library, and with a real
//! shell for the phases of jobs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod behaviour;
mod cancel;
mod crash;
mod faults;
mod live;
mod refused;
mod rollout;
mod secrets;
mod set_up;
#[path = "simulator.rs"]
mod simulator;
mod support;
mod tls;
mod webhook;
