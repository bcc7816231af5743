//! Reads what HAProxy answers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use towpath_core::{Backend, BackendMode, BackendState};

use crate::command::FIRST_ID;

/// An answer, with its severity where HAProxy gave one. Source: HAProxy management guide, "set severity-output".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) severity: Option<u8>,
    pub(crate) text: String,
}

impl Reply {
    /// `[3]: No such server.`
    pub(crate) fn read(text: &str) -> Self {
        let text = text.trim_matches('\n');
        let marked = text.strip_prefix('[').and_then(|t| t.split_once("]: "));
        match marked.and_then(|(n, rest)| Some((n.parse().ok().filter(|n| *n <= 7)?, rest))) {
            Some((severity, rest)) => Self { severity: Some(severity), text: rest.to_owned() },
            None => Self { severity: None, text: text.to_owned() },
        }
    }

    /// Whether it is an error: syslog's `err` and worse. A changed address is a `warning`.
    pub(crate) fn is_error(&self) -> bool {
        self.severity.is_some_and(|s| s <= 3)
    }
}

/// A server, as `show servers state` lists it. Source: HAProxy management guide, "show servers state".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) id: u32,
    /// `-` if HAProxy has none yet.
    pub(crate) address: String,
    pub(crate) port: u16,
    /// 0 stopped, 1 starting (takes requests already), 2 running, 3 stopping.
    op_state: u32,
    admin: u32,
    pub(crate) weight: u32,
    /// Weight that its configuration gave it.
    pub(crate) first_weight: u32,
    checks: u32,
    forced_id: bool,
}

const FORCED_MAINT: u32 = 0x01;
/// Forced, inherited, for want of an address, for want of a host name.
const MAINT: u32 = FORCED_MAINT | 0x02 | 0x20 | 0x40;
/// Forced, inherited.
const DRAIN: u32 = 0x08 | 0x10;
const CHECK_CONFIGURED: u32 = 0x02;
const CHECK_ENABLED: u32 = 0x04;

impl Server {
    /// In maintenance it gets nothing, not even the requests of clients that stick to it.
    pub(crate) fn is_out(&self) -> bool {
        self.admin & MAINT != 0
    }

    pub(crate) fn drains(&self) -> bool {
        !self.is_out() && (self.admin & DRAIN != 0 || self.weight == 0)
    }

    /// Whether HAProxy sends requests to it.
    pub(crate) fn serves(&self) -> bool {
        self.admin & (MAINT | DRAIN) == 0 && self.is_up() && self.weight > 0
    }

    /// Whether nobody wants it out of service.
    pub(crate) fn is_wanted(&self) -> bool {
        self.admin & (MAINT | DRAIN) == 0
    }

    /// Whether checks, if there are any, have found it well.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.op_state, 1 | 2)
    }

    pub(crate) fn has_check(&self) -> bool {
        self.checks & CHECK_CONFIGURED != 0
    }

    pub(crate) fn is_checked(&self) -> bool {
        self.has_check() && self.checks & CHECK_ENABLED != 0
    }

    pub(crate) fn is_at(&self, address: IpAddr, port: u16) -> bool {
        self.port == port && self.address.parse() == Ok(address)
    }

    /// Whether towpath has added it, so that it may be deleted.
    pub(crate) fn is_ours(&self) -> bool {
        self.forced_id && self.id >= FIRST_ID
    }

    pub(crate) fn state(&self, connections: u64) -> BackendState {
        BackendState {
            backend: Backend { name: self.name.clone(), address: self.address.clone(), port: self.port },
            mode: if self.serves() { BackendMode::Serving } else { BackendMode::Draining },
            connections,
        }
    }
}

/// Reads `show servers state`: a version, a line of column names, a line for each server.
pub(crate) fn servers(text: &str) -> Result<Vec<Server>, String> {
    let mut lines = text.lines().filter(|l| !l.is_empty());
    if lines.next() != Some("1") {
        return Err("its list of servers is not of version 1".to_owned());
    }
    let head = lines.next().and_then(|l| l.strip_prefix("# ")).ok_or("its list of servers has no column names")?;
    let columns: Vec<&str> = head.split(' ').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(' ').collect();
            if cells.len() != columns.len() {
                return Err(format!("its list of servers breaks off: {line:?}"));
            }
            let row: BTreeMap<&str, &str> = columns.iter().copied().zip(cells).collect();
            let text = |key: &str| row.get(key).copied().ok_or(format!("its list of servers has no column {key}"));
            let number = |key: &str| {
                let text = text(key)?;
                text.parse::<u32>().map_err(|_| format!("its list of servers has {text:?} as {key}"))
            };
            Ok(Server {
                name: text("srv_name")?.to_owned(),
                id: number("srv_id")?,
                address: text("srv_addr")?.to_owned(),
                port: u16::try_from(number("srv_port")?).map_err(|_| "its list of servers has no ports".to_owned())?,
                op_state: number("srv_op_state")?,
                admin: number("srv_admin_state")?,
                weight: number("srv_uweight")?,
                first_weight: number("srv_iweight")?,
                checks: number("srv_check_state")?,
                forced_id: number("srv_f_forced_id")? == 1,
            })
        })
        .collect()
}

