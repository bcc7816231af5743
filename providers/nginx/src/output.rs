//! Reads what the scripts print.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A worker of nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    /// Clock ticks after the boot.
    pub(crate) start: u64,
    pub(crate) user: u32,
    /// It takes no connections any more, and ends with its last one.
    pub(crate) ending: bool,
}

/// nginx and the file, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// `None`: it does not run.
    pub(crate) master: Option<u32>,
    /// The beginning of the boot's id.
    pub(crate) boot: String,
    /// Somebody began a change and did not end it.
    pub(crate) pending: bool,
    pub(crate) workers: Vec<Worker>,
    /// The file's content.
    pub(crate) text: String,
}

impl Look {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (head, text) = text.split_once("\ncontent\n")?;
        let value = |key: &str| head.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' '));
        let master = value("master")?;
        Some(Self {
            master: if master.is_empty() { None } else { Some(master.parse().ok()?) },
            boot: value("boot")?.chars().take(8).collect(),
            pending: head.lines().any(|l| l == "pending"),
            workers: workers(head)?,
            text: text.to_owned(),
        })
    }

    /// The start of the youngest worker.
    pub(crate) fn youngest(&self) -> u64 {
        self.workers.iter().map(|w| w.start).max().unwrap_or(0)
    }
}

/// `worker <pid> <start> <user> <ending>`, one on a line, between others.
pub(crate) fn workers(text: &str) -> Option<Vec<Worker>> {
    let lines = text.lines().filter_map(|l| l.strip_prefix("worker "));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let mut number = || words.next()?.parse::<u64>().ok();
            Some(Worker {
                pid: u32::try_from(number()?).ok()?,
                start: number()?,
                user: u32::try_from(number()?).ok()?,
                ending: number()? == 1,
            })
        })
        .collect()
}

/// `name address`, one on a line.
pub(crate) fn addresses(text: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut out: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for (name, address) in text.lines().filter_map(|l| l.split_once(' ')) {
        let all = out.entry(name.to_owned()).or_default();
        if let Ok(address) = address.parse()
            && !all.contains(&address)
        {
            all.push(address);
        }
    }
    out
}

/// A place as the kernel's tables of TCP connections have it: words of the address in the byte order of the machine, then the port.
/// Source: proc(5), "/proc/net/tcp".
pub(crate) fn place(address: IpAddr, port: u16) -> String {
    let octets = match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let words = octets.chunks(4).map(|w| w.iter().rev().map(|b| format!("{b:02X}")).collect::<String>());
    format!("{}:{port:04X}", words.collect::<String>())
}

/// How many connections these users have to each place. A connection that is only being taken down works on nothing.
pub(crate) fn connections(text: &str, users: &[u32]) -> BTreeMap<String, u64> {
    // Established, being established, closed by the other side only.
    const AT_WORK: [&str; 3] = ["01", "02", "08"];
    let mut out = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(2);
        let (remote, state, user) = (words.next(), words.next(), words.nth(3));
        let user = user.and_then(|u| u.parse().ok());
        if let (Some(remote), Some(state), Some(user)) = (remote, state, user)
            && AT_WORK.contains(&state)
            && users.contains(&user)
        {
            *out.entry(remote.to_owned()).or_default() += 1;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_read() {
        let text = "master 21113\nboot 1a2b3c4d-5678\npending\nworker 21115 500 65534 1\nworker 21148 700 65534 0\ncontent\nserver a;\n";
        let look = Look::read(text).unwrap();
        assert_eq!((look.master, look.boot.as_str(), look.pending), (Some(21113), "1a2b3c4d", true));
        assert_eq!(look.workers[0], Worker { pid: 21115, start: 500, user: 65534, ending: true });
        assert_eq!((look.youngest(), look.text.as_str()), (700, "server a;\n"));
        assert_eq!(Look::read("master \nboot x\ncontent\n").unwrap().master, None);
        for bad in ["", "master 1\nboot x\n", "master x\nboot x\ncontent\n", "master 1\nboot x\nworker 1\ncontent\n"] {
            assert_eq!(Look::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn connections_are_counted_by_place_and_user() {
        assert_eq!(place("127.0.0.1".parse().unwrap(), 8001), "0100007F:1F41");
        assert_eq!(place("::1".parse().unwrap(), 80), "00000000000000000000000001000000:0050");
        let text = "\
   1: 0100007F:D431 0100007F:1F41 01 00000000:00000000 00:00000000 00000000 65534        0 111 1 0 20 4 30 10 -1
   2: 0100007F:D432 0100007F:1F41 06 00000000:00000000 00:00000000 00000000 65534        0 112 1 0 20 4 30 10 -1
   3: 0100007F:D433 0100007F:1F41 01 00000000:00000000 00:00000000 00000000  1000        0 113 1 0 20 4 30 10 -1
   4: 0100007F:1F41 0100007F:D431 01 00000000:00000000 00:00000000 00000000 65534        0 114 1 0 20 4 30 10 -1
";
        let counted = connections(text, &[65534]);
        assert_eq!(counted["0100007F:1F41"], 1);
    }

    #[test]
    fn addresses_are_grouped() {
        let found = addresses("a 10.0.0.1\na 10.0.0.1\na ::1\nb x\n");
        assert_eq!(found["a"].len(), 2);
        assert!(found["b"].is_empty());
    }
}
