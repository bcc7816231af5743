//! Packages that are installed, and the ways to name one.

use std::cmp::Ordering;

/// What `tp_rpm` prints of each package. Keys that packages are signed with are no packages for dnf.
pub(super) const FORMAT: &str = "%{NAME}|%{EPOCHNUM}|%{VERSION}|%{RELEASE}|%{ARCH}\\n";

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
    pub(super) arch: String,
}

impl Package {
    /// A line in [`FORMAT`].
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.split('|').map(str::to_owned);
        let mut word = || words.next();
        let one = Self { name: word()?, epoch: word()?, version: word()?, release: word()?, arch: word()? };
        (one.name != "gpg-pubkey").then_some(one)
    }

    /// From a name, an architecture and `epoch:version-release`.
    pub(super) fn of(name: &str, arch: &str, evr: &str) -> Option<Self> {
        let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
        let (version, release) = rest.rsplit_once('-')?;
        let [name, epoch, version, release, arch] = [name, epoch, version, release, arch].map(str::to_owned);
        Some(Self { name, epoch, version, release, arch })
    }

    /// Its whole name; an epoch of 0 is not written.
    pub(super) fn full(&self) -> String {
        let epoch = if self.epoch == "0" { String::new() } else { format!("{}:", self.epoch) };
        format!("{}-{epoch}{}-{}.{}", self.name, self.version, self.release, self.arch)
    }

    /// Orders versions of one package.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        compare(&self.epoch, &other.epoch)
            .then_with(|| compare(&self.version, &other.version))
            .then_with(|| compare(&self.release, &other.release))
    }

    /// All texts by which it can be named.
    fn names(&self) -> [String; 8] {
        let Self { name, epoch, version, release, arch } = self;
        [
            name.clone(),
            format!("{name}.{arch}"),
            format!("{name}-{version}"),
            format!("{name}-{version}-{release}"),
            format!("{name}-{version}-{release}.{arch}"),
            format!("{name}-{epoch}:{version}"),
            format!("{name}-{epoch}:{version}-{release}"),
            format!("{name}-{epoch}:{version}-{release}.{arch}"),
        ]
    }
}

/// How a task names packages.
#[derive(Debug, Clone)]
pub(super) enum Spec {
    /// `@name`: a group, an environment or a module's stream.
    Group,
    /// A file or an address of a package.
    File,
    /// `name >= 1.0`
    Range(String, &'static str, String),
    /// A name in any of its forms.
    Name(String),
    Pattern,
}

impl Spec {
    pub(super) fn of(text: &str) -> Self {
        if text.starts_with('@') {
            return Self::Group;
        }
        if text.contains("://") || text.ends_with(".rpm") {
            return Self::File;
        }
        for op in [">=", "<=", "=", ">", "<"] {
            if let Some((name, version)) = text.split_once(&format!(" {op} ")) {
                return Self::Range(name.trim().to_owned(), op, version.trim().to_owned());
            }
        }
        // As Ansible: what is there fits no pattern.
        if text.contains(['*', '?', '[']) { Self::Pattern } else { Self::Name(text.to_owned()) }
    }

    /// Whether what is named is an older version of a package that is there.
    pub(super) fn is_older(&self, text: &str, package: &Package) -> bool {
        let evr = match self {
            Self::Range(name, "=" | "<" | "<=", version) if *name == package.name => version.as_str(),
            Self::Name(_) => match text.strip_prefix(package.name.as_str()).and_then(|r| r.strip_prefix('-')) {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
                _ => return false,
            },
            _ => return false,
        };
        let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
        let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
        let release = release.strip_suffix(&format!(".{}", package.arch)).unwrap_or(release);
        let order = compare(&package.epoch, epoch).then_with(|| compare(&package.version, version));
        let order = if release.is_empty() { order } else { order.then_with(|| compare(&package.release, release)) };
        // Of a limit that excludes itself, the version itself is too new.
        order.is_gt() || matches!(self, Self::Range(_, "<", _)) && order.is_eq()
    }

