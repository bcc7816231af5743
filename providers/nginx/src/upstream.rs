//! The include file: a line for each server, which nginx reads, with a comment, which towpath reads.

use std::net::IpAddr;

use towpath_core::{Backend, BackendMode, BackendState};

const HEAD: &str =
    "# Kept by towpath, which adds, drains and removes these servers. Don't edit: what it does not know it refuses.";
/// An upstream without any server is an error to nginx.
const NONE: &str = "server 127.0.0.1:9 down;";

/// Since when a server is down: workers that were started up to then, in this boot, may still send to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Since {
    /// Clock ticks after the boot.
    pub(crate) ticks: u64,
    /// The beginning of the boot's id.
    pub(crate) boot: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) backend: Backend,
    pub(crate) options: Vec<String>,
    pub(crate) down: Option<Since>,
}

impl Server {
    pub(crate) fn state(&self, connections: u64) -> BackendState {
        let mode = if self.down.is_some() { BackendMode::Draining } else { BackendMode::Serving };
        BackendState { backend: self.backend.clone(), mode, connections }
    }
}

fn place(backend: &Backend) -> String {
    match backend.address.parse() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]:{}", backend.port),
        _ => format!("{}:{}", backend.address, backend.port),
    }
}

/// What is wrong with a name that goes into the file.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(good) {
        return Err(format!("the name of a backend is 1 to 128 letters, digits, `-`, `_`, `.` and `:`, not {name:?}"));
    }
    Ok(())
}

/// What is wrong with an address that goes into the file.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name =
        !address.is_empty() && address.len() <= 253 && !address.starts_with(['-', '.']) && address.chars().all(good);
    if address.parse::<IpAddr>().is_err() && !name {
        return Err(format!("{address:?} is neither an address nor the name of a host"));
    }
    Ok(())
}

/// Writes the file.
pub(crate) fn write(servers: &[Server]) -> String {
    let mut out = format!("{HEAD}\n");
    if servers.is_empty() {
        out.push_str(&format!("{NONE}\n"));
    }
    for server in servers {
        let mut words = vec!["server".to_owned(), place(&server.backend)];
        words.extend(server.options.iter().cloned());
        words.extend(server.down.iter().map(|_| "down".to_owned()));
        out.push_str(&format!("{}; # {}", words.join(" "), server.backend.name));
        if let Some(since) = &server.down {
            out.push_str(&format!(" since {}/{}", since.ticks, since.boot));
        }
        out.push('\n');
    }
    out
}

/// Reads the file. One without servers, or with the placeholder only, is taken over.
pub(crate) fn read(text: &str) -> Result<Vec<Server>, String> {
    let mut servers: Vec<Server> = Vec::new();
    let owned = text.starts_with(HEAD);
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line == NONE || line.starts_with('#') {
            continue;
        }
        let server = server(line).filter(|_| owned);
        let server = server.ok_or_else(|| format!("line {} is not towpath's: {line:?}", n + 1))?;
        if servers.iter().any(|s| s.backend.name == server.backend.name) {
            return Err(format!("line {} has {} a second time", n + 1, server.backend.name));
        }
        servers.push(server);
    }
    Ok(servers)
}

fn server(line: &str) -> Option<Server> {
    let (directive, comment) = line.split_once("; # ")?;
    let mut words = directive.split(' ');
    if words.next() != Some("server") {
        return None;
    }
    let (address, port) = words.next()?.rsplit_once(':')?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let mut options: Vec<String> = words.map(str::to_owned).collect();
    let down = options.last().is_some_and(|o| o == "down");
    if down {
        options.pop();
    }
    let known = |o: &String| {
        let number = o.split_once('=').map(|(k, v)| (k, v.trim_end_matches('s')));
        number.is_some_and(|(k, v)| {
            ["weight", "max_conns", "max_fails", "fail_timeout"].contains(&k) && v.parse::<u32>().is_ok()
        })
    };
    let (name, since) = match comment.split_once(" since ") {
        Some((name, since)) => {
            let (ticks, boot) = since.split_once('/')?;
            (name, Some(Since { ticks: ticks.parse().ok()?, boot: boot.to_owned() }))
        }
        None => (comment, None),
    };
    let backend = Backend { name: name.to_owned(), address: address.to_owned(), port: port.parse().ok()? };
    let good = check_name(name).is_ok() && check_address(address).is_ok() && options.iter().all(known);
    (good && down == since.is_some()).then_some(Server { backend, options, down: since })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn some() -> Vec<Server> {
        let backend = |name: &str, address: &str| Backend { name: name.into(), address: address.into(), port: 80 };
        let options = vec!["weight=2".to_owned(), "fail_timeout=5s".to_owned()];
        vec![
            Server { backend: backend("web-1", "10.0.0.11"), options: options.clone(), down: None },
            Server {
                backend: backend("web-2", "::1"),
                options,
                down: Some(Since { ticks: 42, boot: "1a2b3c4d".into() }),
            },
            Server { backend: backend("web-3", "web-3.internal"), options: vec![], down: None },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let text = write(&some());
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "server 10.0.0.11:80 weight=2 fail_timeout=5s; # web-1",
                "server [::1]:80 weight=2 fail_timeout=5s down; # web-2 since 42/1a2b3c4d",
                "server web-3.internal:80; # web-3",
            ]
        );
        assert_eq!(read(&text).unwrap(), some());
        assert_eq!(read(&write(&[])).unwrap(), []);
        assert!(write(&[]).contains(NONE));
    }

    #[test]
    fn files_of_somebody_else_are_refused_and_empty_ones_taken() {
        for empty in ["", "\n# my upstream\n", "server 127.0.0.1:9 down;\n"] {
            assert_eq!(read(empty).unwrap(), [], "{empty:?}");
        }
        let own = write(&some());
        for (foreign, line) in [
            ("server 10.0.0.1:80;\n".to_owned(), "line 1"),
            ("server 10.0.0.1:80; # web-1\n".to_owned(), "line 1"),
            (format!("{own}server 10.0.0.1:80;\n"), "line 5"),
            (format!("{own}keepalive 16;\n"), "line 5"),
            (format!("{own}server 10.0.0.1:80; # web-1\n"), "line 5 has web-1 a second time"),
            (own.replace("weight=2", "backup"), "line 2"),
            (own.replace(" down", ""), "line 3"),
        ] {
            let why = read(&foreign).unwrap_err();
            assert!(why.contains(line), "{foreign}: {why}");
        }
    }

    #[test]
    fn names_and_addresses_are_one_word() {
        for evil in ["", "a;b", "a b", "a\nb", "a}", "#", "a$b", "ä", &"a".repeat(254)] {
            assert!(check_address(evil).is_err(), "{evil:?}");
            assert!(check_name(evil).is_err(), "{evil:?}");
        }
        for good in ["10.0.0.1", "::1", "web-1.internal"] {
            check_address(good).unwrap();
            check_name(good).unwrap();
        }
    }
}
