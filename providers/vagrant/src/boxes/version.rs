//! Versions of boxes.

use std::fmt;

/// Three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u64, u64, u64);

impl Version {
    pub(super) const FIRST: Self = Self(1, 0, 0);

    /// Without leading zeroes or signs, so that equal versions are equal texts.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|p| p.parse::<u64>().ok().filter(|n| n.to_string() == p));
        let version = Self(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    pub(super) fn next(self) -> Self {
        Self(self.0, self.1, self.2 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers() {
        assert!(Version::parse("1.10.0") > Version::parse("1.9.9"));
        for wrong in ["1", "1.0", "1.0.0.0", "01.0.0", "1.0.+1", "v1.0.0", "1.0.0-rc1", ""] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Version::FIRST.next().to_string(), "1.0.1");
    }
}
