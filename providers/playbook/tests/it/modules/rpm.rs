//! Hosts whose packages are rpms: cases with a line `# host: rpm` run there.
//!
//! No mirror of a system that has rpms can be reached, so it is Debian with its own `dnf` and `rpm`, a release file that
//! makes Ansible take it for Fedora, and repositories that the host makes itself.

use towpath_core::testkit::Sshd;

const RELEASE: &str = r#"
dpkg -i /opt/debs/*.deb >/dev/null 2>&1
rm -f /etc/os-release
printf 'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=37\nPRETTY_NAME="Fedora Linux 37"\n' >/etc/os-release
echo 'Fedora release 37 (Thirty Seven)' >/etc/fedora-release
ln -s fedora-release /etc/redhat-release
"#;

/// Starts one, which takes some ten seconds. `None` as [`Sshd::start`].
pub(super) fn start() -> Option<Sshd> {
    let server = Sshd::start()?;
    server.sh(RELEASE);
    server.sh(include_str!("mkrpms"));
    Some(server)
}
