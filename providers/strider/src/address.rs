use hyper::Uri;
use towpath_core::{Error, ErrorKind, Result};

use crate::provider::STRIDER;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As a `Host` header says it.
    pub(crate) authority: String,
    /// Path below which the server's routes are, without a slash at its end.
    pub(crate) base: String,
}

impl Address {
    pub(crate) fn parse(url: &str, allow_http: bool) -> Result<Self> {
        // A URL may hold a password: it is not repeated.
        let wrong = |why: &str| {
            Error::new(
                ErrorKind::InvalidInput,
                STRIDER,
                "config",
                format!("`url` {why}, as in `https://ci.example.com`"),
            )
        };
        let uri: Uri = url.parse().map_err(|e| wrong("is no URL").caused_by(e))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("must start with `https://` or `http://`")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("must not hold a user or password: they are `user` and `password`"));
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        if !tls && !allow_http && !is_loopback(&host) {
            return Err(wrong(
                "is plain `http://` to another machine, which shows the password to everybody on the way: use `https://`, or say `allow_http: true`",
            ));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, host, port, authority: authority.as_str().to_owned(), base })
    }

    /// For errors: no secret is in it.
    pub(crate) fn shown(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.base)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// One segment of a path, or a value in a query: everything but letters, digits and `-._~` as `%XX`.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The opposite of [`encoded`]; `None` for what is no UTF-8 in the end, or a `%` without digits.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        for (url, tls, host, port, base) in [
            ("https://ci.example.com", true, "ci.example.com", 443, ""),
            ("https://ci.example.com:8443/strider/", true, "ci.example.com", 8443, "/strider"),
            ("http://127.0.0.1:3000", false, "127.0.0.1", 3000, ""),
            ("http://[::1]:3000/", false, "::1", 3000, ""),
            ("http://localhost", false, "localhost", 80, ""),
        ] {
            let found = Address::parse(url, false).unwrap();
            assert_eq!(
                (found.tls, found.host.as_str(), found.port, found.base.as_str()),
                (tls, host, port, base),
                "{url}"
            );
        }
        assert!(Address::parse("http://ci.example.com", true).is_ok());
    }

    #[test]
    fn a_wrong_address_is_refused_without_its_password() {
        for (url, why) in [
            ("ftp://x", "must start with"),
            ("ci.example.com", "must start with"),
            ("http://ci.example.com", "allow_http: true"),
            ("http://localhost.evil.example", "allow_http: true"),
            ("https://ops:hunter22@ci.example.com", "must not hold a user"),
            ("https://ci.example.com/?a=b", "query"),
            ("https://", "is no URL"),
        ] {
            let error = Address::parse(url, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why), "{url}: {error}");
            assert!(!error.report().contains("hunter22"));
        }
    }

    #[test]
    fn encoding_goes_both_ways() {
        for text in ["release-1.2_3~x", "a b/c?d=%41&ü", ""] {
            assert_eq!(decoded(&encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(encoded("a/b c"), "a%2Fb%20c");
        assert_eq!((decoded("%4"), decoded("%zz"), decoded("%ff")), (None, None, None));
    }
}
