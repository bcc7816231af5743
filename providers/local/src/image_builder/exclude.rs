//! What is left out of an archive.

/// Folders that are left out with all in them: they are the running system's, not the configured one's.
pub(super) const LEFT_OUT: [&str; 7] = ["/proc", "/sys", "/dev", "/tmp", "/run", "/var/run", "/var/lock"];

/// Folders whose own folders stay, since services expect them, while the files in them are left out.
pub(super) const EMPTIED: [&str; 3] = ["/var/cache", "/var/log", "/var/tmp"];

/// Files that are left out: traces of running, and what makes a machine this one and no other.
pub(super) const NOISE: [&str; 8] = [
    "*.pid",
    "*.log",
    "*.journal",
    ".*_history",
    "/etc/machine-id",
    "/etc/ssh/ssh_host_*",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
];

/// Says which paths are in an archive.
#[derive(Debug)]
pub(super) struct Selection {
    paths: Vec<String>,
    exclude: Vec<String>,
}

impl Selection {
    /// `paths`: only these and what is below them; empty: all. `exclude`: what is left out of that, beside the constants.
    pub(super) fn new(paths: &[String], exclude: &[String]) -> Self {
        let trimmed = |list: &[String]| list.iter().map(|p| p.trim_end_matches('/').to_owned()).collect();
        Self { paths: trimmed(paths), exclude: trimmed(exclude) }
    }

    /// Says whether the entry at `path` (absolute, the root is empty) is in the archive.
    pub(super) fn takes(&self, path: &str, is_dir: bool) -> bool {
        let wanted = self.paths.is_empty()
            || self.paths.iter().any(|p| below(path, p))
            // Folders on the way keep their modes.
            || is_dir && self.paths.iter().any(|p| below(p, path));
        wanted
            && !LEFT_OUT.iter().any(|p| below(path, p))
            && (is_dir || !EMPTIED.iter().any(|p| below(path, p)))
            && (is_dir || !NOISE.iter().any(|p| matches(p, path)))
            && !self.exclude.iter().any(|p| matches(p, path))
    }
}

/// Says whether `path` is `folder` or below it.
fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A pattern with `/` is a path: it matches that path and all below. One without matches a name anywhere. `*` and `?` stand
/// for characters other than `/`.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    if !pattern.contains('/') {
        return parts.any(|part| glob(pattern.as_bytes(), part.as_bytes()));
    }
    pattern.split('/').skip(1).all(|p| parts.next().is_some_and(|part| glob(p.as_bytes(), part.as_bytes())))
}

/// Matches one name. Backtracks to the last `*` only, which is enough for one name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_paths_or_names() {
        for (pattern, path, fits) in [
            ("*.pid", "/srv/web/a.pid", true),
            ("*.pid", "/srv/a.pid/below", true),
            ("*.pid", "/srv/a.pidx", false),
            ("/srv/web", "/srv/web/x", true),
            ("/srv/web", "/srv/website", false),
            ("/srv/*/cache", "/srv/web/cache/x", true),
            ("/srv/*/cache", "/srv/web/a/cache", false),
            ("a*b*c", "/x/aXbYbZc", true),
            ("a*b*c", "/x/aXbYbZ", false),
            ("?", "/ab", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn a_selection_keeps_folders_on_the_way() {
        let some = Selection::new(&["/srv/web/".into()], &["/srv/web/releases".into()]);
        assert!(some.takes("/srv", true) && some.takes("/srv/web", true) && some.takes("/srv/web/x", false));
        assert!(!some.takes("/srv/x", false) && !some.takes("/srv/website", true) && !some.takes("/etc", true));
        assert!(!some.takes("/srv/web/releases/v1", true));
        let all = Selection::new(&[], &[]);
        assert!(all.takes("/var/log", true) && all.takes("/var/log/nginx", true) && !all.takes("/var/log/x", false));
        assert!(!all.takes("/proc", true) && all.takes("/etc/passwd", false) && !all.takes("/etc/machine-id", false));
    }
}
