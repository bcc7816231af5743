//! The grammar of references to images.
//!
//! Source: CNCF Distribution, "reference" package, "Grammar".

/// Longest name, without tag and digest.
const LONGEST_NAME: usize = 255;
/// Longest tag.
const LONGEST_TAG: usize = 128;

/// What a reference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// Registry and path; empty for an id.
    pub(crate) name: &'a str,
    pub(crate) tag: Option<&'a str>,
    /// A digest, or the id of an image.
    pub(crate) digest: Option<&'a str>,
}

/// Reads `[registry[:port]/]path[:tag][@digest]`, or an image's id. The error says what is wrong, as the rest of a sentence.
pub(crate) fn parse(text: &str) -> Result<Reference<'_>, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("it has the character {bad:?}"));
    }
    if text.starts_with("sha256:") {
        digest(text)?;
        return Ok(Reference { name: "", tag: None, digest: Some(text) });
    }
    let (rest, found) = text.split_once('@').map_or((text, None), |(r, d)| (r, Some(d)));
    found.map_or(Ok(()), digest)?;
    // A colon before the last slash is a port's.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    tag.map_or(Ok(()), check_tag)?;
    if name.len() > LONGEST_NAME {
        return Err(format!("its name is longer than {LONGEST_NAME} characters"));
    }
    let (registry, path) = match name.split_once('/') {
        // As Docker tells a registry from the first part of a path.
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" || has_upper(first) => {
            (Some(first), path)
        }
        _ => (None, name),
    };
    registry.map_or(Ok(()), check_registry)?;
    path.split('/').try_for_each(part)?;
    Ok(Reference { name, tag, digest: found })
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

fn digest(text: &str) -> Result<(), String> {
    let hex = |d: &str, n: usize| d.len() == n && d.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let good = match text.split_once(':') {
        Some(("sha256", d)) => hex(d, 64),
        Some(("sha384", d)) => hex(d, 96),
        Some(("sha512", d)) => hex(d, 128),
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("`{text}` is no digest: `sha256:` and 64 hexadecimal digits")) }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = tag.bytes().next().is_some_and(word) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    match good && tag.len() <= LONGEST_TAG {
        true => Ok(()),
        false => {
            Err(format!("the tag `{tag}` must be 1 to {LONGEST_TAG} letters, digits and `_.-`, no `.` or `-` first"))
        }
    }
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((inside, rest)) => {
            inside.parse::<std::net::Ipv6Addr>().map_err(|_| format!("`{inside}` is no IPv6 address"))?;
            ("", rest.strip_prefix(':'))
        }
        None => registry.split_once(':').map_or((registry, None), |(h, p)| (h, Some(p))),
    };
    let label = |l: &str| {
        let plain = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !l.is_empty() && plain && !l.starts_with('-') && !l.ends_with('-')
    };
    let good = host.is_empty() && registry.starts_with('[') || host.split('.').all(label);
    if !good || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err(format!("`{registry}` is no registry: `host` or `host:port`"));
    }
    Ok(())
}

/// One part of a path: lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn part(text: &str) -> Result<(), String> {
    let wrong =
        || Err(format!("`{text}` must be lower-case letters and digits, with `.`, `_`, `__` or `-` between them only"));
    if text.is_empty() {
        return Err("it has a `/` with nothing before or after it".into());
    }
    let alpha = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !c.is_ascii() || !alpha(c as u8)).unwrap_or(rest.len());
        if end == 0 {
            return wrong();
        }
        rest = rest.get(end..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let end = rest.find(|c: char| c.is_ascii() && alpha(c as u8)).unwrap_or(rest.len());
        let (separator, tail) = rest.split_at(end);
        if !matches!(separator, "." | "_" | "__") && !separator.bytes().all(|b| b == b'-') {
            return wrong();
        }
        rest = tail;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_engines_read_them() {
        let id = format!("sha256:{}", "0f".repeat(32));
        let pinned = format!("registry.example/a/b@{id}");
        for (text, name, tag, digest) in [
            ("debian", "debian", None, None),
            ("debian:bookworm", "debian", Some("bookworm"), None),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b", Some("1"), None),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a", None, None),
            ("[::1]:5000/a", "[::1]:5000/a", None, None),
            ("localhost/a__b--c.d_e:V1.0_x-y", "localhost/a__b--c.d_e", Some("V1.0_x-y"), None),
            ("Host/a", "Host/a", None, None),
            ("0f3c", "0f3c", None, None),
            (id.as_str(), "", None, Some(id.as_str())),
            (pinned.as_str(), "registry.example/a/b", None, Some(id.as_str())),
        ] {
            assert_eq!(parse(text), Ok(Reference { name, tag, digest }), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_told_with_its_reason() {
        let (long_tag, long_name) = (format!("a:{}", "x".repeat(129)), "x".repeat(256));
        for (text, word) in [
            ("", "empty"),
            ("a b", "character"),
            ("a\n", "character"),
            ("ä", "character"),
            ("Web", "lower-case"),
            ("shop/Web", "lower-case"),
            ("/a", "`/`"),
            ("a//b", "`/`"),
            ("a/", "`/`"),
            ("../a", "no registry"),
            ("a/../b", "lower-case"),
            ("a/./b", "lower-case"),
            ("a?b", "lower-case"),
            ("a%2f", "lower-case"),
            ("a___b", "lower-case"),
            ("a.-b", "lower-case"),
            ("a-", "lower-case"),
            ("a:", "tag"),
            ("a:.b", "tag"),
            ("a:b/c:", "tag"),
            ("a:b+c", "tag"),
            (&long_tag, "tag"),
            (&long_name, "longer"),
            ("host:port/a", "no registry"),
            ("sha256:00ff", "digest"),
            ("a@sha256:00", "digest"),
            ("a@md5:00", "digest"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(word), "{text:?}: {why}");
        }
    }
}