/// What is in a state file and does not change by itself: two texts with the same of it say the same.
pub(crate) fn lasting(text: &str) -> Vec<Vec<&str>> {
    // Time since the last change, and the columns of checks.
    let keeps = |n: &usize| !(9..=14).contains(n) && *n != 5;
    text.lines()
        .filter(|l| !l.is_empty())
        .map(|l| l.split(' ').enumerate().filter(|(n, _)| keeps(n)).map(|(_, c)| c).collect())
        .collect()
}

/// Reads a table of `show stat`: one row of named cells for each line.
pub(crate) fn table(text: &str) -> Result<Vec<BTreeMap<String, String>>, String> {
    let mut rows = records(text).into_iter();
    let mut head = rows.next().unwrap_or_default();
    match head.first_mut() {
        Some(first) if first.starts_with("# ") => *first = first.split_off(2),
        _ => return Err("its statistics have no column names".to_owned()),
    }
    rows.map(|row| {
        if row.len() != head.len() {
            return Err(format!("its statistics break off after {:?}", row.get(1)));
        }
        Ok(head.iter().cloned().zip(row).collect())
    })
    .collect()
}

/// Lines of cells; a cell with a comma, a quote or a line break stands in quotes.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                if !(row.is_empty() && cell.is_empty()) {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
            }
            other => cell.push(other),
        }
    }
    if !(row.is_empty() && cell.is_empty()) {
        row.push(cell);
        rows.push(row);
    }
    rows
}

/// What it has to do: requests and connections that it works on, and those that wait for it alone.
pub(crate) fn load(row: &BTreeMap<String, String>) -> Result<u64, String> {
    let number = |key: &str| {
        let text = row.get(key).ok_or(format!("its statistics have no column {key}"))?;
        text.parse::<u64>().map_err(|_| format!("its statistics have {text:?} as {key}"))
    };
    Ok(number("scur")? + number("qcur")?)
}

/// The values of `key: value` lines, as `show info` has them.
pub(crate) fn info<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    // HAProxy 2.6.12.
    const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
        srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
        bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
        srv_agent_port\n\
        3 web 1 s1 127.0.0.1 0 0 1 1 1 8 2 0 6 0 0 0 - 18101 - 0 0 - - 0\n\
        3 web 2 s2 127.0.0.1 2 8 1 1 1 1 0 2 0 0 0 0 - 18102 - 0 0 - - 0\n\
        3 web 1000000005 h ::1 2 0 1 1 0 6 3 5 6 0 0 1 - 18303 - 0 0 - - 0\n\
        3 web 4 t1 0.0.0.0 0 5 1 1 1 1 0 0 8 0 0 0 - 80 - 0 0 - - 0\n\
        3 web 5 z 10.0.0.1 2 4 0 1 1 1 0 0 0 0 0 0 - 80 - 0 0 - - 0\n\n";

    #[test]
    fn servers_are_read() {
        let all = servers(STATE).unwrap();
        let find = |name: &str| all.iter().find(|s| s.name == name).unwrap();
        let (down, drained, ours, slot, weightless) = (find("s1"), find("s2"), find("h"), find("t1"), find("z"));
        assert!(down.is_wanted() && !down.serves() && down.is_checked() && !down.is_ours());
        assert!(drained.drains() && !drained.serves() && !drained.has_check());
        assert!(ours.serves() && ours.is_ours() && ours.is_at("::1".parse().unwrap(), 18303));
        assert!(slot.is_out());
        assert!(weightless.drains() && !weightless.is_out(), "in maintenance by its configuration only, which is over");
        assert_eq!(drained.state(3).mode, BackendMode::Draining);
    }

    #[test]
    fn half_an_answer_is_no_answer() {
        let cut = &STATE[..STATE.len() - 40];
        for bad in [cut, "", "2\n# a\n", "1\n"] {
            assert!(servers(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a,b\n", "# a,b\n1\n"] {
            assert!(table(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_lasting_state_counts() {
        let later = STATE.replace("1 1 1 8 2 0 6", "1 1 9 6 3 5 6");
        assert_ne!(later, STATE);
        assert_eq!(lasting(&later), lasting(STATE));
        assert_ne!(lasting(&STATE.replace("2 8 1 1", "2 0 1 1")), lasting(STATE));
    }

    #[test]
    fn tables_may_have_quotes() {
        let rows = table("# a,b,\n\"x,\"\"y\"\"\nz\",2,\n\n").unwrap();
        assert_eq!(rows[0]["a"], "x,\"y\"\nz");
        assert_eq!(rows[0]["b"], "2");
    }

    #[test]
    fn severity_says_what_is_an_error() {
        assert!(Reply::read("\n[3]: No such server.\n\n").is_error());
        assert!(!Reply::read("\n[4]: no need to change the addr\n\n").is_error());
        assert!(!Reply::read("\n[6]: New server registered.\n").is_error());
        assert_eq!(Reply::read("\n\n"), Reply { severity: None, text: String::new() });
        assert_eq!(Reply::read("\n[::1]: x\n").text, "[::1]: x");
    }
}
