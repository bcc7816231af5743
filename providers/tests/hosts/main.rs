//! The command on real hosts: OpenSSH servers in containers, a playbook, cancels, crashes and things that are wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod errors;
mod secrets;
mod survivors;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use towpath_core::testkit::Sshd;

/// A folder with an inventory of one host, a playbook, and a pipeline of both.
struct Place {
    dir: tempfile::TempDir,
    server: Sshd,
}

impl Place {
    /// `None`, after it was said why, where there can be no container.
    fn new() -> Option<Self> {
        let server = Sshd::start()?;
        let place = Self { dir: tempfile::tempdir().unwrap(), server };
        let (key, known) = (place.server.key(), place.server.known_hosts());
        place.inventory(&format!(
            "ansible_user=deploy ansible_ssh_private_key_file={} ansible_ssh_common_args='-o IdentitiesOnly=yes -o UserKnownHostsFile={}'",
            key.display(),
            known.display()
        ));
        place.write(
            "pipeline.yml",
            "name: hosts\nsteps:\n  fleet: { provision: { inventory: { file: hosts } } }\n  site:\n    configure: { playbook: { file: site.yml } }\n    \
             inventory: { from: fleet.inventory }\n",
        );
        Some(place)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The host `app-1`, with these variables.
    fn inventory(&self, vars: &str) {
        self.write("hosts", &format!("app-1 ansible_host=127.0.0.1 ansible_port={} {vars}\n", self.server.port));
    }

    fn towpath(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command.current_dir(self.dir.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("SSH_AUTH_SOCK").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self) -> Output {
        self.towpath(&["run", "pipeline.yml"]).output().unwrap()
    }

    /// Process ids in the container of `sleep 1000`.
    fn sleepers(&self) -> String {
        self.server.sh("for p in /proc/[0-9]*; do c=$(tr '\\0' ' ' <$p/cmdline 2>/dev/null) || continue; \
             [ \"$c\" != 'sleep 1000 ' ] || echo \"${p#/proc/}\"; done")
    }
}

fn text(out: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}
