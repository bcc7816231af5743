use serde::{Deserialize, Serialize};

/// A difference that does not count, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// What may differ: `file /var/log/**`, `package linux-image-*`, `unit ssh.service`. `*` stands for anything but `/`, `**` for anything.
    pub subject: String,
    /// Only this property of it: `content`, `mode`, `owner`, `group`, `kind`, `target`, `version`, `presence`, ... All if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Why it does not count. It stands in the report.
    pub reason: String,
}

impl AllowRule {
    /// Allows any difference of `subject`.
    pub fn new(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { subject: subject.into(), property: None, reason: reason.into() }
    }

    /// Allows a difference of one property only.
    #[must_use]
    pub fn only(mut self, property: impl Into<String>) -> Self {
        self.property = Some(property.into());
        self
    }

    pub(crate) fn covers(&self, subject: &str, property: &str) -> bool {
        self.property.as_deref().is_none_or(|p| p == property) && wildcard(self.subject.as_bytes(), subject.as_bytes())
    }
}

fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        // A folder's pattern covers all below it and not the folder itself.
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|i| text.get(i..).is_some_and(|t| wildcard(rest, t))),
        [b'*', rest @ ..] => {
            let end = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
            (0..=end).any(|i| text.get(i..).is_some_and(|t| wildcard(rest, t)))
        }
        [first, rest @ ..] => text.split_first().is_some_and(|(t, more)| t == first && wildcard(rest, more)),
    }
}

/// What differs between two installations of the same things: identities of a machine, logs, caches, states of package managers.
pub fn usual_differences() -> Vec<AllowRule> {
    let identity = "each machine has its own";
    let log = "written while it ran";
    let cache = "made again when it is needed";
    let bound = "given by whatever runs it";
    let dated = "holds the day of the last change";
    [
        ("file /etc/machine-id", identity),
        ("file /var/lib/dbus/machine-id", identity),
        ("file /etc/ssh/ssh_host_*", identity),
        ("file /var/lib/systemd/random-seed", identity),
        ("file /var/lib/systemd/credential.secret", identity),
        ("file /etc/hostname", bound),
        ("file /etc/hosts", bound),
        ("file /etc/resolv.conf", bound),
        ("file /etc/mtab", bound),
        ("file /.dockerenv", bound),
        ("file /var/log/**", log),
        ("file /var/lib/systemd/**", log),
        ("file /root/.bash_history", log),
        ("file /var/cache/**", cache),
        ("file /var/lib/apt/**", cache),
        ("file /etc/ld.so.cache", cache),
        ("file /var/lib/dpkg/*-old", cache),
        ("file /var/lib/dpkg/lock*", cache),
        ("file /var/lib/dpkg/triggers/Lock", cache),
        ("file **/__pycache__/**", cache),
        ("file /etc/passwd-", cache),
        ("file /etc/group-", cache),
        ("file /etc/gshadow-", cache),
        ("file /etc/shadow-", cache),
        ("file /etc/subuid-", cache),
        ("file /etc/subgid-", cache),
    ]
    .into_iter()
    .map(|(subject, reason)| AllowRule::new(subject, reason))
    .chain([AllowRule::new("file /etc/shadow", dated).only("content")])
    // A running system shows the mode of what is mounted there.
    .chain(["/proc", "/sys", "/dev", "/run"].map(|f| AllowRule::new(format!("file {f}"), "a mount point").only("mode")))
    .chain([AllowRule::new("file /", "archives may leave the root itself out").only("presence")])
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, subject, covers) in [
            ("file /var/log/**", "file /var/log/apt/history.log", true),
            ("file /var/log/**", "file /var/log", false),
            ("file /etc/ssh/ssh_host_*", "file /etc/ssh/ssh_host_rsa_key.pub", true),
            ("file /etc/*", "file /etc/ssh/sshd_config", false),
            ("file **/__pycache__/**", "file /usr/lib/python3/__pycache__/x.pyc", true),
            ("package linux-image-*", "package linux-image-6.1:amd64", true),
            ("file /etc/motd", "file /etc/motd.d", false),
        ] {
            assert_eq!(AllowRule::new(pattern, "").covers(subject, "content"), covers, "{pattern} {subject}");
        }
        assert!(!AllowRule::new("file /x", "").only("mode").covers("file /x", "content"));
    }
}
