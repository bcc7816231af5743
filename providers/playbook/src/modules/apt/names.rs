//! Names and versions of packages.

use std::cmp::Ordering;

/// `name`, `name=1.2*`, `name>=1.2`, `name:arch`.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) arch: Option<String>,
    pub(super) version: Option<String>,
    /// At least that version.
    pub(super) least: bool,
}

impl Spec {
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim();
        let (name, version, least) = match (text.split_once(">="), text.split_once('=')) {
            (Some((n, v)), _) => (n, Some(v), true),
            (None, Some((n, v))) => (n, Some(v), false),
            (None, None) => (text, None, false),
        };
        let (name, arch) = match name.trim().split_once(':') {
            Some((n, a)) => (n, Some(a.to_owned())),
            None => (name.trim(), None),
        };
        Self { name: name.to_owned(), arch, version: version.map(|v| v.trim().to_owned()), least }
    }

    pub(super) fn full(&self) -> String {
        self.arch.as_ref().map_or_else(|| self.name.clone(), |a| format!("{}:{a}", self.name))
    }

    pub(super) fn is_pattern(&self) -> bool {
        self.name.contains(['*', '?', '['])
    }

    /// Whether a version is what is asked for.
    pub(super) fn takes(&self, version: &str) -> bool {
        match &self.version {
            None => true,
            Some(v) if self.least => compare(version, v) != Ordering::Less,
            Some(v) => matches(v, version),
        }
    }
}

/// Whether a text fits a pattern with `*` and `?`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut re = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => re.push_str(".*"),
            '?' => re.push('.'),
            '[' | ']' => re.push(c),
            c => re.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex::Regex::new(&(re + "$")).is_ok_and(|r| r.is_match(text))
}

/// Orders versions of Debian packages. Source: deb-version(7).
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let parts = |v: &str| {
        let (epoch, rest) = v.split_once(':').unwrap_or(("0", v));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse::<u64>().unwrap_or(0), upstream.to_owned(), revision.to_owned())
    };
    let (x, y) = (parts(a), parts(b));
    x.0.cmp(&y.0).then_with(|| part(&x.1, &y.1)).then_with(|| part(&x.2, &y.2))
}

fn part(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) if !c.is_ascii_digit() => i32::from(*c) + 256,
        _ => 0,
    };
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let word = |s: &[u8]| s.iter().take_while(|c| !c.is_ascii_digit()).count();
        let (n, m) = (word(a), word(b));
        for i in 0..n.max(m) {
            let order = weight(a.get(..n).and_then(|s| s.get(i))).cmp(&weight(b.get(..m).and_then(|s| s.get(i))));
            if order != Ordering::Equal {
                return order;
            }
        }
        a = a.get(n..).unwrap_or_default();
        b = b.get(m..).unwrap_or_default();
        let digits = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let (n, m) = (digits(a), digits(b));
        let number = |s: &[u8], n: usize| {
            let text = String::from_utf8_lossy(s.get(..n).unwrap_or_default()).into_owned();
            let text = text.trim_start_matches('0').to_owned();
            (text.len(), text)
        };
        let order = number(a, n).cmp(&number(b, m));
        if order != Ordering::Equal {
            return order;
        }
        a = a.get(n..).unwrap_or_default();
        b = b.get(m..).unwrap_or_default();
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        for (a, b) in
            [("1.0", "1.1"), ("1.0~rc1", "1.0"), ("1.9", "1.10"), ("1.0-1", "1.0-2"), ("9", "1:1"), ("1.0", "1.0a")]
        {
            assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }

    #[test]
    fn names_are_taken_apart() {
        let s = Spec::of("curl:amd64=7.*");
        assert_eq!((s.full().as_str(), s.version.as_deref()), ("curl:amd64", Some("7.*")));
        assert!(s.takes("7.88") && !s.takes("8.0"));
        assert!(Spec::of("a>=1.2").takes("1.10"));
    }
}
