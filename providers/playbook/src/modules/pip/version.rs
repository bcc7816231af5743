//! Versions of Python packages and what is asked of them.
//!
//! Source: PEP 440.

use std::cmp::Ordering;
use std::sync::OnceLock;

use regex::Regex;

/// A version, in the order of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    epoch: u64,
    release: Vec<u64>,
    pre: Option<(char, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<String>,
}

impl Version {
    pub(super) fn read(text: &str) -> Option<Self> {
        static FORM: OnceLock<Regex> = OnceLock::new();
        let form = FORM.get_or_init(|| {
            Regex::new(
                r"^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?(?:-(\d+)|[-_.]?(?:post|rev|r)[-_.]?(\d*))?(?:[-_.]?dev[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$",
            )
            .expect("the pattern is valid")
        });
        let text = text.trim().to_lowercase();
        let found = form.captures(&text)?;
        let part = |i: usize| found.get(i).map(|m| m.as_str());
        // A number that is left out is 0.
        let number = |i: usize| part(i).map(|n| n.parse().unwrap_or(0));
        Some(Self {
            epoch: number(1).unwrap_or(0),
            release: part(2)?.split('.').map(|n| n.parse().unwrap_or(u64::MAX)).collect(),
            pre: part(3).map(|word| {
                let kind = match word {
                    "alpha" | "a" => 'a',
                    "beta" | "b" => 'b',
                    _ => 'c',
                };
                (kind, number(4).unwrap_or(0))
            }),
            post: number(5).or_else(|| number(6)),
            dev: number(7),
            local: part(8).map(|l| l.split(['-', '_', '.']).map(str::to_owned).collect()).unwrap_or_default(),
        })
    }

    /// Without what only one place added.
    fn public(&self) -> Self {
        Self { local: Vec::new(), ..self.clone() }
    }

    fn base(&self) -> (u64, Vec<u64>) {
        let mut release = self.release.clone();
        while release.last() == Some(&0) {
            release.pop();
        }
        (self.epoch, release)
    }

    fn early(&self) -> bool {
        self.pre.is_some() || self.dev.is_some()
    }

    /// Whether its first parts are those of another one.
    fn begins(&self, with: &Self, parts: usize) -> bool {
        let at = |v: &Self, i: usize| v.release.get(i).copied().unwrap_or(0);
        self.epoch == with.epoch && (0..parts).all(|i| at(self, i) == at(with, i))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let pre = |v: &Self| match v.pre {
            None if v.post.is_none() && v.dev.is_some() => (0, 'a', 0),
            None => (2, 'a', 0),
            Some((kind, n)) => (1, kind, n),
        };
        let post = |v: &Self| v.post.map_or(0, |n| n.saturating_add(1));
        let dev = |v: &Self| v.dev.unwrap_or(u64::MAX);
        // A number stands above a word.
        let local = |v: &Self| -> Vec<(u8, u64, String)> {
            v.local.iter().map(|l| l.parse().map_or_else(|_| (0, 0, l.clone()), |n| (1, n, String::new()))).collect()
        };
        self.base()
            .cmp(&other.base())
            .then_with(|| pre(self).cmp(&pre(other)))
            .then_with(|| post(self).cmp(&post(other)))
            .then_with(|| dev(self).cmp(&dev(other)))
            .then_with(|| local(self).cmp(&local(other)))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Operators, those first that begin with another one.
pub(super) const OPERATORS: [&str; 8] = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];

/// What is asked of a version: `>=1.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Specifier {
    operator: &'static str,
    version: String,
}

impl Specifier {
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let operator = OPERATORS.into_iter().find(|o| text.starts_with(o))?;
        let version = text.get(operator.len()..)?.trim();
        let bare = match operator {
            "==" | "!=" => version.strip_suffix(".*").unwrap_or(version),
            _ => version,
        };
        let good = match operator {
            "===" => !version.is_empty() && !version.contains(char::is_whitespace),
            _ => Version::read(bare).is_some(),
        };
        good.then(|| Self { operator, version: version.to_owned() })
    }

    pub(super) fn allows(&self, installed: &str) -> bool {
        if self.operator == "===" {
            return installed.eq_ignore_ascii_case(&self.version);
        }
        let (bare, any) = match self.version.strip_suffix(".*") {
            Some(bare) => (bare, true),
            None => (self.version.as_str(), false),
        };
        let (Some(have), Some(want)) = (Version::read(installed), Version::read(bare)) else { return false };
        let same = || {
            if any {
                return have.begins(&want, want.release.len());
            }
            if want.local.is_empty() { have.public().cmp(&want).is_eq() } else { have.cmp(&want).is_eq() }
        };
        let based = have.base() == want.base();
        match self.operator {
            "==" => same(),
            "!=" => !same(),
            "<=" => have.public() <= want,
            ">=" => have.public() >= want,
            "<" => have < want && (want.early() || !have.early() || !based),
            ">" => have > want && (!based || (want.post.is_some() || have.post.is_none()) && have.local.is_empty()),
            _ => have.public() >= want && have.begins(&want, want.release.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Specifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.operator, self.version)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order() {
        let order = [
            "1.0.dev1",
            "1.0a1.dev2",
            "1.0a1",
            "1.0b2",
            "1.0rc1",
            "1.0",
            "1.0+abc",
            "1.0+5",
            "1.0.post1.dev1",
            "1.0.post1",
            "1.1",
            "1.10",
            "1!0.1",
        ];
        for pair in order.windows(2) {
            let [a, b] = [&pair[0], &pair[1]].map(|v| Version::read(v).unwrap());
            assert!(a < b, "{a:?} {b:?}");
        }
        assert_eq!(Version::read("v1.0-1").unwrap().cmp(&Version::read("1.0.0.post1").unwrap()), Ordering::Equal);
        assert!(Version::read("unknown").is_none());
    }

    #[test]
    fn specifiers_allow_what_they_ask_for() {
        for (spec, version, allowed) in [
            ("==1.0", "1.0.0", true),
            ("==1.*", "1.4.0+local", true),
            ("==1.4", "1.4.0+local", true),
            ("~=1.4.2", "1.5", false),
            ("~=1.4", "1.5", true),
            ("<2.0", "2.0.dev1", false),
            (">1.0", "1.0.post1", false),
            (">=1.0", "2.0rc1", true),
            (">=1.0a1", "1.0a2", true),
            ("!=1.0.*", "1.0.3", false),
            (">=1.0", "1!0.5", true),
            ("==1.0-1", "1.0.post1", true),
            ("<=2.0", "2.0+abc", true),
            ("===1.0", "1.0.0", false),
            ("==1.0", "unknown", false),
        ] {
            assert_eq!(Specifier::read(spec).unwrap().allows(version), allowed, "{spec} {version}");
        }
        assert!(Specifier::read("=1.0").is_none());
    }
}
