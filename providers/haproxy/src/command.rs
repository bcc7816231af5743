//! Builds the lines that HAProxy's runtime API reads. A line break ends a command and `;` starts another, so that nothing gets in
//! here unlooked at.

use std::fmt::Write as _;
use std::net::IpAddr;

use towpath_core::{Error, ErrorKind, Result};

use crate::provider::HAPROXY;
use crate::{AddedServer, ServerTls};

/// Ids from here on are those of servers that towpath has added; HAProxy itself counts from 1. By them another process knows
/// which servers may be deleted.
pub(crate) const FIRST_ID: u32 = 1_000_000_000;
/// HAProxy takes ids below 2^31.
const LAST_ID: u32 = i32::MAX as u32;

fn refused(operation: &'static str, message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, HAPROXY, operation, message)
}

/// Checks a name that HAProxy could have. Source: HAProxy configuration manual, "Proxies": letters, digits, `-_.:`.
pub(crate) fn name(operation: &'static str, what: &str, name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(good) {
        return Err(refused(
            operation,
            format!("the name of a {what} is 1 to 128 letters, digits, `-`, `_`, `.` and `:`, not {name:?}"),
        ));
    }
    Ok(())
}

/// Checks the name of a host.
pub(crate) fn host_name(operation: &'static str, name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 253 || name.starts_with('-') || !name.chars().all(good) {
        return Err(refused(operation, format!("{name:?} is neither an address nor the name of a host")));
    }
    Ok(())
}

/// One word of a command. HAProxy takes the character after a backslash as it is, `;` and spaces included; a line break can't be
/// said at all.
pub(crate) fn word(operation: &'static str, text: &str) -> Result<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(refused(
            operation,
            format!("HAProxy can't be told an empty text or one with line breaks: {text:?}"),
        ));
    }
    let mut out = String::new();
    for c in text.chars() {
        if !(c.is_alphanumeric() || "-_./:@,=+%()".contains(c)) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(out)
}

/// The id of a server that is added under this name: the same in every HAProxy, as consistent hashing goes by it.
pub(crate) fn id(name: &str, taken: impl Fn(u32) -> bool) -> u32 {
    // FNV-1a: it only has to spread.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let mut id = FIRST_ID + hash % (LAST_ID - FIRST_ID);
    while taken(id) {
        id = if id == LAST_ID { FIRST_ID } else { id + 1 };
    }
    id
}

pub(crate) fn add(backend: &str, server: &str, at: (IpAddr, u16), id: u32, template: &AddedServer) -> Result<String> {
    let mut line = format!("add server {backend}/{server} {} id {id}", std::net::SocketAddr::from(at));
    // Writing into a text can't fail.
    if let Some(check) = &template.check {
        let _ = write!(line, " check inter {}ms rise {} fall {}", check.inter_ms, check.rise, check.fall);
    }
    if let Some(weight) = template.weight {
        let _ = write!(line, " weight {weight}");
    }
    if let Some(maxconn) = template.maxconn {
        let _ = write!(line, " maxconn {maxconn}");
    }
    if let Some(ssl) = &template.ssl {
        line.push_str(&tls(ssl, template.check.is_some())?);
    }
    Ok(line)
}

fn tls(ssl: &ServerTls, check: bool) -> Result<String> {
    let mut out = String::from(" ssl");
    match &ssl.ca_file {
        Some(file) => out.push_str(&format!(" verify required ca-file {}", word("config", file)?)),
        None => out.push_str(" verify none"),
    }
    if let Some(name) = &ssl.name {
        out.push_str(&format!(" sni str({name})"));
        if ssl.ca_file.is_some() {
            out.push_str(&format!(" verifyhost {name}"));
        }
        if check {
            out.push_str(&format!(" check-sni {name}"));
        }
    }
    if let Some(file) = &ssl.crt {
        out.push_str(&format!(" crt {}", word("config", file)?));
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::ServerCheck;

    #[test]
    fn names_are_only_what_haproxy_allows() {
        for good in ["web-1", "a.b:c_D9", "10.0.0.1:80"] {
            name("add", "server", good).unwrap();
        }
        for evil in ["", "a;b", "a b", "a\nshutdown", "a/b", "é", "a\\", "#1", &"a".repeat(129)] {
            assert_eq!(name("add", "server", evil).unwrap_err().kind(), ErrorKind::InvalidInput, "{evil:?}");
        }
    }

    #[test]
    fn words_can_neither_end_a_command_nor_start_one() {
        assert_eq!(word("add", "/etc/ssl/a b;c.pem").unwrap(), r"/etc/ssl/a\ b\;c.pem");
        assert_eq!(word("add", r#"a\"'#$"#).unwrap(), r#"a\\\"\'\#\$"#);
        for evil in ["", "a\nb", "a\r", "a\0b", "a\u{85}"] {
            assert!(word("add", evil).is_err(), "{evil:?}");
        }
    }

    #[test]
    fn an_added_server_has_what_the_template_says() {
        let template = AddedServer {
            check: Some(ServerCheck { inter_ms: 500, ..ServerCheck::default() }),
            weight: Some(10),
            maxconn: Some(20),
            ssl: Some(ServerTls {
                ca_file: Some("/etc/ca 1.pem".into()),
                accept_any_certificate: false,
                name: Some("web.internal".into()),
                crt: None,
            }),
        };
        let line = add("web", "c", ("::1".parse().unwrap(), 80), 1_000_000_001, &template).unwrap();
        assert_eq!(
            line,
            "add server web/c [::1]:80 id 1000000001 check inter 500ms rise 2 fall 3 weight 10 maxconn 20 ssl verify required \
             ca-file /etc/ca\\ 1.pem sni str(web.internal) verifyhost web.internal check-sni web.internal"
        );
    }

    #[test]
    fn ids_are_those_of_the_name_unless_taken() {
        let first = id("web-1", |_| false);
        assert_eq!(first, id("web-1", |_| false));
        assert_ne!(first, id("web-2", |_| false));
        assert_eq!(id("web-1", |id| id == first), first + 1);
        assert!((FIRST_ID..=LAST_ID).contains(&first));
    }
}
