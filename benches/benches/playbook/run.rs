//! One run of a playbook in a process of its own, and many hosts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use towpath::playbook::{Playbook, load_inventory};
use towpath::ssh::{Ssh, SshConfig};
use towpath::{Configurator as _, Context, Targets};

use crate::peers::{Cost, measure};
use crate::play;

/// Opens as many files as this user may.
pub(crate) fn more_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs a playbook and prints the recap as JSON.
pub(crate) async fn run(inventory: &str, playbook: &str, forks: usize) {
    let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
    let inventory = load_inventory(Path::new(inventory)).unwrap_or_else(|e| panic!("{}", e.report()));
    let targets = Targets::new(inventory, Arc::new(ssh));
    let config = Playbook::file(playbook).forks(forks);
    let playbook = Playbook::new(config, Path::new("/")).unwrap();
    let from = Instant::now();
    let done = playbook.apply(&Context::new(), &targets).await.unwrap_or_else(|e| panic!("{}", e.report()));
    let hosts: serde_json::Map<_, _> = done
        .hosts
        .iter()
        .map(|(name, s)| {
            let counts = json!({"ok": s.ok, "changed": s.changed, "failed": s.failed, "unreachable": s.unreachable, "skipped": s.skipped});
            (name.clone(), counts)
        })
        .collect();
    println!("{}", json!({"seconds": from.elapsed().as_secs_f64(), "rss_kib": peak_kib(), "hosts": hosts}));
}

/// A process of SSH servers, ended on drop.
pub(crate) struct Many {
    child: std::process::Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Many {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Many {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for key in ["host", "client"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(key))
                .status();
            assert!(made.unwrap().success());
        }
        let mut command = crate::role("serve");
        command.arg(dir.path().join("host")).arg(dir.path().join("client.pub"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        play::write_many(dir.path(), &dir.path().join("state"));
        Self { child, port: line.trim().parse().unwrap(), dir }
    }

    /// Runs the small play on so many hosts: the first time, and with nothing to do.
    pub(crate) fn run(&self, hosts: usize) -> Result<(Cost, Cost), String> {
        let _ = std::fs::remove_dir_all(self.dir.path().join("state"));
        let key = std::fs::read_to_string(self.dir.path().join("host.pub")).unwrap();
        let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let mut inventory = String::new();
        let mut known = String::new();
        for i in 0..hosts {
            let address = format!("127.{}.{}.{}", 1 + i / 62500, 1 + i / 250 % 250, 1 + i % 250);
            known.push_str(&format!("[{address}]:{} {key}\n", self.port));
            inventory.push_str(&format!("host-{i} ansible_host={address}\n"));
        }
        let path = |name: &str| self.dir.path().join(name);
        std::fs::write(path("known"), known).unwrap();
        inventory.push_str(&format!(
            "[all:vars]\nansible_port={}\nansible_user=root\nansible_ssh_private_key_file={}\n\
             ansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'\n",
            self.port,
            path("client").display(),
            path("known").display()
        ));
        std::fs::write(path("hosts"), inventory).unwrap();
        let go = |nothing: bool| {
            let (text, cost) = measure(crate::role("run").arg(path("hosts")).arg(path("many.yml")).arg("100"))?;
            let said: serde_json::Value =
                serde_json::from_str(text.lines().next().unwrap_or_default()).map_err(|e| format!("{e}: {text}"))?;
            let all = said["hosts"].as_object().ok_or("no recap")?;
            let bad =
                all.iter().find(|(_, c)| c["failed"] != 0 || c["unreachable"] != 0 || (c["changed"] == 0) != nothing);
            match bad {
                Some((name, counts)) => Err(format!("{name}: {counts}")),
                None if all.len() != hosts => Err(format!("{} hosts in the recap", all.len())),
                None => Ok(Cost { rss_kib: said["rss_kib"].as_u64().unwrap_or(0), ..cost }),
            }
        };
        let first = go(false)?;
        std::thread::sleep(Duration::from_millis(1500));
        Ok((first, go(true)?))
    }
}
