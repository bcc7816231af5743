//! One connection and one long-lived shell per host and user.
//!
//! `preamble` is what runs on the host, `frame` is how scripts and answers look on the wire, `shell` sends and reads them.
//! `local` is a connection to this machine.

mod frame;
mod local;
mod look;
mod preamble;
mod shell;

pub(crate) use frame::{Output, Script};
pub(crate) use local::LocalConnection;
pub(crate) use look::line as look;
pub(crate) use shell::{Shell, Ticket};
