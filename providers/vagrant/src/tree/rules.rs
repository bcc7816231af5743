//! What of a running system is no part of a box.

/// Folders whose content is the running system's.
pub(crate) const LEFT_OUT: [&str; 7] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/cache/apt/archives"];

/// Folders whose own folders stay, since services expect them, while the files in them are left out.
const EMPTIED: [&str; 3] = ["/var/log", "/var/cache/apt", "/var/lib/dhcp"];

/// Files that make a machine this one and no other, or that say where it runs.
const LEFT_OUT_FILES: [&str; 8] = [
    "/.dockerenv",
    "/run/.containerenv",
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/cache/ldconfig/aux-cache",
    "/root/.bash_history",
];

/// Which entries are in the box, and how late a file's time may be.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    exclude: Vec<String>,
    pub(crate) epoch: u32,
}

/// Says whether `path` is below `folder`, and not the folder itself.
fn inside(path: &[u8], folder: &str) -> bool {
    path.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
}

impl Rules {
    /// `exclude`: absolute paths, each with all below it.
    pub(crate) fn new(exclude: &[String], epoch: u32) -> Self {
        Self { exclude: exclude.iter().map(|p| p.trim_end_matches('/').to_owned()).collect(), epoch }
    }

    /// Says whether the entry at this absolute path is in the box.
    pub(super) fn take(&self, path: &[u8], is_folder: bool) -> bool {
        let named = |p: &str| path == p.as_bytes();
        !(LEFT_OUT.iter().any(|f| inside(path, f))
            || !is_folder && EMPTIED.iter().any(|f| inside(path, f))
            || LEFT_OUT_FILES.iter().any(|p| named(p))
            || path.starts_with(b"/etc/ssh/ssh_host_")
            || path == b"/lost+found"
            || path.starts_with(b"/lost+found/")
            || self.exclude.iter().any(|p| named(p) || inside(path, p)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_left_out_and_its_folders_stay() {
        let rules = Rules::new(&["/srv/cache/".into()], 0);
        for (path, is_folder, taken) in [
            ("/proc", true, true),
            ("/proc/1", true, false),
            ("/procs", true, true),
            ("/var/log/nginx", true, true),
            ("/var/log/nginx/access.log", false, false),
            ("/etc/ssh/ssh_host_rsa_key", false, false),
            ("/etc/ssh/sshd_config", false, true),
            ("/etc/machine-id", false, false),
            ("/srv/cache", true, false),
            ("/srv/cache/a", false, false),
            ("/srv/caches", true, true),
            ("/.dockerenv", false, false),
        ] {
            assert_eq!(rules.take(path.as_bytes(), is_folder), taken, "{path}");
        }
    }
}