    /// Whether a package that is there is what is named.
    pub(super) fn takes(&self, package: &Package) -> bool {
        match self {
            Self::Group | Self::File | Self::Pattern => false,
            Self::Name(name) => package.names().contains(name),
            Self::Range(name, op, version) => {
                let (epoch, rest) = version.split_once(':').unwrap_or(("0", version.as_str()));
                let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
                let order = compare(&package.epoch, epoch).then_with(|| compare(&package.version, version));
                let order =
                    if release.is_empty() { order } else { order.then_with(|| compare(&package.release, release)) };
                *name == package.name
                    && match *op {
                        ">=" => order.is_ge(),
                        "<=" => order.is_le(),
                        ">" => order.is_gt(),
                        "<" => order.is_lt(),
                        _ => order.is_eq(),
                    }
            }
        }
    }
}

/// Orders versions as rpm does. Source: rpm's manual, "rpm-version(7)".
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    let separator = |c: &u8| !c.is_ascii_alphanumeric() && *c != b'~' && *c != b'^';
    let count = |s: &[u8], fits: &dyn Fn(&u8) -> bool| s.iter().take_while(|c| fits(c)).count();
    loop {
        a = a.get(count(a, &separator)..).unwrap_or_default();
        b = b.get(count(b, &separator)..).unwrap_or_default();
        // A tilde stands before the end, a caret after it but before anything else.
        for mark in [b'~', b'^'] {
            let (x, y) = (a.first() == Some(&mark), b.first() == Some(&mark));
            if x && y {
                a = a.get(1..).unwrap_or_default();
                b = b.get(1..).unwrap_or_default();
            } else if x || y {
                let other_ends = if x { b.is_empty() } else { a.is_empty() };
                let less = mark == b'~' || !other_ends;
                return if x == less { Ordering::Less } else { Ordering::Greater };
            }
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let numeric = a.first().is_some_and(u8::is_ascii_digit);
        let fits = |c: &u8| if numeric { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let (n, m) = (count(a, &fits), count(b, &fits));
        if m == 0 {
            // Numbers stand above letters.
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let (mut x, mut y) = (a.get(..n).unwrap_or_default(), b.get(..m).unwrap_or_default());
        a = a.get(n..).unwrap_or_default();
        b = b.get(m..).unwrap_or_default();
        if numeric {
            x = x.get(count(x, &|c| *c == b'0')..).unwrap_or_default();
            y = y.get(count(y, &|c| *c == b'0')..).unwrap_or_default();
            if x.len() != y.len() {
                return x.len().cmp(&y.len());
            }
        }
        if x != y {
            return x.cmp(y);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_rpm_does() {
        for (a, b) in [
            ("1.0", "1.1"),
            ("1.0", "1.0.1"),
            ("1.9", "1.10"),
            ("1.0~rc1", "1.0"),
            ("1.0", "1.0^git1"),
            ("1.0^git1", "1.0.1"),
            ("1.0~rc1", "1.0~rc2"),
            ("1.a", "1.1"),
            ("a", "b"),
            ("", "1"),
        ] {
            assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
        }
        for (a, b) in [("1.0", "1.0"), ("1.01", "1.1"), ("1_0", "1.0"), ("2.0.", "2.0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn packages_have_many_names() {
        let one = Package::read("foo|1|2.0|3|noarch").unwrap();
        assert_eq!(one.full(), "foo-1:2.0-3.noarch");
        let takes = |s: &str| Spec::of(s).takes(&one);
        for name in ["foo", "foo.noarch", "foo-2.0", "foo-2.0-3", "foo-1:2.0-3.noarch", "foo >= 1:1", "foo < 2:0"] {
            assert!(takes(name), "{name}");
        }
        for name in ["fo", "f*", "foo-2", "foo.x86_64", "foo-2.0-4", "foo > 1:2.0", "bar >= 1", "@foo", "/x/foo.rpm"] {
            assert!(!takes(name), "{name}");
        }
        let older = |s: &str| Spec::of(s).is_older(s, &one);
        assert!(older("foo-1:1.9") && older("foo < 1:2.0") && older("foo-3.0") && older("foo-1:2.0-2.noarch"));
        assert!(!older("foo-1:2.1") && !older("foo-bar-1:1.0") && !older("foo >= 1:3"));
        assert_eq!(Package::read("gpg-pubkey|0|a|b|(none)"), None);
    }
}
