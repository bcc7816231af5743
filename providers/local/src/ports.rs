//! Loopback ports that stay free for a host.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use rand::Rng as _;

/// Ports below Linux' ephemeral range (32768 and up by default), so that no outgoing connection and no `bind(0)` of
/// another program takes one between its choice and its use.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Picks a port on 127.0.0.1 that nobody listens on and that is not in `taken`, and adds it there.
pub(crate) fn pick(taken: &mut BTreeSet<u16>) -> io::Result<u16> {
    let mut rng = rand::rng();
    for _ in 0..2_000 {
        let port = rng.random_range(RANGE);
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port between 20000 and 32000 on 127.0.0.1"))
}
